/**
 * rsync, with a daemon on loopback: its fastest way between two sides.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { freePort } from '../process/free-port.ts';
import type { RunningProcess } from '../process/running-process.ts';
import { waitFor } from '../process/wait.ts';
import type { OneShotContender, Setup } from './contender.ts';
import { openSession } from './receiver.ts';

const START_DEADLINE_MS = 10_000;

/** `flags` is what a user would give, for example `-a --delete`. */
export function rsync(bench: Bench, flags: readonly string[]): OneShotContender {
  return {
    name: 'rsync',
    commands: [
      'rsync --daemon --no-detach --address=127.0.0.1 --port=PORT --config=CONFIG',
      `rsync ${flags.join(' ')} SOURCE/ rsync://127.0.0.1:PORT/replica/`,
    ],
    async open(setup) {
      const daemon = await startRsyncDaemon(bench, setup);
      return await openSession(bench, setup, daemon, (port) => ({
        name: 'rsync',
        command: 'rsync',
        args: [...flags, `${setup.source}/`, rsyncUrl(port)],
        logFile: join(setup.state, 'rsync.log'),
      }));
    },
  };
}

export function rsyncUrl(port: number): string {
  return `rsync://127.0.0.1:${port}/replica/`;
}

export interface RsyncDaemon {
  readonly process: RunningProcess;
  readonly port: number;
}

export async function startRsyncDaemon(bench: Bench, setup: Setup): Promise<RsyncDaemon> {
  mkdirSync(setup.replica, { recursive: true });
  const port = await freePort();
  const config = join(setup.state, 'rsyncd.conf');
  // As root a daemon would become nobody, who may not write here.
  const identity = process.getuid?.() === 0 ? 'uid = 0\ngid = 0\n' : '';
  const log = join(setup.state, 'rsyncd.log');
  const settings = 'use chroot = no\nmunge symlinks = no\nread only = no\n';
  writeFileSync(config, `log file = ${log}\n${settings}${identity}[replica]\npath = ${setup.replica}\n`);
  const daemon = bench.processes.start({
    name: 'rsync --daemon',
    command: 'rsync',
    args: ['--daemon', '--no-detach', '--address=127.0.0.1', `--port=${port}`, `--config=${config}`],
    logFile: join(setup.state, 'rsyncd.out'),
  });
  const check = (): void => daemon.mustRun();
  await waitFor({ what: 'the rsync daemon', deadlineMs: START_DEADLINE_MS, check }, () => isListening(port));
  return { process: daemon, port };
}

function isListening(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Not yet; the caller asks again.
    socket.once('error', () => resolve(undefined));
  });
}
