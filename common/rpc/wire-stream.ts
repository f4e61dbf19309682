/**
 * What grpc-js has no way to: the HTTP/2 stream below a server's call, and what it has of a message that is not whole.
 *
 * Uses private fields of grpc-js 1.14, checked before use; the tests notice when a release has renamed them.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';

interface CallInternals {
  readonly call?: CallInternals;
  readonly nextCall?: CallInternals;
  readonly stream?: Partial<Pick<ServerHttp2Stream, 'close' | 'writableEnded'>>;
  readonly decoder?: { readonly readState?: unknown; readonly readPartialMessage?: unknown };
}

/** Of grpc-js's StreamDecoder: between two messages. */
const NO_DATA = 0;

/**
 * Ends a server's call whose client does not read. A status would wait behind the messages that nobody takes, and hold
 * their memory; a reset of the HTTP/2 stream drops both. The client sees RESOURCE_EXHAUSTED, without details.
 * @returns false when this release of grpc-js has no such stream.
 */
export function resetCall(call: object): boolean {
  const stream = wireStreamOf(call);
  if (typeof stream?.close !== 'function') return false;
  stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  return true;
}

/**
 * Drops what is answered after the status. grpc-js ends a call by itself, without a word to its handler, when a message
 * cannot be decoded; an answer that the handler gives right then is written after the end, and Node destroys the stream
 * before the status has left: the client waits for ever. The handler hears of the end when the status is sent.
 */
export const nothingAfterStatus: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    sendMessage: (message, pass) => {
      if (wireStreamOf(call)?.writableEnded !== true) pass(message);
    },
  });

/**
 * What a server's call has of a message that is not whole yet, piece by piece as it came. Between two messages grpc-js keeps the
 * pieces of the last one for no reason: those are let go.
 * @returns nothing also where this release of grpc-js has no such list.
 */
export function unfinishedPieces(call: object): readonly Uint8Array[] {
  const { decoder } = internalsOf(call);
  if (decoder?.readState === NO_DATA) dropUnfinished(call);
  return Array.isArray(decoder?.readPartialMessage) ? (decoder.readPartialMessage as readonly Uint8Array[]) : [];
}

/** For a call that is over and takes nothing any more: its client may keep the stream open, and all that hangs on it. */
export function dropUnfinished(call: object): void {
  const pieces = internalsOf(call).decoder?.readPartialMessage;
  if (Array.isArray(pieces)) pieces.length = 0;
}

function wireStreamOf(call: object): CallInternals['stream'] {
  return internalsOf(call).stream;
}

function internalsOf(call: object): CallInternals {
  // The types hide the fields; their presence is what is tested here.
  const outer = call as CallInternals;
  let internals: CallInternals = outer.call ?? outer;
  // With interceptors the innermost call is the one on the wire.
  while (internals.nextCall !== undefined) internals = internals.nextCall;
  return internals;
}
