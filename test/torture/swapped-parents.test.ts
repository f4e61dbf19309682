/**
 * S01 with the server as it is shipped: while another process swaps a directory of the replica for a link to elsewhere, a client
 * applies each kind of change below it. Whatever becomes of the changes: elsewhere nothing changes, not the content, not the mode, not the
 * owner, not a time; and the server goes on.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../common/rpc/address.ts';
import { readMessages } from '../../common/rpc/call-stream.ts';
import { createClient } from '../../common/rpc/connect.ts';
import { unary } from '../../common/rpc/unary.ts';
import type { Change } from '../../gen/lockstep/sync/v1/change.ts';
import { SyncServiceClient } from '../../gen/lockstep/sync/v1/sync_service.ts';
import { metadata, mkdir, move, put, remove, symlink } from '../server/replica/support.ts';
import { ServerProgram } from '../support/server-program.ts';
import { ChangesStream, collect, HOLDER_ID, reasonOf } from '../support/sync-fixture.ts';
import { durationMs } from './budget.ts';

/** How long each kind of change is raced: MINUTES=… for all of them together. */
const RACE_MS = Math.max(1500, durationMs(0) / 9);
const RECOVERY_MS = 30_000;
const FIRST_TIME = 1_700_000_000_000_000_000n;

/** The changes of one round below "parent"; each round leaves the names as they were. */
const KINDS: Readonly<Record<string, (round: number) => readonly Change[]>> = {
  'putting over a file': (round) => [put('parent/victim', `tree ${round}`)],
  'putting a new file, and deleting it': (round) => [put(`parent/new-${round}`, 'new'), remove(`parent/new-${round}`)],
  'making a directory, and deleting it': (round) => [
    mkdir(`parent/d-${round}`),
    put(`parent/d-${round}/f`, 'f'),
    remove(`parent/d-${round}`),
  ],
  'making a link': (round) => [symlink('parent/link', `target-${round}`)],
  'setting mode and time of a file': (round) => [
    metadata('parent/victim', 'file', round % 2 === 0 ? 0o600 : 0o777, FIRST_TIME + BigInt(round)),
  ],
  'setting mode and time of a directory': (round) => [
    metadata('parent/empty', 'directory', round % 2 === 0 ? 0o700 : 0o777, FIRST_TIME + BigInt(round)),
  ],
  'moving inside': () => [move('parent/victim', 'parent/moved'), move('parent/moved', 'parent/victim')],
  'moving in and out': () => [
    put('beside', 'beside'),
    move('beside', 'parent/in'),
    move('parent/in', 'beside'),
    remove('beside'),
  ],
  'deleting all of it': () => [
    remove('parent/deep'),
    mkdir('parent/deep'),
    put('parent/deep/secret', 'tree'),
    mkdir('parent/deep/deeper'),
  ],
};

