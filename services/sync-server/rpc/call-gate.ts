/**
 * Counts each call among those of its caller from its first header on (S33). The handlers come later: grpc-js begins one with
 * a request only when the whole message is there, and one with a stream of requests knows its folder only then. Until then
 * the parts lie in memory, a message's length for each stream; how much of a caller's, is bounded beside (unfinished-messages.ts).
 *
 * A streaming call of the service is counted to its end; all others until their request is whole.
 */
import { type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';
import { toStatus } from '../../../common/rpc/errors.ts';
import type { CallErrorListener } from '../../../common/rpc/serve.ts';
import type { Access } from '../auth/access.ts';
import type { UnfinishedMessages } from './unfinished-messages.ts';

export interface CallGateOptions {
  readonly access: Access;
  readonly unfinished: UnfinishedMessages;
  /** Whose streams are counted to their end. */
  readonly service: string;
  /** Hears of each call that was one too many. */
  readonly onRefused: CallErrorListener;
}

export function callGate({ access, unfinished, service, onRefused }: CallGateOptions): ServerInterceptor {
  return ({ path, requestStream, responseStream }, call) => {
    const livesOn = path.startsWith(`/${service}/`) && (requestStream || responseStream);
    let end = (): void => {};
    let forget = (): void => {};
    const refuse = (error: unknown): void => {
      onRefused(error, path);
      call.sendStatus(toStatus(error));
    };
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, pass) => {
            const source = { metadata, getPeer: () => call.getPeer(), getAuthContext: () => call.getAuthContext() };
            try {
              const begun = access.beginCall(source);
              end = begun.end;
              if (begun.caller !== undefined) forget = unfinished.watch(begun.caller, call, refuse);
            } catch (error) {
              refuse(error);
              return;
            }
            pass(metadata);
          },
          onReceiveMessage: (message, pass) => {
            if (!livesOn) end();
            pass(message);
          },
          onCancel: () => {
            end();
            forget();
          },
        });
      },
      sendStatus: (status, pass) => {
        end();
        pass(status);
      },
    });
  };
}
