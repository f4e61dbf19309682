/**
 * `--metrics`: the HTTP port of a watcher, for monitoring: metrics, and whether it lives and is ready. On loopback everybody
 * on this machine may ask. Beyond, health is all that is shown without the token that the watcher itself has for
 * its server, except of directories with --insecure.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { bearerOf } from '../../../common/http/bearer.ts';
import { type HttpPort, readinessPage, startHttpPort, text } from '../../../common/http/http-port.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { type Labels, METRICS_CONTENT_TYPE, MetricsRegistry } from '../../../common/ops/metrics.ts';
import { registerProcessMetrics } from '../../../common/ops/process-metrics.ts';
import type { TcpAddress } from '../../../common/rpc/address.ts';
import { readToken, type SecurityOptions } from '../push/credentials.ts';
import { type MeteredWatcher, type WatcherMeter, WatcherMetrics } from './watcher-metrics.ts';

export interface MetricsPortOptions {
  readonly address: TcpAddress;
  /** Of each directory that will be watched. */
  readonly watched: readonly { readonly folder: string; readonly server: string; readonly security: SecurityOptions }[];
  readonly logger: Logger;
}

export class MetricsPort implements AsyncDisposable {
  readonly #options: MetricsPortOptions;
  readonly #registry = new MetricsRegistry();
  readonly #metrics = new WatcherMetrics(this.#registry);
  readonly #stopMeasuring = registerProcessMetrics(this.#registry);
  readonly #running = new Set<MeteredWatcher>();
  #port: HttpPort | undefined;

  private constructor(options: MetricsPortOptions) {
    this.#options = options;
  }

  /** @throws LockstepError USAGE when the port cannot be had */
  static async start(options: MetricsPortOptions): Promise<MetricsPort> {
    const metrics = new MetricsPort(options);
    metrics.#port = await startHttpPort({
      address: options.address,
      option: '--metrics',
      realm: 'sync-watcher: its token as the password',
      answer: (path, request) => metrics.#answer(path, request.headers.authorization),
      logger: options.logger,
    });
    return metrics;
  }

  /** With the port that was really taken. */
  get address(): TcpAddress {
    return this.#port?.address ?? this.#options.address;
  }

  add(watcher: MeteredWatcher): WatcherMeter {
    const meter = this.#metrics.add(watcher);
    this.#running.add(watcher);
    return {
      ...meter,
      end: () => {
        meter.end();
        this.#running.delete(watcher);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopMeasuring();
    await this.#port?.close();
  }

  #answer(path: string, authorization: string | undefined) {
    switch (path) {
      case '/livez':
        return text(200, 'alive');
      case '/readyz':
        return readinessPage(this.#unreadiness());
      case '/metrics': {
        const maySee = this.#viewOf(bearerOf(authorization));
        return { status: 200, type: METRICS_CONTENT_TYPE, body: this.#registry.expose(maySee) };
      }
      default:
        return text(404, 'not found; there are /metrics, /livez and /readyz');
    }
  }

  /** Ready: each directory is watched, its first sync is done, and it is connected. Names nothing: everybody may ask. */
  #unreadiness(): string | undefined {
    if (this.#running.size < this.#options.watched.length) return 'a directory is not watched';
    for (const { model } of this.#running) {
      const { phase, engine } = model.snapshot;
      if (!engine.firstSyncDone) return 'the first sync is not done';
      if (phase === 'offline' || phase === 'stopped') return phase;
    }
    return undefined;
  }

  /** @throws LockstepError UNAUTHENTICATED to who may see nothing */
  #viewOf(bearer: string | undefined): (labels: Labels) => boolean {
    const { address, watched } = this.#options;
    if (address.isLoopback) return () => true;
    const seen = watched.filter(({ security }) => security.insecure || isToken(bearer, security));
    if (seen.length === 0) {
      const message = 'the token that this watcher has for its server is required here (as the password, or as Bearer)';
      throw new LockstepError('UNAUTHENTICATED', message);
    }
    return ({ folder, server }) =>
      folder === undefined || seen.some((one) => one.folder === folder && one.server === server);
  }
}

function isToken(bearer: string | undefined, security: SecurityOptions): boolean {
  const token = readToken(security);
  if (token === undefined || bearer === undefined) return false;
  // By digest, so that neither content nor length shows in the time that it takes.
  const digestOf = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digestOf(bearer), digestOf(`Bearer ${token}`));
}
