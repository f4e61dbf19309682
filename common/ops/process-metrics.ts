/**
 * Metrics about the process, read when somebody asks.
 */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { descriptorLimit } from './descriptor-limit.ts';
import type { MetricsRegistry } from './metrics.ts';

/** Measuring the delay wakes the process; nobody who asks less often than this gets it. */
const DELAY_MEASURED_MS = 120_000;

/** @returns a function that stops measuring */
export function registerProcessMetrics(registry: MetricsRegistry): () => void {
  const one = (value: number) => [{ labels: {}, value }];
  const delay = new DelayMeter();
  registry.gauge(
    'lockstep_event_loop_delay_seconds',
    'Event loop delay since the last reading, by percentile; measured from the first reading on',
    () => delay.read(),
  );
  registry.total('lockstep_event_loop_active_seconds_total', 'Time in which the event loop was not waiting', () =>
    one(performance.eventLoopUtilization().active / 1000),
  );
  registry.total('process_cpu_seconds_total', 'Processor time of all threads', () => {
    const { user, system } = process.cpuUsage();
    return one((user + system) / 1e6);
  });
  registry.gauge('process_resident_memory_bytes', 'Resident memory', () => one(process.memoryUsage.rss()));
  registry.gauge('process_start_time_seconds', 'Start of the process, since 1970', () =>
    one(Math.round(Date.now() / 1000 - process.uptime())),
  );
  registry.gauge('process_open_fds', 'Descriptors that are open, where the system tells', () => {
    const open = openDescriptors();
    return open === undefined ? [] : one(open);
  });
  registry.gauge('process_max_fds', 'Descriptors that may be open, where the system tells', () => {
    const limit = descriptorLimit();
    return limit === undefined || limit === Number.POSITIVE_INFINITY ? [] : one(limit);
  });
  return () => delay.stop();
}

/** Measures only while somebody reads now and then. */
class DelayMeter {
  #delay: ReturnType<typeof monitorEventLoopDelay> | undefined;
  #timer: NodeJS.Timeout | undefined;

  read() {
    this.#timer ??= setTimeout(() => this.stop(), DELAY_MEASURED_MS).unref();
    this.#timer.refresh();
    if (this.#delay === undefined) {
      this.#delay = monitorEventLoopDelay({ resolution: 20 });
      this.#delay.enable();
    }
    const delay = this.#delay;
    const samples = [50, 99, 100].map((percent) => ({
      labels: { percentile: String(percent) },
      value: delay.count === 0 ? 0 : delay.percentile(percent) / 1e9,
    }));
    delay.reset();
    return samples;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#delay?.disable();
    this.#delay = undefined;
  }
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    // No such thing on this system: the metric has no sample then.
    return undefined;
  }
}
