/**
 * The receiving side of a one-shot contender: a server process, perhaps behind a link, to which client processes are
 * started one after the other.
 */
import type { Bench } from '../bench.ts';
import { Link } from '../link/link.ts';
import type { ProcessOptions, RunningProcess } from '../process/running-process.ts';
import { reapedCpuSeconds, UsageMeter } from '../process/usage.ts';
import type { OneShotSession, Sample, Setup } from './contender.ts';

/** Opens the session. `client` gives the client process for the port that it shall connect to. */
export async function openSession(
  bench: Bench,
  setup: Setup,
  server: { readonly process: RunningProcess; readonly port: number },
  client: (port: number) => ProcessOptions,
): Promise<OneShotSession> {
  const { link: shape } = setup;
  const link = shape === undefined ? null : await Link.open(server.port, shape === 'counting' ? null : shape);
  return {
    async sync() {
      await link?.reset();
      const sample = await syncOnce(bench, server.process, client(link?.port ?? server.port));
      return { ...sample, wire: link === null ? null : await link.totals() };
    },
    async close() {
      await link?.close();
      await server.process.stop();
    },
  };
}

async function syncOnce(bench: Bench, server: RunningProcess, options: ProcessOptions): Promise<Sample> {
  const serverMeter = new UsageMeter(server.pid);
  serverMeter.start();
  const reapedBefore = reapedCpuSeconds();
  const startedAt = performance.now();
  const client = bench.processes.start(options);
  const clientMeter = new UsageMeter(client.pid);
  clientMeter.start();
  const status = await client.exited;
  const wallSeconds = (performance.now() - startedAt) / 1000;
  const reapedAfter = reapedCpuSeconds();
  const { peakBytes } = clientMeter.stop();
  const usage = serverMeter.stop();
  if (status !== 0) throw new Error(`${options.name} ended with status ${status}: ${client.output()}`);
  server.mustRun();
  const cpuSeconds = reapedBefore === null || reapedAfter === null ? null : reapedAfter - reapedBefore;
  return { wallSeconds, client: { cpuSeconds, peakBytes }, server: usage, wire: null };
}
