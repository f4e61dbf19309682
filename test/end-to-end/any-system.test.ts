/**
 * A server and a watcher on whatever system this is, by what each of them has: Node, its own calls, and no shell, no other program, no
 * signals. Tells less than the tests beside it, and runs where those do not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const MAINS = { 'sync-server': 'services/sync-server/main.ts', 'sync-watcher': 'clients/watcher/main.ts' } as const;
const READY_MS = 60_000;

/** Paths with contents, in order; of a directory with nothing in it the path alone. */
function contentOf(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !join(entry.parentPath, entry.name).includes('.lockstep'))
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return `${path.slice(directory.length)} ${entry.isFile() ? readFileSync(path, 'latin1') : ''}`;
    })
    .toSorted();
}

describe('a server and a watcher on this system', function () {
  this.timeout(240_000);
  let base = '';
  let source = '';
  let replica = '';
  const running: ChildProcess[] = [];
  const said: string[] = [];

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-any-'));
    source = join(base, 'source');
    replica = join(base, 'replica');
    for (const directory of [source, replica]) mkdirSync(directory);
    said.splice(0);
  });

  afterEach(async function () {
    for (const child of running.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill();
      await once(child, 'exit');
    }
    if (this.currentTest?.state === 'failed') process.stderr.write(`${said.join('')}\n`);
    // Windows lets go of what a process had open a little after it.
    rmSync(base, { recursive: true, force: true, maxRetries: 20 });
  });

  function started(name: keyof typeof MAINS, ...args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [join(REPOSITORY, MAINS[name]), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => said.push(text));
    }
    running.push(child);
    return child;
  }

  async function ended(...args: readonly string[]): Promise<unknown> {
    const [status]: unknown[] = await once(started('sync-watcher', ...args), 'exit');
    return status;
  }

  async function ready(file: string): Promise<Record<string, unknown>> {
    const endMs = performance.now() + READY_MS;
    while (!existsSync(file)) {
      if (performance.now() > endMs) throw new Error(`there is no ${file}`);
      await sleep(20);
    }
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  }

  async function address(): Promise<string> {
    const file = join(base, 'server-ready');
    started('sync-server', '--dir', replica, '--listen', '127.0.0.1:0', '--http', 'off', '--ready-file', file);
    return String((await ready(file))['grpc']);
  }

  function fill(): void {
    for (let number = 0; number < 30; number++) {
      mkdirSync(join(source, `d${number % 3}`, 'sub'), { recursive: true });
      writeFileSync(join(source, `d${number % 3}`, 'sub', `f${number}`), `content ${number}`);
    }
    writeFileSync(join(source, 'ünïcode'), 'ü');
    writeFileSync(join(source, 'large'), Buffer.alloc(3_000_000, 'large'));
    mkdirSync(join(source, 'empty'));
  }

  function edit(): void {
    renameSync(join(source, 'd0'), join(source, 'moved'));
    rmSync(join(source, 'd1'), { recursive: true });
    writeFileSync(join(source, 'd1'), 'a file where a directory was');
    writeFileSync(join(source, 'large'), Buffer.alloc(2_000_000, 'other'));
    writeFileSync(join(source, 'd2', 'new'), 'new');
  }

  it('keep a tree in step, once and once more', async () => {
    const server = await address();
    const once = ['--dir', source, '--state', join(base, 'state'), '--server', server, '--once'];
    fill();
    expect(await ended(...once)).to.equal(0);
    expect(contentOf(replica)).to.deep.equal(contentOf(source));
    edit();
    expect(await ended(...once)).to.equal(0);
    expect(contentOf(replica)).to.deep.equal(contentOf(source));
    expect(await ended('verify', '--dir', source, '--server', server)).to.equal(0);
  });

  it('follow changes as they come, and answer on the control socket', async () => {
    const server = await address();
    const own = ['--dir', source, '--state', join(base, 'state')];
    fill();
    started('sync-watcher', ...own, '--server', server, '--ready-file', join(base, 'watcher-ready'));
    await ready(join(base, 'watcher-ready'));
    expect(contentOf(replica)).to.deep.equal(contentOf(source));
    edit();
    expect(await ended('flush', ...own)).to.equal(0);
    expect(contentOf(replica)).to.deep.equal(contentOf(source));
    expect(await ended('status', ...own)).to.equal(0);
    // Without a flush, which would look by itself: by events.
    writeFileSync(join(source, 'd2', 'later'), 'later');
    while (!existsSync(join(replica, 'd2', 'later'))) await sleep(20);
  });
});
