/**
 * Two Syncthing instances that know only each other: no discovery, no relays, no reports, no upgrades.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { freePort } from '../process/free-port.ts';
import type { RunningProcess } from '../process/running-process.ts';
import { cpuSecondsOf, residentBytesOf, UsageMeter } from '../process/usage.ts';
import { waitFor } from '../process/wait.ts';
import type { Setup, WatchingContender } from './contender.ts';

const API_KEY = 'benchmark';
const START_DEADLINE_MS = 60_000;
const POLL_INTERVAL_MS = 1_000;

export interface SyncthingOptions {
  /** A first sync that takes longer is given up, and what was seen so far counts. */
  readonly patienceMs: number;
}

interface Side {
  readonly home: string;
  readonly directory: string;
  readonly id: string;
  readonly syncPort: number;
  readonly apiPort: number;
}

export function syncthing(bench: Bench, options: SyncthingOptions): WatchingContender {
  return {
    name: 'syncthing',
    commands: ['syncthing serve --home=HOME --no-browser --no-restart --no-upgrade (two of them, on loopback)'],
    async watch(setup) {
      const client = await prepare(setup, 'client', setup.source);
      const server = await prepare(setup, 'server', setup.replica);
      writeConfiguration(client, server, 'sendonly');
      writeConfiguration(server, client, 'receiveonly');
      const receiver = start(bench, server);
      const startedAt = performance.now();
      const sender = start(bench, client);
      const meters = [new UsageMeter(sender.pid), new UsageMeter(receiver.pid)] as const;
      for (const meter of meters) meter.start();
      const mustRun = (): void => {
        sender.mustRun();
        receiver.mustRun();
      };
      await waitUntilComplete(client, server, options.patienceMs, mustRun);
      const firstSyncSeconds = (performance.now() - startedAt) / 1000;
      const [clientBytes, serverBytes] = meters.map((meter) => meter.stop().peakBytes);
      return {
        firstSyncSeconds,
        peaks: () => ({ clientBytes: clientBytes ?? null, serverBytes: serverBytes ?? null }),
        resident: () => ({ clientBytes: residentBytesOf(sender.pid), serverBytes: residentBytesOf(receiver.pid) }),
        mustRun,
        cpuSeconds() {
          const first = cpuSecondsOf(sender.pid);
          const second = cpuSecondsOf(receiver.pid);
          return first === null || second === null ? null : first + second;
        },
        async close() {
          await sender.stop();
          await receiver.stop();
        },
      };
    },
  };
}

async function prepare(setup: Setup, name: string, directory: string): Promise<Side> {
  const home = join(setup.state, name);
  mkdirSync(home, { recursive: true });
  mkdirSync(join(directory, '.stfolder'), { recursive: true });
  execFileSync('syncthing', ['generate', `--home=${home}`, '--no-default-folder', '--skip-port-probing'], {
    stdio: 'ignore',
  });
  const id = execFileSync('syncthing', [`--home=${home}`, '--device-id'], { encoding: 'utf8' }).trim();
  return { home, directory, id, syncPort: await freePort(), apiPort: await freePort() };
}

function writeConfiguration(own: Side, other: Side, folderType: 'sendonly' | 'receiveonly'): void {
  const off = ['globalAnnounceEnabled', 'localAnnounceEnabled', 'relaysEnabled', 'startBrowser', 'natEnabled']
    .concat('crashReportingEnabled', 'setLowPriority')
    .map((option) => `<${option}>false</${option}>`)
    .join('');
  const device = (side: Side): string =>
    `<device id="${side.id}" compression="metadata"><address>tcp://127.0.0.1:${side.syncPort}</address></device>`;
  writeFileSync(
    join(own.home, 'config.xml'),
    `<configuration version="36">
<folder id="bench" path="${own.directory}" type="${folderType}" fsWatcherEnabled="true" fsWatcherDelayS="1">
<filesystemType>basic</filesystemType><device id="${own.id}"/><device id="${other.id}"/></folder>
${device(own)}${device(other)}
<gui enabled="true" tls="false"><address>127.0.0.1:${own.apiPort}</address><apikey>${API_KEY}</apikey></gui>
<options><listenAddress>tcp://127.0.0.1:${own.syncPort}</listenAddress><urAccepted>-1</urAccepted>
<reconnectionIntervalS>1</reconnectionIntervalS><autoUpgradeIntervalH>0</autoUpgradeIntervalH>${off}</options>
</configuration>
`,
  );
}

function start(bench: Bench, side: Side): RunningProcess {
  return bench.processes.start({
    name: 'syncthing',
    command: 'syncthing',
    args: ['serve', `--home=${side.home}`, '--no-browser', '--no-restart', '--no-upgrade'],
    logFile: join(side.home, 'syncthing.log'),
  });
}

/** Done when the sender has scanned all and the receiver needs nothing more. */
async function waitUntilComplete(client: Side, server: Side, patienceMs: number, check: () => void): Promise<void> {
  const end = performance.now() + patienceMs;
  await waitFor(
    { what: 'syncthing', deadlineMs: START_DEADLINE_MS + patienceMs, intervalMs: POLL_INTERVAL_MS, check },
    async () => {
      const sent = await folderStatus(client);
      const received = await folderStatus(server);
      const isDone =
        sent?.state === 'idle' &&
        received?.state === 'idle' &&
        sent.localFiles > 0 &&
        received.globalFiles === sent.localFiles &&
        received.needFiles === 0;
      return isDone || performance.now() > end ? true : undefined;
    },
  );
}

interface FolderStatus {
  readonly state: string;
  readonly localFiles: number;
  readonly globalFiles: number;
  readonly needFiles: number;
}

/** Undefined while the instance does not answer yet. */
async function folderStatus(side: Side): Promise<FolderStatus | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${side.apiPort}/rest/db/status?folder=bench`, {
      headers: { 'X-API-Key': API_KEY },
    });
    // The shape is that of Syncthing's REST documentation.
    return answer.ok ? ((await answer.json()) as FolderStatus) : undefined;
  } catch {
    // Not listening yet, or busy; whether it still runs is checked by the caller.
    return undefined;
  }
}
