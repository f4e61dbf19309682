/**
 * lsyncd without its usual delay, over an rsync daemon on loopback: the fastest that it can be set to.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { cpuSecondsOf, residentBytesOf, UsageMeter } from '../process/usage.ts';
import { waitFor } from '../process/wait.ts';
import type { WatchingContender } from './contender.ts';
import { rsyncUrl, startRsyncDaemon } from './rsync.ts';

const FIRST_SYNC_DEADLINE_MS = 30 * 60_000;

export function lsyncd(bench: Bench): WatchingContender {
  return {
    name: 'lsyncd',
    commands: [
      'rsync --daemon --no-detach --address=127.0.0.1 --port=PORT --config=CONFIG',
      'lsyncd -nodaemon CONFIG with sync { default.rsync, source = SOURCE, target = "rsync://127.0.0.1:PORT/replica/", ' +
        'delay = 0, rsync = { archive = true } }',
    ],
    async watch(setup) {
      const daemon = await startRsyncDaemon(bench, setup);
      const log = join(setup.state, 'lsyncd.log');
      const config = join(setup.state, 'lsyncd.lua');
      writeFileSync(
        config,
        `settings { nodaemon = true, logfile = "${log}", statusFile = "${join(setup.state, 'lsyncd.status')}" }
sync { default.rsync, source = "${setup.source}", target = "${rsyncUrl(daemon.port)}", delay = 0,
       rsync = { archive = true } }
`,
      );
      const startedAt = performance.now();
      const watcher = bench.processes.start({
        name: 'lsyncd',
        command: 'lsyncd',
        args: ['-nodaemon', config],
        logFile: join(setup.state, 'lsyncd.out'),
      });
      const meters = [new UsageMeter(watcher.pid), new UsageMeter(daemon.process.pid)] as const;
      for (const meter of meters) meter.start();
      const check = (): void => watcher.mustRun();
      await waitFor({ what: "lsyncd's first sync", deadlineMs: FIRST_SYNC_DEADLINE_MS, check }, () =>
        existsSync(log) && /Startup of .* finished/.test(readFileSync(log, 'utf8')) ? true : undefined,
      );
      const firstSyncSeconds = (performance.now() - startedAt) / 1000;
      const [clientBytes, serverBytes] = meters.map((meter) => meter.stop().peakBytes);
      return {
        firstSyncSeconds,
        peaks: () => ({ clientBytes: clientBytes ?? null, serverBytes: serverBytes ?? null }),
        resident: () => ({
          clientBytes: residentBytesOf(watcher.pid),
          serverBytes: residentBytesOf(daemon.process.pid),
        }),
        mustRun() {
          watcher.mustRun();
          daemon.process.mustRun();
        },
        cpuSeconds() {
          const client = cpuSecondsOf(watcher.pid);
          const server = cpuSecondsOf(daemon.process.pid);
          return client === null || server === null ? null : client + server;
        },
        async close() {
          await watcher.stop();
          watcher.killNow();
          await daemon.process.stop();
        },
      };
    },
  };
}
