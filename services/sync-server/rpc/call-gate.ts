/**
 * Counts each call among those of its caller from its first header on (S33). The handlers come later: grpc-js begins one with
 * a request only when the whole message is there, and one with a stream of requests knows its folder only then. Until then
 * the parts lie in memory, a message's length for each stream.
 *
 * A streaming call of the service is counted to its end; all others until their request is whole.
 */
import { type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';
import { toStatus } from '../../../common/rpc/errors.ts';
import type { CallErrorListener } from '../../../common/rpc/serve.ts';
import type { Access } from '../auth/access.ts';

/** `service`: whose streams are counted to their end. `onRefused` hears of each call that was one too many. */
export function callGate(access: Access, service: string, onRefused: CallErrorListener): ServerInterceptor {
  return ({ path, requestStream, responseStream }, call) => {
    const livesOn = path.startsWith(`/${service}/`) && (requestStream || responseStream);
    let end = (): void => {};
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, pass) => {
            const source = { metadata, getPeer: () => call.getPeer(), getAuthContext: () => call.getAuthContext() };
            try {
              end = access.beginCall(source);
            } catch (error) {
              onRefused(error, path);
              call.sendStatus(toStatus(error));
              return;
            }
            pass(metadata);
          },
          onReceiveMessage: (message, pass) => {
            if (!livesOn) end();
            pass(message);
          },
          onCancel: () => end(),
        });
      },
      sendStatus: (status, pass) => {
        end();
        pass(status);
      },
    });
  };
}
