/**
 * The live connection of the status page: what it tells, and what it never lets happen to the server.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import type { Viewer } from '../../../services/sync-server/http/door.ts';
import { LiveFeed, type LiveFeedBounds } from '../../../services/sync-server/http/live-feed.ts';
import type { AnsweredBatch } from '../../../services/sync-server/rpc/folder-traffic.ts';
import { eventually } from '../../support/eventually.ts';
import { deletePath, putFile, SyncFixture } from '../../support/sync-fixture.ts';

const HOSTILE = [
  '<img src=x onerror=alert(1)>',
  '"};alert(1);',
  'line\nevent: sample\ndata: {}\n\n',
  '\u2028<script>alert(1)',
  '%FF\u202e',
];

/** Reads a stream of events as it comes. */
class Reader {
  readonly socket: Socket;
  text = '';
  isClosed = false;

  constructor(port: number, headers = '') {
    this.socket = connect(port, '127.0.0.1');
    this.socket.write(`GET /api/events HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
    this.socket.on('data', (data) => {
      this.text += data.toString('utf8');
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  events(name: string): readonly Record<string, unknown>[] {
    const lines = this.text
      .replaceAll(/\r\n[0-9a-f]+\r\n/g, '')
      .matchAll(new RegExp(`event: ${name}\\ndata: (.*)\\n\\n`, 'g'));
    return [...lines].map(([, json = '']) => JSON.parse(json) as Record<string, unknown>);
  }
}

describe('live feed of a server', () => {
  let fixture: SyncFixture;
  const readers: Reader[] = [];
  before(async () => {
    fixture = await SyncFixture.start({ setup: { http: parseAddress('127.0.0.1:0') as TcpAddress } });
  });
  afterEach(() => {
    for (const reader of readers.splice(0)) reader.socket.destroy();
  });
  after(() => fixture.stop());
  const look = (headers?: string) => {
    const reader = new Reader(fixture.server.http?.port ?? 0, headers);
    readers.push(reader);
    return reader;
  };

  it('tells the state at once, then what is applied, with every name as data (S28)', async () => {
    const reader = look();
    await eventually('a sample', () => reader.events('sample').length > 0);
    await fixture.apply(...HOSTILE.map((name) => putFile(name.replaceAll('%', '%25'), 'x')), deletePath('nothing'));
    await eventually('the changes', () => reader.events('changes').length > 0);
    const [message] = reader.events('changes');
    const changes = (message?.['changes'] ?? []) as readonly { readonly path: string; readonly operation: string }[];
    expect(changes.filter(({ operation }) => operation === 'put')).to.have.length(HOSTILE.length);
    expect(changes[0]?.path).to.include('<img');
    // Line ends are escaped twice: as names for people, and by JSON. No name can begin an event.
    expect(reader.events('changes')).to.have.length(1);
    const [{ status } = { status: {} }] = reader.events('sample') as { status?: { folders?: readonly object[] } }[];
    expect(status?.folders).to.have.length(1);
  });

  it('has a seat for some, sends the next away, and gives a seat that became free to another', async () => {
    const all = Array.from({ length: 16 }, () => look());
    await eventually('all sit', () => all.every(({ text }) => text.startsWith('HTTP/1.1 200')));
    const late = look();
    await eventually('an answer', () => late.text.startsWith('HTTP/1.1 503'));
    all[0]?.socket.destroy();
    for (let again = late; !again.text.startsWith('HTTP/1.1 200'); ) {
      again.socket.destroy();
      again = look();
      const asked = again;
      await eventually('an answer', () => asked.text.includes('\r\n\r\n'));
    }
  });

  it('is not for pages of the web', async () => {
    const reader = look('Sec-Fetch-Site: cross-site\r\n');
    await eventually('an answer', () => reader.text.startsWith('HTTP/1.1 403'));
  });
});

describe('live feed', () => {
  let server: Server;
  let feed: LiveFeed;
  let subscriptions = 0;
  let tell: (batch: AnsweredBatch) => void = () => {};
  let revoke = () => {};
  const readers: Reader[] = [];
  const viewer: Viewer = {
    maySee: () => true,
    seesNames: false,
    onRevoked: (listener) => {
      revoke = listener;
      return () => {};
    },
  };

  async function start(bounds: Partial<LiveFeedBounds>, padding = ''): Promise<void> {
    feed = new LiveFeed({
      status: () => ({ version: padding, state: 'ready', uptimeSeconds: 0, folders: [] }),
      subscribe: (listener) => {
        subscriptions++;
        tell = listener;
        return () => {
          subscriptions--;
        };
      },
      bounds,
    });
    server = createServer((_, response) => {
      if (!feed.open(response, viewer, {})) response.writeHead(503).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  afterEach(async () => {
    for (const reader of readers.splice(0)) reader.socket.destroy();
    feed.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(subscriptions).to.equal(0);
  });
  const look = () => {
    const reader = new Reader((server.address() as AddressInfo).port);
    readers.push(reader);
    return reader;
  };

  it('listens and samples only while somebody looks', async () => {
    await start({ sampleMs: 5 });
    expect(subscriptions).to.equal(0);
    const [one, two] = [look(), look()];
    await eventually('samples for both', () => [one, two].every((reader) => reader.events('sample').length > 3));
    expect(subscriptions).to.equal(1);
    one.socket.destroy();
    two.socket.destroy();
    await eventually('nobody looks', () => feed.viewers === 0);
    expect(subscriptions).to.equal(0);
  });

  it('drops a reader that does not read, and keeps the one that does', async () => {
    await start({ sampleMs: 2, maxQueuedBytes: 200_000 }, 'x'.repeat(60_000));
    const [good, slow] = [look(), look()];
    await eventually('both sit', () => feed.viewers === 2);
    slow.socket.pause();
    await eventually('one is dropped', () => feed.viewers === 1);
    good.text = '';
    await eventually('the other reads on', () => good.text.includes('event: sample'));
    slow.socket.resume();
    await eventually('it hears of it', () => slow.isClosed);
  });

  it('drops a reader that takes nothing for a while, however little waits', async () => {
    await start({ sampleMs: 2, maxQueuedBytes: 2 ** 40, stallMs: 50 }, 'x'.repeat(60_000));
    const slow = look();
    await eventually('it sits', () => feed.viewers === 1);
    slow.socket.pause();
    await eventually('it is dropped', () => feed.viewers === 0);
  });

  it('ends when the credentials are revoked', async () => {
    await start({});
    const reader = look();
    await eventually('it sits', () => feed.viewers === 1);
    revoke();
    await eventually('it is over', () => reader.isClosed && feed.viewers === 0);
  });

  it('lists a bounded number of changes, counts the rest, and names nothing to who may not see names', async () => {
    await start({ gatherMs: 5 });
    const reader = look();
    await eventually('it sits', () => feed.viewers === 1);
    const change = { operation: 'put', path: 'secret', from: undefined, sizeBytes: 1 } as const;
    for (let revision = 1n; revision <= 3n; revision++) {
      tell({
        folder: 'default',
        batchId: Buffer.alloc(16),
        revision,
        problems: 0,
        durationMs: 2,
        changes: Array.from({ length: 30 }, () => change),
      });
    }
    await eventually('changes', () => reader.events('changes').length > 0);
    const [message] = reader.events('changes');
    expect(message?.['changes']).to.have.length(40);
    expect(message?.['omitted']).to.equal(50);
    expect(reader.text).to.not.include('secret');
  });
});
