/**
 * `make run`, `npm start`: a server and a watcher side by side, with their logs interleaved, until Ctrl-C. Starts the two
 * programs as anybody would; knows nothing of their insides.
 *
 *   scripts/node scripts/run-pair.ts [--cdir DIR] [--sdir DIR]        or CDIR and SDIR in the environment
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { describeError, errnoOf, ExitCode, LockstepError } from '../common/ops/errors.ts';
import { quote } from '../common/ops/shell-quote.ts';

const PROJECT = join(import.meta.dirname, '..');
const DEFAULT_PORT = 50051;
const READY_DEADLINE_MS = 120_000;
/** Each program promises to stop within ten seconds. */
const STOP_DEADLINE_MS = 12_000;

const isTerminal = process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
const COLORS = { server: 35, watcher: 36 } as const;

type ProgramName = keyof typeof COLORS;

interface Program {
  readonly name: ProgramName;
  readonly child: ChildProcess;
  readonly exited: Promise<number>;
}

/** @throws LockstepError USAGE */
function directories(): { readonly client: string; readonly server: string } {
  const values = options();
  const client = values.cdir ?? process.env['CDIR'] ?? '';
  const server = values.sdir ?? process.env['SDIR'] ?? '';
  return { client: resolve(client || 'dir/client'), server: resolve(server || 'dir/server') };
}

function options() {
  try {
    return parseArgs({ options: { cdir: { type: 'string' }, sdir: { type: 'string' } } }).values;
  } catch (error) {
    // Node goes on with advice about arguments that are no options, of which there are none.
    const [what = ''] = describeError(error).split(/[.\n]/);
    throw new LockstepError('USAGE', `${what}; there are --cdir DIR and --sdir DIR`);
  }
}

/** @throws LockstepError USAGE */
function makeDirectory(option: string, path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const errno = errnoOf(error);
    const isFile = errno === 'EEXIST' || errno === 'ENOTDIR';
    const what = isFile
      ? `${path} is, or lies below, something that is not a directory`
      : `cannot make the directory ${path} (${errno})`;
    throw new LockstepError('USAGE', `${what}; give another ${option}`);
  }
}

function start(name: ProgramName, main: string, args: readonly string[]): Program {
  // Settings of a single program would hit both.
  const environment = Object.entries(process.env).filter(
    ([variable]) => !variable.startsWith('LOCKSTEP_') || variable === 'LOCKSTEP_LOG_LEVEL',
  );
  const child = spawn(process.execPath, [join(PROJECT, main), ...args], {
    env: Object.fromEntries(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C comes to us alone, so that the watcher can stop before its server.
    detached: true,
  });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => show(name, line));
  }
  const exited = new Promise<number>((ended) => {
    child.on('error', (error) => {
      show(name, `cannot be started: ${error.message}`);
      ended(1);
    });
    child.on('close', (code, signal) => ended(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  return { name, child, exited };
}

/** The programs name themselves in their lines, which the prefix does already. */
function show(name: ProgramName, line: string): void {
  const prefix = name.padEnd(7);
  const painted = isTerminal ? `\u001b[${COLORS[name]}m${prefix}\u001b[0m` : prefix;
  process.stdout.write(`${painted} │ ${line.replace(/^(\d\d:\d\d:\d\d\.\d{3}) (?:server|watcher)\S* +/, '$1  ')}\n`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** What a program's ready file says; undefined when it ended before, or somebody wants to stop. */
async function untilReady(program: Program, file: string): Promise<Record<string, unknown> | undefined> {
  const endMs = performance.now() + READY_DEADLINE_MS;
  let hasEnded = false;
  void program.exited.then(() => {
    hasEnded = true;
  });
  while (!hasEnded && !stopping.signal.aborted && performance.now() < endMs) {
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  return undefined;
}

async function stop(program: Program | undefined): Promise<void> {
  if (program === undefined) return;
  program.child.kill('SIGTERM');
  const killer = setTimeout(() => program.child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await program.exited;
  clearTimeout(killer);
}

/** As one would type it here. */
function shellPath(path: string): string {
  const short = relative(process.cwd(), path) || '.';
  return /^[A-Za-z0-9_./-]+$/.test(short) ? short : quote(short);
}

function explain(client: string, server: string, http: unknown): void {
  const [from, to] = [shellPath(client), shellPath(server)];
  const program = shellPath(join(PROJECT, 'bin/sync-watcher'));
  const lines = [
    '',
    `In step: what happens in ${from} happens in ${to}. In another terminal, try:`,
    '',
    `    echo hello > ${from}/hello.txt`,
    `    cat ${to}/hello.txt`,
    `    ${program} status --dir ${from}`,
    '',
    typeof http === 'string' ? `Status page: http://${http}/ · Ctrl-C stops both.` : 'Ctrl-C stops both.',
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

const stopping = new AbortController();

async function main(): Promise<number> {
  const { client, server } = directories();
  makeDirectory('--cdir', client);
  makeDirectory('--sdir', server);
  const ready = mkdtempSync(join(tmpdir(), 'lockstep-run-'));
  const programs: Partial<Record<ProgramName, Program>> = {};
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // The second time it is meant.
      if (stopping.signal.aborted) for (const { child } of Object.values(programs)) child.kill('SIGKILL');
      stopping.abort();
    });
  }
  const stopped = new Promise<'stopped'>((resolve) => {
    stopping.signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  try {
    const port = (await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0;
    const serverReady = join(ready, 'server.json');
    programs.server = start('server', 'services/sync-server/main.ts', [
      ...['--dir', server, '--listen', `127.0.0.1:${port}`],
      ...['--ready-file', serverReady, '--log-format', 'pretty'],
    ]);
    const facts = await untilReady(programs.server, serverReady);
    if (facts === undefined) return await outcome(programs.server);
    const watcherReady = join(ready, 'watcher.json');
    programs.watcher = start('watcher', 'clients/watcher/main.ts', [
      ...['--dir', client, '--server', String(facts['grpc'])],
      ...['--ready-file', watcherReady, '--log-format', 'pretty', '--progress', 'plain'],
    ]);
    if ((await untilReady(programs.watcher, watcherReady)) !== undefined) explain(client, server, facts['http']);
    const first = await Promise.race([stopped, programs.server.exited, programs.watcher.exited]);
    return first === 'stopped' ? 0 : first;
  } finally {
    // The watcher first: its last changes still find their server.
    await stop(programs.watcher);
    await stop(programs.server);
    rmSync(ready, { recursive: true, force: true });
  }
}

/** Of a server that never became ready. */
async function outcome(server: Program): Promise<number> {
  if (stopping.signal.aborted) return 0;
  if (server.child.exitCode === null && server.child.signalCode === null) {
    show('server', 'did not become ready in time');
    return 1;
  }
  return server.exited;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof LockstepError)) throw error;
  process.stderr.write(`run-pair: ${describeError(error)}\n`);
  process.exitCode = ExitCode.USAGE;
}
