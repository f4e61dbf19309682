/**
 * Ends a server's call whose client does not read. A status would wait behind the messages that nobody takes, and hold
 * their memory; a reset of the HTTP/2 stream drops both. grpc-js has no way to it (a server can only send a status).
 *
 * Uses private fields of grpc-js 1.14, checked before use; the test notices when a release has renamed them.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';

interface CallInternals {
  readonly call?: CallInternals;
  readonly nextCall?: CallInternals;
  readonly stream?: Partial<Pick<ServerHttp2Stream, 'close'>>;
}

/** The client sees RESOURCE_EXHAUSTED, without details. False when this release of grpc-js has no such stream. */
export function resetCall(call: object): boolean {
  // The types hide the fields; their presence is what is tested here.
  let internals: CallInternals | undefined = (call as CallInternals).call;
  // With interceptors the innermost call is the one on the wire.
  while (internals?.nextCall !== undefined) internals = internals.nextCall;
  const stream = internals?.stream;
  if (typeof stream?.close !== 'function') return false;
  stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  return true;
}
