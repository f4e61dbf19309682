/**
 * The HTTP port of a program, for people and monitoring: read-only, bounded, and closed to pages of the web. What is served
 * there is the program's; this room knows what every question must be and what every answer carries.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeError, errnoOf, LockstepError } from '../ops/errors.ts';
import type { Logger } from '../ops/logger.ts';
import { type TcpAddress, tcpAddress } from '../rpc/address.ts';
import { toLockstepError } from '../rpc/errors.ts';

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpPortOptions {
  readonly address: TcpAddress;
  /** The option that chooses the address, for messages. */
  readonly option: string;
  /** What is told to who needs a token. */
  readonly realm: string;
  /**
   * What a GET or HEAD of this path gets; undefined when it has answered by itself.
   * @throws LockstepError UNAUTHENTICATED, LIMIT_EXCEEDED after too many wrong tokens
   */
  readonly answer: (path: string, request: IncomingMessage, response: ServerResponse) => Page | undefined;
  readonly logger: Logger;
}

export interface HttpPort {
  /** With the port that was really taken. */
  readonly address: TcpAddress;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;

/** @throws LockstepError USAGE when the port cannot be had */
export async function startHttpPort(options: HttpPortOptions): Promise<HttpPort> {
  const { host, port } = options.address;
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    const page = answerSafely(request, response, options);
    if (page !== undefined) respond(response, request, page);
  });
  await listen(server, options);
  server.on('error', (error) => options.logger.warn({ err: error }, 'the http server has a problem'));
  return {
    address: tcpAddress(host, port === 0 ? (server.address() as AddressInfo).port : port),
    close: () => close(server),
  };
}

function answerSafely(
  request: IncomingMessage,
  response: ServerResponse,
  { address, answer, realm, logger }: HttpPortOptions,
): Page | undefined {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { ...text(405, 'only GET and HEAD'), headers: { allow: 'GET, HEAD' } };
  }
  // A page of the web may resolve its own name to this machine and read what only local users should (DNS rebinding).
  if (address.isLoopback && !isLocalName(request.headers.host)) {
    return text(421, 'this server answers to local names only');
  }
  try {
    return answer(request.url?.split('?')[0] ?? '', request, response);
  } catch (error) {
    const { reason, message } = toLockstepError(error);
    const challenge = `Basic realm="${realm}", charset="UTF-8"`;
    if (reason === 'UNAUTHENTICATED') return { ...text(401, message), headers: { 'www-authenticate': challenge } };
    if (reason === 'LIMIT_EXCEEDED') return { ...text(429, message), headers: { 'retry-after': '60' } };
    logger.error({ err: error }, 'an http request failed');
    return text(500, 'internal error');
  }
}

/** Of every answer. */
export const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

function respond(response: ServerResponse, request: IncomingMessage, page: Page): void {
  response.writeHead(page.status, {
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.body),
    ...HEADERS,
    ...page.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}

export function text(status: number, body: string): Page {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

/** `/readyz`. `unreadiness`: why the program is not ready; undefined when it is. */
export function readinessPage(unreadiness: string | undefined): Page {
  return unreadiness === undefined ? text(200, 'ready') : text(503, unreadiness);
}

function isLocalName(host: string | undefined): boolean {
  return host === undefined || /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host);
}

async function listen(
  server: Server,
  { address: { host, port, text: shown }, option }: HttpPortOptions,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const isTaken = errnoOf(error) === 'EADDRINUSE';
      const why = isTaken ? 'the port is in use' : describeError(error);
      const message = `cannot serve http on ${shown}: ${why}; choose another with ${option}, or ${option} off`;
      reject(new LockstepError('USAGE', message, { cause: isTaken ? undefined : error }));
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