describe('a server whose directories are swapped for links by another process (S01, S32)', function () {
  this.timeout(RACE_MS + 60_000);
  let base: string;
  let outside: string;
  let before: readonly unknown[];
  let server: ServerProgram | undefined;
  let swapper: ChildProcess | undefined;
  let client: SyncServiceClient | undefined;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-swapped-'));
    outside = join(base, 'outside');
    // The same names as below the directory that is swapped, so that each change would find something.
    for (const directory of ['empty', 'deep/deeper']) mkdirSync(join(outside, directory), { recursive: true });
    for (const file of ['victim', 'in', 'deep/secret']) writeFileSync(join(outside, file), 'sentinel', { mode: 0o640 });
    symlinkSync('sentinel', join(outside, 'link'));
    before = stateOf(outside);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`${server?.stderr.slice(-3000)}\n`);
    await stopSwapping();
    client?.close();
    await server?.stop('SIGKILL');
    [server, client] = [undefined, undefined];
    rmSync(base, { recursive: true, force: true });
  });

  async function serve(): Promise<SyncServiceClient> {
    const script = join(import.meta.dirname, '../../services/sync-server/main.ts');
    const ready = join(base, 'ready');
    const flags = ['--dir', join(base, 'replica'), '--listen', '127.0.0.1:0', '--http', 'off', '--log-level', 'warn'];
    server = new ServerProgram(script, [...flags, '--ready-file', ready]);
    const { grpc } = await server.ready(ready);
    client = createClient(SyncServiceClient, parseAddress(String(grpc), 'dial'), credentials.createInsecure(), {
      role: 'control',
    });
    return client;
  }

  async function startSwapping(): Promise<void> {
    const program = join(import.meta.dirname, 'swap-parent.ts');
    swapper = spawn(process.execPath, ['--no-warnings', program, join(base, 'replica/parent'), outside], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (swapper.stdout === null) throw new Error('no output of the child');
    await once(swapper.stdout, 'data');
  }

  async function stopSwapping(): Promise<void> {
    const current = swapper;
    swapper = undefined;
    if (current === undefined || current.exitCode !== null || current.signalCode !== null) return;
    const exited = once(current, 'exit');
    current.kill('SIGKILL');
    await exited;
  }

  /** A folder whose group failed in the middle recovers within seconds, by itself; until then it refuses. */
  async function openStream(of: SyncServiceClient): Promise<ChangesStream> {
    const holder = { holderId: HOLDER_ID, holder: 'test', takeOver: true };
    const request = { folder: 'default', ...holder, knownEpoch: '', knownRevision: 0n };
    const endMs = performance.now() + RECOVERY_MS;
    for (;;) {
      try {
        const { lease } = await unary(of, of.acquireLease, request);
        const stream = new ChangesStream(of);
        await stream.send({ message: { $case: 'open', value: { folder: 'default', lease, acknowledgement: 1 } } });
        if ((await stream.next()).$case === 'opened') return stream;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** The number of changes of a batch that were refused; announcements in between are not waited for. */
  async function problemsOf(stream: ChangesStream, changes: readonly Change[]): Promise<number> {
    await stream.sendBatch(changes);
    for (;;) {
      const answer = await stream.next();
      if (answer.$case === 'applied') return answer.value.problems.length;
    }
  }

  const filled = () => [
    mkdir('parent'),
    mkdir('parent/empty'),
    mkdir('parent/deep'),
    put('parent/victim', 'tree'),
    symlink('parent/link', 'x'),
  ];

  async function afterwards(of: SyncServiceClient): Promise<void> {
    const endMs = performance.now() + RECOVERY_MS;
    for (;;) {
      const reason = await reasonOf(openStream(of).then((stream) => problemsOf(stream, [put('afterwards', 'fine')])));
      if (reason === 'no error') return;
      expect(performance.now(), reason).to.be.lessThan(endMs);
    }
  }

  for (const [kind, changesOf] of Object.entries(KINDS)) {
    it(`does not lead outside: ${kind}`, async () => {
      const of = await serve();
      let stream = await openStream(of);
      expect(await problemsOf(stream, filled())).to.equal(0);
      await startSwapping();
      const untilMs = performance.now() + RACE_MS;
      let [applied, refused] = [0, 0];
      for (let round = 0; performance.now() < untilMs; round++) {
        // What drift took out of the index is put back now and then; a look at all of it runs beside.
        const changes = round % 20 === 19 ? [...filled(), ...changesOf(round)] : changesOf(round);
        const verifying =
          round % 50 === 25
            ? reasonOf(collect(readMessages(of.verifyFolder({ folder: 'default', path: '', repair: true }))))
            : undefined;
        try {
          if ((await problemsOf(stream, changes)) === 0) applied++;
          else refused++;
        } catch {
          // A group that failed ends the stream; the client comes back, as a watcher does.
          refused++;
          stream = await openStream(of);
        }
        await verifying;
      }
      await stopSwapping();
      expect(stateOf(outside)).to.deep.equal(before);
      expect(applied, 'changes that found the directory').to.be.greaterThan(0);
      expect(refused, 'changes that found the link, or nothing').to.be.greaterThan(0);
      // And it goes on.
      await afterwards(of);
      expect(readFileSync(join(base, 'replica/afterwards'), 'utf8')).to.equal('fine');
      expect(server?.process.exitCode).to.equal(null);
    });
  }
});

/** All in which a change could leave a trace. */
function stateOf(directory: string): readonly unknown[] {
  return ['.', ...readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted()].map((name) => {
    const path = join(directory, name);
    const stat = lstatSync(path, { bigint: true });
    const { mode, ino, uid, gid, nlink, size, mtimeNs, ctimeNs } = stat;
    const content = stat.isFile() ? readFileSync(path, 'utf8') : stat.isSymbolicLink() ? readlinkSync(path) : '';
    return { name, mode, ino, uid, gid, nlink, size, mtimeNs, ctimeNs, content };
  });
}
