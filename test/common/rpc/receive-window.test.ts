import { type ClientHttp2Session, connect } from 'node:http2';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { DEFAULT_WINDOWS } from '../../../common/rpc/options.ts';
import { raiseReceiveWindows, raiseWindowsOfEverySession } from '../../../common/rpc/receive-window.ts';
import { EchoService, startEcho } from './echo-service.ts';

const HTTP2_DEFAULT_WINDOW = 65_535;
/** The limit of waiting for what must come; how long it takes decides nothing. */
const PATIENCE_MS = 3_000;

/** A raw HTTP/2 client, which sees the windows that a server grants. */
async function openSession(port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`);
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  return session;
}

/** Waits for a connection window: its update is a frame of its own, after the settings. */
async function connectionWindowOf(session: ClientHttp2Session, atLeastBytes: number): Promise<number> {
  const endMs = Date.now() + PATIENCE_MS;
  while ((session.state.remoteWindowSize ?? 0) < atLeastBytes && Date.now() < endMs) {
    await new Promise((resolve) => session.ping(resolve));
  }
  return session.state.remoteWindowSize ?? 0;
}

function openStream(session: ClientHttp2Session) {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/test.Echo/Chat',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {
    // The session is destroyed at the end of each test.
  });
  return stream;
}

describe('receive windows of a server', () => {
  it('are in force before the first byte of a connection', async () => {
    const pair = await startEcho({});
    const session = await openSession(pair.address.port);
    try {
      expect(session.remoteSettings.initialWindowSize).to.equal(DEFAULT_WINDOWS.streamBytes);
      const window = await connectionWindowOf(session, DEFAULT_WINDOWS.connectionBytes);
      expect(window).to.equal(DEFAULT_WINDOWS.connectionBytes);
    } finally {
      session.destroy();
      pair.stop();
    }
  });

  it('let a client send a whole stream window to a handler that reads nothing', async () => {
    const pair = await startEcho({ chat: () => {} });
    const session = await openSession(pair.address.port);
    try {
      await connectionWindowOf(session, DEFAULT_WINDOWS.connectionBytes);
      const stream = openStream(session);
      stream.write(Buffer.alloc(DEFAULT_WINDOWS.streamBytes + HTTP2_DEFAULT_WINDOW));
      const expectedLeft = DEFAULT_WINDOWS.connectionBytes - DEFAULT_WINDOWS.streamBytes;
      const endMs = Date.now() + PATIENCE_MS;
      while (session.state.remoteWindowSize !== expectedLeft && Date.now() < endMs) {
        await new Promise((resolve) => session.ping(resolve));
      }
      expect(session.state.remoteWindowSize).to.equal(expectedLeft);
    } finally {
      session.destroy();
      pair.stop();
    }
  });

  it('can be raised by public API too, from the first stream on', async () => {
    const stop = raiseWindowsOfEverySession(DEFAULT_WINDOWS);
    const server = new Server();
    server.addService(EchoService, { chat: () => {} });
    const session = await openSession(await bind(server));
    try {
      openStream(session);
      const settled = new Promise((resolve) => session.once('remoteSettings', resolve));
      const window = await connectionWindowOf(session, DEFAULT_WINDOWS.connectionBytes);
      await settled;
      expect(window).to.equal(DEFAULT_WINDOWS.connectionBytes);
      expect(session.remoteSettings.initialWindowSize).to.equal(DEFAULT_WINDOWS.streamBytes);
      let settings = 0;
      session.on('remoteSettings', () => settings++);
      openStream(session);
      // The second answer comes behind all that the stream has brought about.
      for (let time = 0; time < 2; time++) await new Promise((resolve) => session.ping(resolve));
      expect(settings, 'once a connection').to.equal(0);
    } finally {
      session.destroy();
      server.forceShutdown();
      stop();
    }
  });

  it('use the private fields of this release of grpc-js, and do without them elsewhere', () => {
    const server = new Server();
    expect(raiseReceiveWindows(server, DEFAULT_WINDOWS).way).to.equal('internals');
    server.forceShutdown();
    const stranger = Object.create(Server.prototype) as Server;
    const raised = raiseReceiveWindows(stranger, DEFAULT_WINDOWS);
    expect(raised.way).to.equal('diagnostics');
    raised.dispose();
  });

  it('are still small without this: when this fails, grpc-node#3058 has come and the file can go', async () => {
    const server = new Server({ 'grpc-node.flow_control_window': DEFAULT_WINDOWS.streamBytes });
    const session = await openSession(await bind(server));
    try {
      expect(session.remoteSettings.initialWindowSize).to.equal(HTTP2_DEFAULT_WINDOW);
      expect(session.state.remoteWindowSize).to.equal(HTTP2_DEFAULT_WINDOW);
    } finally {
      session.destroy();
      server.forceShutdown();
    }
  });
});

function bind(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}
