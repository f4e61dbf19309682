/**
 * Server reflection, v1 and v1alpha (older grpcurl), over the descriptor image of the build: `grpcurl` and `buf curl`
 * need no proto file. `@grpc/reflection` is not used: what it makes from proto-loader has broken imports.
 */
import { readFileSync } from 'node:fs';
import { type Server, type ServerDuplexStream, status } from '@grpc/grpc-js';
import {
  ServerReflectionService,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../gen/grpc/reflection/v1/reflection.ts';
import { ServerReflectionService as ServerReflectionV1alphaService } from '../../gen/grpc/reflection/v1alpha/reflection.ts';
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { readMessages, writeMessage } from './call-stream.ts';
import { DescriptorIndex } from './descriptor-index.ts';
import { streamHandler } from './serve.ts';
import type { TrackedCalls } from './tracked-calls.ts';

/** The full names of the services that reflection adds to a server. */
export const REFLECTION_SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];

/**
 * Adds both versions. `image` is a serialized FileDescriptorSet (see `readDescriptorImage`); `services` are the full
 * names of what this server offers, and what `list` shows; `onCall` hears of the peer of each call.
 */
export function addReflection(
  server: Server,
  calls: TrackedCalls,
  image: Uint8Array,
  services: readonly string[],
  onCall?: (peer: string) => void,
): void {
  // Decoding it takes a tenth of the start of a server, and most servers are never asked.
  let index: DescriptorIndex | undefined;
  // Both versions have the same messages, so that one handler serves them.
  const serverReflectionInfo = streamHandler(
    async (call: ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>, signal) => {
      for await (const request of readMessages(call)) {
        index ??= new DescriptorIndex(image);
        await writeMessage(call, answer(index, services, request), signal);
      }
    },
  );
  for (const service of [ServerReflectionService, ServerReflectionV1alphaService]) {
    server.addService(service, calls.tracking(service, { serverReflectionInfo }, onCall));
  }
}

/** The image that the build wrote, from a checkout or from the installed package. */
export function readDescriptorImage(): Uint8Array {
  // common/rpc/ in a checkout, dist/common/rpc/ in the package; the image is in gen/ beside common/ or dist/.
  for (const place of ['../../gen/image.binpb', '../../../gen/image.binpb']) {
    try {
      return readFileSync(new URL(place, import.meta.url));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  throw new LockstepError('USAGE', 'gen/image.binpb is missing; run "make proto" to make it');
}

type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

function answer(
  index: DescriptorIndex,
  services: readonly string[],
  request: ServerReflectionRequest,
): ServerReflectionResponse {
  return {
    validHost: request.host,
    originalRequest: request,
    messageResponse: answerTo(index, services, request.messageRequest),
  };
}

function answerTo(
  index: DescriptorIndex,
  services: readonly string[],
  question: ServerReflectionRequest['messageRequest'],
): Answer {
  switch (question?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return files(index.fileByName(question.value), `file ${question.value}`);
    case 'fileContainingSymbol':
      return files(index.fileBySymbol(question.value), `symbol ${question.value}`);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = question.value;
      const found = index.fileByExtension(containingType, extensionNumber);
      return files(found, `extension ${extensionNumber} of ${containingType}`);
    }
    case 'allExtensionNumbersOfType': {
      const numbers = index.extensionNumbers(question.value);
      if (numbers === undefined) return failure(status.NOT_FOUND, `type ${question.value} not found`);
      const value = { baseTypeName: question.value, extensionNumber: [...numbers] };
      return { $case: 'allExtensionNumbersResponse', value };
    }
    case undefined:
      return failure(status.INVALID_ARGUMENT, 'the request asks nothing');
  }
}

function files(found: readonly Buffer[] | undefined, what: string): Answer {
  if (found === undefined) return failure(status.NOT_FOUND, `${what} not found`);
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: [...found] } };
}

function failure(errorCode: status, errorMessage: string): Answer {
  return { $case: 'errorResponse', value: { errorCode, errorMessage } };
}
