import { PassThrough } from 'node:stream';
import {
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServerDuplexStream,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { Deferred, sleep, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { cancelOnAbort, readMessages, writeMessage } from '../../../common/rpc/call-stream.ts';
import { tcpAddress } from '../../../common/rpc/address.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { startDelayProxy } from '../../support/delay-proxy.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { streamHandler, unaryHandler } from '../../../common/rpc/serve.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { resetCall } from '../../../common/rpc/wire-stream.ts';
import { EchoClient, type EchoHandlers, type EchoPair, errorOf, type Note, startEcho } from './echo-service.ts';

type ChatCall = ServerDuplexStream<Note, Note>;
type ListCall = ServerWritableStream<Note, Note>;

describe('call streams', () => {
  let pair: EchoPair;
  const start = async (handlers: EchoHandlers) => {
    pair = await startEcho(handlers);
    return pair.client;
  };
  afterEach(() => pair.stop());

  const collect = async (source: AsyncIterable<Note>) => {
    const texts: string[] = [];
    for await (const note of source) texts.push(note.text);
    return texts;
  };

  /** A client that has read nothing yet takes everything in: grpc-js holds the server back only from then on. */
  const readOne = async (call: ClientReadableStream<Note>) => {
    for await (const note of readMessages(call)) return note;
    throw new Error('expected a message');
  };

  describe('reading and writing', () => {
    it('carries messages both ways in order and ends cleanly', async () => {
      const client = await start({
        chat: streamHandler(async (call: ChatCall) => {
          for await (const note of readMessages(call)) await writeMessage(call, { text: `re: ${note.text}` });
        }),
      });
      const call = client.chat();
      const answers = collect(readMessages(call));
      for (let index = 0; index < 100; index++) await writeMessage(call, { text: String(index) });
      call.end();
      expect(await answers).to.deep.equal(Array.from({ length: 100 }, (_, index) => `re: ${index}`));
    });

    it('lets a server leave the loop early and still end the call (grpc-node#1839)', async () => {
      const client = await start({
        chat: streamHandler(async (call: ChatCall) => {
          for await (const note of readMessages(call)) {
            await writeMessage(call, note);
            break;
          }
        }),
      });
      for (let round = 0; round < 10; round++) {
        const call = client.chat();
        const answers = collect(readMessages(call));
        await writeMessage(call, { text: 'one' });
        await writeMessage(call, { text: 'two' });
        expect(await answers).to.deep.equal(['one']);
      }
    });

    it('ends with a status when a message cannot be decoded while answers are written', async () => {
      const client = await start({
        chat: streamHandler(async (call: ChatCall, signal) => {
          call.resume();
          while (!signal.aborted) {
            // Several, so that one is always being written and another one waits for it.
            for (let count = 0; count < 8; count++) call.write({ text: 'again' });
            await new Promise((resolve) => setImmediate(resolve));
          }
        }),
      });
      const same = (bytes: Buffer) => bytes;
      const chat = async () => {
        const deadline = Date.now() + 20_000;
        const call = client.makeBidiStreamRequest('/test.Echo/Chat', same, same, new Metadata(), { deadline });
        const ended = new Promise<status>((resolve) => call.on('status', ({ code }) => resolve(code)));
        call.on('error', () => undefined);
        call.once('data', () => call.write(Buffer.from('no note')));
        call.resume();
        return ended;
      };
      const codes = await Promise.all(Array.from({ length: 50 }, chat));
      expect(new Set(codes)).to.deep.equal(new Set([status.INTERNAL]));
    });

    it('delivers the messages before an error, then the error', async () => {
      const client = await start({
        list: streamHandler(async (call: ListCall) => {
          for (const text of ['a', 'b', 'c']) await writeMessage(call, { text });
          throw new LockstepError('COMPACTED', 'too old');
        }),
      });
      const seen: string[] = [];
      const reading = (async () => {
        for await (const note of readMessages(client.list({ text: '' }))) {
          await sleep(5);
          seen.push(note.text);
        }
      })();
      expect(await errorOf(reading)).to.include({ reason: 'COMPACTED', message: 'too old' });
      expect(seen).to.deep.equal(['a', 'b', 'c']);
    });

    it('keeps an error that came before anyone read', async () => {
      const client = await start({
        list: streamHandler(async () => {
          throw new LockstepError('FOLDER_NOT_FOUND', 'no such folder');
        }),
      });
      const call = client.list({ text: '' });
      const over = new Deferred<void>();
      superviseCall(call).onOver(() => over.resolve());
      await over.promise;
      expect(await errorOf(collect(readMessages(call)))).to.include({ reason: 'FOLDER_NOT_FOUND' });
    });

    it('holds the server back while the client does not read, in bounded memory', async () => {
      let written = 0;
      const client = await start({
        list: streamHandler(async (call: ListCall, signal) => {
          for (; written < 1000; written++) await writeMessage(call, { text: 'x'.repeat(2 ** 20) }, signal);
        }),
      });
      const call = client.list({ text: '' });
      await readOne(call);
      let last = -1;
      while (written === 0 || written !== last) {
        last = written;
        await sleep(100);
      }
      // The client's window of 8 MiB, both streams' 16 messages, and what is under way.
      expect(written).to.be.lessThan(64);
      call.cancel();
    });

    it('holds the client back while the server does not read, and lets go when the call ends', async () => {
      const release = new Deferred<void>();
      const client = await start({
        chat: streamHandler(async () => {
          await release.promise;
          throw new LockstepError('LEASE_STALE', 'taken over');
        }),
      });
      const call = client.chat();
      const writing = (async () => {
        for (;;) await writeMessage(call, { text: 'x'.repeat(2 ** 20) });
      })();
      const failure = errorOf(writing);
      await sleep(50);
      release.resolve();
      expect(await failure).to.include({ reason: 'LEASE_STALE' });
    });

    it('refuses to write to a call that the server has ended', async () => {
      const client = await start({ chat: streamHandler(async () => {}) });
      const call = client.chat();
      expect(await collect(readMessages(call))).to.deep.equal([]);
      await sleep(0);
      expect(await errorOf(writeMessage(call, { text: 'late' }))).to.include({ reason: 'CANCELLED' });
    });
  });

  describe('giving up', () => {
    it('wakes a server that waits for a message, for room, or for something else', async () => {
      const reasons: string[] = [];
      const entered = { reading: new Deferred<void>(), writing: new Deferred<void>(), waiting: new Deferred<void>() };
      const left = { reading: new Deferred<void>(), writing: new Deferred<void>(), waiting: new Deferred<void>() };
      const run = async (what: keyof typeof entered, work: () => Promise<unknown>) => {
        entered[what].resolve();
        try {
          await work();
        } catch (error) {
          if (error instanceof LockstepError) reasons.push(error.reason);
          left[what].resolve();
          throw error;
        }
      };
      const client = await start({
        chat: streamHandler((call: ChatCall) => run('reading', () => collect(readMessages(call)))),
        list: streamHandler((call: ListCall, signal) => {
          if (call.request.text === 'wait') return run('waiting', () => untilAborted(new Promise(() => {}), signal));
          return run('writing', async () => {
            for (;;) await writeMessage(call, { text: 'x'.repeat(2 ** 20) });
          });
        }),
      });
      const listing = client.list({ text: 'write' });
      const calls = [client.chat(), listing, client.list({ text: 'wait' })];
      for (const call of calls) superviseCall(call);
      await readOne(listing);
      await Promise.all([entered.reading.promise, entered.writing.promise, entered.waiting.promise]);
      for (const call of calls) call.cancel();
      await Promise.all([left.reading.promise, left.writing.promise, left.waiting.promise]);
      expect(reasons).to.deep.equal(['CANCELLED', 'CANCELLED', 'CANCELLED']);
    });

    it('never shows a server a regular end when the client or its connection went away', async () => {
      const ends: unknown[] = [];
      let left = new Deferred<void>();
      const client = await start({
        chat: streamHandler(async (call: ChatCall) => {
          const iteration = collect(readMessages(call));
          await writeMessage(call, { text: 'ready' });
          await iteration.then(
            (texts) => ends.push(texts),
            (error: unknown) => ends.push(error instanceof LockstepError ? error.reason : error),
          );
          left.resolve();
        }),
      });
      const proxy = await startDelayProxy(pair.address.port, 0);
      const address = tcpAddress('127.0.0.1', proxy.port);
      const remote = createClient(EchoClient, address, credentials.createInsecure(), { role: 'control' });
      const rounds = 20;
      for (let round = 0; round < rounds; round++) {
        left = new Deferred<void>();
        const isCut = round % 2 === 1;
        const call = (isCut ? remote : client).chat();
        await readOne(call);
        await writeMessage(call, { text: 'half' });
        if (isCut) proxy.cut();
        else call.cancel();
        await left.promise;
      }
      remote.close();
      await proxy.stop();
      expect(ends).to.deep.equal(Array.from({ length: rounds }, () => 'CANCELLED'));
    });

    it('cancels a client call when its signal aborts', async () => {
      const client = await start({
        chat: streamHandler((_call: ChatCall, signal) => untilAborted(new Promise<void>(() => {}), signal)),
      });
      const giveUp = new AbortController();
      const call = client.chat();
      cancelOnAbort(call, giveUp.signal);
      const reading = errorOf(collect(readMessages(call)));
      giveUp.abort();
      expect(await reading).to.include({ reason: 'CANCELLED' });
    });

    it('cancels a client call whose signal has aborted already', async () => {
      const client = await start({
        chat: streamHandler((_call: ChatCall, signal) => untilAborted(new Promise<void>(() => {}), signal)),
      });
      const call = client.chat();
      const reading = errorOf(collect(readMessages(call)));
      cancelOnAbort(call, AbortSignal.abort());
      expect(await reading).to.include({ reason: 'CANCELLED' });
    });

    it('knows of no room any more in what has failed with an error of another kind', async () => {
      const stream = new PassThrough();
      const supervision = superviseCall(stream);
      const waiting = errorOf(supervision.untilRoom());
      stream.destroy(new Error('broken'));
      expect(await waiting).to.include({ reason: 'INTERNAL' });
      expect(await errorOf(supervision.untilRoom())).to.equal(supervision.failure);
    });

    it('stops waiting for room when the signal aborts', async () => {
      const client = await start({
        chat: streamHandler((_call: ChatCall, signal) => untilAborted(new Promise<void>(() => {}), signal)),
      });
      const giveUp = new AbortController();
      const call = client.chat();
      const writing = (async () => {
        for (;;) await writeMessage(call, { text: 'x'.repeat(2 ** 20) }, giveUp.signal);
      })();
      const failure = errorOf(writing);
      await sleep(20);
      giveUp.abort(new Error('enough'));
      expect(await failure).to.include({ message: 'enough' });
      call.cancel();
    });
  });

  describe('handlers', () => {
    it('end a call with the error although responses are waiting to be read', async () => {
      const client = await start({
        chat: streamHandler(async (call: ChatCall, signal) => {
          const writing = (async () => {
            for (let index = 0; index < 40; index++) await writeMessage(call, { text: 'x'.repeat(2 ** 19) }, signal);
          })();
          await Promise.all([writing, collect(readMessages(call))]);
        }),
      });
      const call = client.chat();
      superviseCall(call);
      while (pair.calls.size === 0) await sleep(5);
      await sleep(20);
      pair.calls.endAll(new LockstepError('DRAINING', 'going'));
      expect(await errorOf(collect(readMessages(call)))).to.include({ reason: 'DRAINING' });
    });

    it('can only be reset where there is a stream below', () => {
      expect(resetCall({})).to.equal(false);
    });

    it('tell clients nothing of foreign errors, and the listener everything', async () => {
      const heard: unknown[] = [];
      const secret = new Error('ENOENT: /home/somebody/secret');
      const client = await start({
        say: unaryHandler<Note, Note>(
          async () => {
            throw secret;
          },
          (error, path) => heard.push(error, path),
        ),
      });
      const error = await errorOf(unary(client, client.say, { text: '' }));
      expect(error).to.include({ reason: 'INTERNAL', message: 'internal error' });
      expect(heard).to.deep.equal([secret, '/test.Echo/Say']);
    });

    it('answer unary calls, and turn what they throw synchronously into a status', async () => {
      const client = await start({
        say: unaryHandler<Note, Note>((call) => {
          if (call.request.text === 'bad') throw new LockstepError('INVALID_ARGUMENT', 'bad');
          return Promise.resolve({ text: call.request.text.toUpperCase() });
        }),
      });
      expect(await unary(client, client.say, { text: 'hi' })).to.deep.equal({ text: 'HI' });
      expect(await errorOf(unary(client, client.say, { text: 'bad' }))).to.include({ reason: 'INVALID_ARGUMENT' });
    });
  });

  describe('unary', () => {
    it('gives up at its deadline', async () => {
      const client = await start({ say: () => {} });
      const error = await errorOf(unary(client, client.say, { text: '' }, { deadlineMs: 50 }));
      expect(error).to.include({ reason: 'SERVER_UNREACHABLE' });
    });

    it('rejects with the reason of its signal, before and during the call', async () => {
      const client = await start({ say: () => {} });
      const giveUp = new AbortController();
      const during = errorOf(unary(client, client.say, { text: '' }, { signal: giveUp.signal }));
      giveUp.abort(new Error('enough'));
      expect(await during).to.include({ message: 'enough' });
      const before = unary(client, client.say, { text: '' }, { signal: giveUp.signal });
      expect(await errorOf(before)).to.include({ message: 'enough' });
    });
  });
});
