/**
 * What the server's HTTP port answers: health, metrics and the status page for people and monitoring. Read-only; nothing
 * that arrives here can change or start anything (S21).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  HEADERS,
  type HttpPort,
  type Page,
  readinessPage,
  startHttpPort,
  text,
} from '../../../common/http/http-port.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { METRICS_CONTENT_TYPE } from '../../../common/ops/metrics.ts';
import type { TcpAddress } from '../../../common/rpc/address.ts';
import type { Door, Viewer } from './door.ts';
import { LiveFeed, type LiveFeedOptions } from './live-feed.ts';
import { STATUS_SCRIPT } from './page-script.ts';
import type { ServerStatus } from './server-status.ts';
import { STATUS_ICON, STATUS_PAGE_POLICY, STATUS_STYLE, statusPage } from './status-page.ts';

export interface HttpServerOptions {
  readonly address: TcpAddress;
  /** Who may see what. */
  readonly door: Door;
  readonly status: (viewer: Viewer) => ServerStatus;
  /** Why the server should get no traffic; undefined when it should. */
  readonly unreadiness: () => string | undefined;
  /** The metrics page, without what is about folders that the viewer may not see. */
  readonly metrics: (viewer: Viewer) => string;
  readonly live: Pick<LiveFeedOptions, 'subscribe' | 'bounds'>;
  readonly logger: Logger;
}

/** @throws LockstepError USAGE when the port cannot be had */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpPort> {
  const live = new LiveFeed({ ...options.live, status: options.status });
  const port = await startHttpPort({
    address: options.address,
    option: '--http',
    realm: 'sync-server: a token as the password',
    answer: (path, request, response) => answer(path, request, response, live, options),
    logger: options.logger,
  });
  return {
    address: port.address,
    close: () => {
      live.close();
      return port.close();
    },
  };
}

function answer(
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  live: LiveFeed,
  options: HttpServerOptions,
): Page | undefined {
  switch (path) {
    case '/livez':
      return text(200, 'alive');
    case '/readyz':
      return readinessPage(options.unreadiness());
    case '/metrics': {
      const viewer = options.door.admit(request);
      return { status: 200, type: METRICS_CONTENT_TYPE, body: options.metrics(viewer) };
    }
    case '/api/status': {
      const status = options.status(options.door.admit(request));
      return { status: 200, type: 'application/json', body: `${JSON.stringify(status, null, 2)}\n` };
    }
    case '/api/events':
      return openLive(request, response, live, options.door.admit(request));
    case '/': {
      const body = statusPage(options.status(options.door.admit(request)));
      const headers = { 'content-security-policy': STATUS_PAGE_POLICY };
      return { status: 200, type: 'text/html; charset=utf-8', body, headers };
    }
    case '/status.js':
      return { status: 200, type: 'text/javascript; charset=utf-8', body: STATUS_SCRIPT };
    case '/status.css':
      return { status: 200, type: 'text/css; charset=utf-8', body: STATUS_STYLE };
    case '/status.svg':
      return { status: 200, type: 'image/svg+xml', body: STATUS_ICON };
    default:
      return text(404, 'not found; there are /, /api/status, /api/events, /metrics, /livez and /readyz');
  }
}

/** Answers for itself, or says what else to answer. */
function openLive(
  request: IncomingMessage,
  response: ServerResponse,
  live: LiveFeed,
  viewer: Viewer,
): Page | undefined {
  const type = 'text/event-stream';
  // Seats are few: no page of the web shall take them all, though it could not read what it gets.
  if (request.headers['sec-fetch-site'] === 'cross-site') return text(403, 'only pages of this server may follow it');
  if (request.method === 'HEAD') return { status: 200, type, body: '' };
  if (live.open(response, viewer, HEADERS)) return undefined;
  return { ...text(503, 'too many are looking'), headers: { 'retry-after': '10' } };
}
