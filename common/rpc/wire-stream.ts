/**
 * What grpc-js has no way to: the HTTP/2 stream below a server's call.
 *
 * Uses private fields of grpc-js 1.14, checked before use; the tests notice when a release has renamed them.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';

interface CallInternals {
  readonly call?: CallInternals;
  readonly nextCall?: CallInternals;
  readonly stream?: Partial<Pick<ServerHttp2Stream, 'close' | 'writableEnded'>>;
}

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

function wireStreamOf(call: object): CallInternals['stream'] {
  // The types hide the fields; their presence is what is tested here.
  const outer = call as CallInternals;
  let internals: CallInternals | undefined = outer.call ?? outer;
  // With interceptors the innermost call is the one on the wire.
  while (internals?.nextCall !== undefined) internals = internals.nextCall;
  return internals?.stream;
}
