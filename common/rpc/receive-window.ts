/**
 * Raises the HTTP/2 receive windows of grpc-js servers. grpc-js reads `grpc-node.flow_control_window` on the client
 * only; its servers stay at 65,535 bytes per stream and per connection, which is 1.9 MB/s at 20 ms round-trip time.
 * Both windows are needed: either alone changes nothing. Upstream: grpc-node#3058. When a release with an option for
 * it is used, this file can go; its test notices.
 */
import diagnosticsChannel from 'node:diagnostics_channel';
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream, ServerOptions } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { ReceiveWindows } from './options.ts';

/** The private fields of grpc-js 1.14's Server that are used. Each is checked before use. */
interface ServerInternals {
  commonServerOptions?: ServerOptions;
  readonly http2Servers?: ReadonlyMap<Http2Server, unknown>;
}

export interface RaisedWindows {
  /** "internals": effective from a connection's first byte; "diagnostics": from its first stream on. */
  readonly way: 'internals' | 'diagnostics';
  /** To be called once the server is bound. */
  afterBind(): void;
  /** Stops it for connections to come; only the second way needs that. */
  dispose(): void;
}

/**
 * Call before `bindAsync`. Uses the server's private fields; where a release has renamed them, falls back to
 * `raiseWindowsOfEverySession`.
 */
export function raiseReceiveWindows(server: Server, windows: ReceiveWindows): RaisedWindows {
  // The type hides the fields; their presence is what is tested here.
  const internals = server as unknown as ServerInternals;
  const { commonServerOptions, http2Servers } = internals;
  if (typeof commonServerOptions !== 'object' || !(http2Servers instanceof Map)) {
    return { way: 'diagnostics', afterBind: () => {}, dispose: raiseWindowsOfEverySession(windows) };
  }
  internals.commonServerOptions = {
    ...commonServerOptions,
    settings: { ...commonServerOptions.settings, initialWindowSize: windows.streamBytes },
  };
  const afterBind = () => {
    for (const http2Server of http2Servers.keys()) {
      http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windows.connectionBytes));
    }
  };
  return { way: 'internals', afterBind, dispose: () => {} };
}

/**
 * The same by public API: raises the windows of every HTTP/2 server session of this process when its first stream
 * opens. That first stream may still begin with small windows, so a cheap call should come first on a connection.
 * @returns a function that stops it for sessions to come.
 */
export function raiseWindowsOfEverySession(windows: ReceiveWindows): () => void {
  const raised = new WeakSet<object>();
  const onStream = (message: unknown) => {
    // The channel's message is documented by Node as { stream, headers }.
    const { session } = (message as { stream: ServerHttp2Stream }).stream;
    if (session === undefined || session.destroyed || raised.has(session)) return;
    raised.add(session);
    session.setLocalWindowSize(windows.connectionBytes);
    session.settings({ initialWindowSize: windows.streamBytes });
  };
  diagnosticsChannel.subscribe('http2.server.stream.created', onStream);
  return () => diagnosticsChannel.unsubscribe('http2.server.stream.created', onStream);
}
