/**
 * Ours: bin/sync-server and bin/sync-watcher, started as a user would.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import type { RunningProcess } from '../process/running-process.ts';
import { parseStatus, readProc } from '../process/proc-files.ts';
import { cpuSecondsOf, residentBytesOf } from '../process/usage.ts';
import { waitFor } from '../process/wait.ts';
import type { OneShotContender, Setup, WatchingContender, WatchingSession } from './contender.ts';
import { openSession } from './receiver.ts';

const BIN = join(import.meta.dirname, '../../../bin');
const START_DEADLINE_MS = 60_000;
const FIRST_SYNC_DEADLINE_MS = 30 * 60_000;
const QUIET = ['--log-level', 'warn'];
/** What a case does, it means. */
const CLIENT_FLAGS = [...QUIET, '--max-delete', '100%', '--progress', 'off'];

export interface OursOptions {
  /** Default: "ours". */
  readonly name?: string;
  /** Further flags of the watcher. */
  readonly flags?: readonly string[];
}

export function ours(bench: Bench, options: OursOptions = {}): OneShotContender & WatchingContender {
  const flags = options.flags ?? [];
  const serverCommand = 'bin/sync-server --dir REPLICA --state STATE --listen 127.0.0.1:0 --http off --log-level warn';
  const clientCommand = ['bin/sync-watcher watch --dir SOURCE --state STATE --server 127.0.0.1:PORT', ...flags].join(
    ' ',
  );
  return {
    name: options.name ?? 'ours',
    commands: [serverCommand, `${clientCommand} --once --max-delete 100% --progress off --log-level warn`],
    async open(setup) {
      const server = await startServer(bench, setup);
      const args = [...clientArgs(setup, flags), '--once'];
      return await openSession(bench, setup, server, (port) => ({
        name: 'sync-watcher',
        command: join(BIN, 'sync-watcher'),
        args: [...args, '--server', `127.0.0.1:${port}`],
        environment: profiling(bench, 'watcher'),
        logFile: join(setup.state, 'watcher.log'),
      }));
    },
    watch: (setup) => watch(bench, setup, flags),
  };
}

/** Ours as a user of a case would start it for good. */
async function watch(bench: Bench, setup: Setup, flags: readonly string[]): Promise<WatchingSession> {
  const server = await startServer(bench, setup);
  const readyFile = join(setup.state, 'watcher.ready');
  rmSync(readyFile, { force: true });
  const startedAt = performance.now();
  const watcher = bench.processes.start({
    name: 'sync-watcher',
    command: join(BIN, 'sync-watcher'),
    args: [...clientArgs(setup, flags), '--server', `127.0.0.1:${server.port}`, '--ready-file', readyFile],
    environment: profiling(bench, 'watcher'),
    logFile: join(setup.state, 'watcher.log'),
  });
  await waitFor(
    { what: 'the first sync', deadlineMs: FIRST_SYNC_DEADLINE_MS, check: () => watcher.mustRun() },
    () => existsSync(readyFile) || undefined,
  );
  const firstSyncSeconds = (performance.now() - startedAt) / 1000;
  return {
    firstSyncSeconds,
    peaks: () => ({ clientBytes: peakOf(watcher), serverBytes: peakOf(server.process) }),
    resident: () => ({ clientBytes: residentBytesOf(watcher.pid), serverBytes: residentBytesOf(server.process.pid) }),
    mustRun() {
      watcher.mustRun();
      server.process.mustRun();
    },
    cpuSeconds() {
      const client = cpuSecondsOf(watcher.pid);
      const other = cpuSecondsOf(server.process.pid);
      return client === null || other === null ? null : client + other;
    },
    async close() {
      await watcher.stop();
      await server.process.stop();
    },
  };
}

async function startServer(bench: Bench, setup: Setup): Promise<{ process: RunningProcess; port: number }> {
  const readyFile = join(setup.state, 'server.ready');
  rmSync(readyFile, { force: true });
  mkdirSync(setup.replica, { recursive: true });
  const state = join(setup.state, 'server');
  const server = bench.processes.start({
    name: 'sync-server',
    command: join(BIN, 'sync-server'),
    args: ['--dir', setup.replica, '--state', state, '--listen', '127.0.0.1:0', '--http', 'off', ...QUIET].concat(
      '--ready-file',
      readyFile,
    ),
    environment: profiling(bench, 'server'),
    logFile: join(setup.state, 'server.log'),
  });
  const port = await waitFor(
    { what: 'the server', deadlineMs: START_DEADLINE_MS, check: () => server.mustRun() },
    () => (existsSync(readyFile) ? portOf(readFileSync(readyFile, 'utf8')) : undefined),
  );
  return { process: server, port };
}

function portOf(readyText: string): number {
  const port = Number(/"grpc":\s*"[^"]*:(\d+)"/.exec(readyText)?.[1]);
  if (!(port > 0)) throw new Error(`no port in the ready file: ${readyText}`);
  return port;
}

function clientArgs(setup: Setup, flags: readonly string[]): readonly string[] {
  return ['watch', '--dir', setup.source, '--state', join(setup.state, 'watcher'), ...CLIENT_FLAGS, ...flags];
}

function peakOf(running: RunningProcess): number | null {
  const text = readProc(running.pid, 'status');
  return text === undefined ? null : parseStatus(text).peakBytes;
}

/** Makes Node write a CPU profile for each thread when the process ends. */
function profiling(bench: Bench, side: 'server' | 'watcher'): Readonly<Record<string, string>> {
  if (bench.profileDirectory === null) return {};
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${join(bench.profileDirectory, side)}` };
}
