/**
 * Puts the server together and takes it apart again. Composition only: what anything does is in its own room.
 */
import { ServerCredentials, setLogger } from '@grpc/grpc-js';
import { type FreeSpace, freeSpace } from '../../common/fs/free-space.ts';
import { placeOf } from '../../common/fs/place.ts';
import { removeReadyFile, writeReadyFile } from '../../common/fs/ready-file.ts';
import type { HttpPort } from '../../common/http/http-port.ts';
import { LockstepError } from '../../common/ops/errors.ts';
import type { Logger } from '../../common/ops/logger.ts';
import { MetricsRegistry } from '../../common/ops/metrics.ts';
import { registerProcessMetrics } from '../../common/ops/process-metrics.ts';
import type { Address, TcpAddress } from '../../common/rpc/address.ts';
import {
  ConnectionGuard,
  type ConnectionBounds,
  DEFAULT_CONNECTION_BOUNDS,
} from '../../common/rpc/connection-guard.ts';
import { drain } from '../../common/rpc/drain.ts';
import { Health, OVERALL } from '../../common/rpc/health.ts';
import { addReflection, readDescriptorImage, REFLECTION_SERVICES } from '../../common/rpc/reflection.ts';
import { createServer } from '../../common/rpc/server-options.ts';
import { TrackedCalls } from '../../common/rpc/tracked-calls.ts';
import { type Environment, telemetrySettings } from '../../common/telemetry/settings.ts';
import { Access, type AccessOptions } from './auth/access.ts';
import { Audit } from './auth/audit.ts';
import { LeaseDesk } from './auth/lease-desk.ts';
import { LocalKey } from './auth/local-key.ts';
import { createTlsCredentials, type TlsFiles } from './auth/tls.ts';
import { TokenStore } from './auth/token-store.ts';
import { Door, type Viewer } from './http/door.ts';
import type { HttpServerOptions } from './http/http-server.ts';
import { registerFolderMetrics } from './http/folder-metrics.ts';
import { folderStatus, type ServerState, type ServerStatus, unreadiness } from './http/server-status.ts';
import { listen } from './listen.ts';
import type { Replica } from './replica/replica.ts';
import type { ScrubSettings } from './replica/scrub.ts';
import { callGate } from './rpc/call-gate.ts';
import { UnfinishedMessages } from './rpc/unfinished-messages.ts';
import { ChangeLog } from './rpc/change-log.ts';
import { type AnsweredBatch, FolderTraffic } from './rpc/folder-traffic.ts';
import { DEFAULT_LIMITS, type Limits } from './rpc/limits.ts';
import { createServerMetrics } from './rpc/server-metrics.ts';
import { type ServedFolder, SyncContext } from './rpc/sync-context.ts';
import { addSyncService, SYNC_SERVICE_NAME } from './rpc/sync-service.ts';

/** A folder to serve. */
export interface FolderSetup {
  readonly name: string;
  /** The replica's root. */
  readonly directory: string;
  /** Index, log, tokens. */
  readonly stateDirectory: string;
  /** Links that lead out of the folder are refused. Default false. */
  readonly refusesEscapingLinks?: boolean | undefined;
  /** Entries are given to the owners that they come with. Default false. */
  readonly keepsOwners?: boolean | undefined;
}

export interface ServerSetup {
  readonly folders: readonly FolderSetup[];
  readonly listen: Address;
  /** Undefined: no HTTP port. */
  readonly http: TcpAddress | undefined;
  /** Go on without the HTTP port when it is taken. */
  readonly httpIsOptional: boolean;
  readonly tls: TlsFiles | undefined;
  /** Serve strangers without TLS or tokens. */
  readonly insecure: boolean;
  readonly readyFile: string | undefined;
  readonly version: string;
  readonly limits?: Limits | undefined;
  /** How replicas are read again in the background; undefined: not at all. */
  readonly scrub?: ScrubSettings | undefined;
  /** Replaces parts of the bounds on connections; their times are among the limits. */
  readonly connections?: Partial<Omit<ConnectionBounds, 'admissionMs'>> | undefined;
  /** What telemetry is configured by; default: the process's. */
  readonly environment?: Environment | undefined;
  /** Replaces parts of the limits on what one caller may do at a time. */
  readonly callers?: Pick<AccessOptions, 'calls' | 'maxOpenStreams'> | undefined;
}

export interface OpenFolderOptions {
  readonly limits: Limits;
  readonly logger: Logger;
  /** "verify": what others changed in the replica is left to be found. */
  readonly purpose: 'serve' | 'verify';
  readonly scrub?: ScrubSettings | undefined;
}

export type OpenFolder = (folder: FolderSetup, options: OpenFolderOptions) => Promise<Replica>;

export interface RunningServer {
  readonly grpc: Address;
  readonly http: TcpAddress | undefined;
  /** Drains, closes the replicas, lets go of everything. */
  stop(): Promise<void>;
}

/** Calls that still run when the server stops get this long. The whole stop stays well below 10 s (E116). */
const DRAIN_GRACE_MS = 4000;

/**
 * Resolves when the server serves.
 * @throws LockstepError whose message names what is wrong and the remedy; everything that was begun is undone then
 */
export async function startServer(setup: ServerSetup, openFolder: OpenFolder, logger: Logger): Promise<RunningServer> {
  requireProtection(setup);
  const rooms = { rpc: logger.child({ room: 'rpc' }), auth: logger.child({ room: 'auth' }) };
  quietGrpc(logger.child({ room: 'grpc' }));
  const { limits = DEFAULT_LIMITS, version } = setup;
  await using undo = new AsyncDisposableStack();
  let state: ServerState = 'starting';
  const folders = new Map<string, ServedFolder>();
  const traffics = new Map(setup.folders.map(({ name }) => [name, new FolderTraffic(name)]));
  const startedAtMs = performance.now();
  const door = new Door({ isLoopback: setup.http?.isLoopback === true, insecure: setup.insecure });
  const status = (viewer: Viewer): ServerStatus => ({
    version,
    state,
    uptimeSeconds: Math.round((performance.now() - startedAtMs) / 1000),
    folders: [...folders.values()]
      .filter(({ replica }) => viewer.maySee(replica.folder))
      .map((served) => folderStatus(served, viewer.seesNames)),
  });
  if (setup.readyFile !== undefined) removeReadyFile(setup.readyFile);
  const credentials =
    setup.tls === undefined ? ServerCredentials.createInsecure() : createTlsCredentials(setup.tls, rooms.auth);
  const registry = new MetricsRegistry();
  undo.defer(registerProcessMetrics(registry));
  registerFolderMetrics(registry, { folders: () => folders.values(), room: (folder) => roomOf(setup, folder) });
  const metrics = createServerMetrics(registry);

  const telemetry = telemetrySettings(setup.environment ?? process.env);
  if (telemetry !== undefined) {
    const { startServerTelemetry } = await import('./telemetry.ts');
    const options = { settings: telemetry, version, registry, traffics: traffics.values(), logger };
    undo.defer(startServerTelemetry(options));
  }
  const http = await openHttp(setup, {
    door,
    status,
    unreadiness: () => unreadiness(state, folders.values()),
    metrics: (viewer) => registry.expose(({ folder }) => folder === undefined || viewer.maySee(folder)),
    live: { subscribe: (listener) => onAnsweredBatch(traffics.values(), listener) },
    logger: logger.child({ room: 'http' }),
  });
  if (http !== undefined) undo.defer(() => http.close());
  for (const folder of setup.folders) {
    const replica = await openFolder(folder, { limits, logger, purpose: 'serve', scrub: setup.scrub });
    undo.defer(() => replica.close());
    const traffic = traffics.get(folder.name) ?? new FolderTraffic(folder.name);
    folders.set(folder.name, {
      replica,
      place: placeOf(folder.directory),
      localKey: LocalKey.create(folder.stateDirectory),
      changeLog: new ChangeLog(replica, rooms.rpc, metrics.changes, traffic),
      traffic,
      leases: new LeaseDesk({ graceMs: limits.leaseGraceMs, maxUploadStreams: limits.maxUploadStreams }),
    });
  }

  const audit = new Audit(setup.folders, rooms.auth);
  undo.defer(() => audit.close());
  const connections = new ConnectionGuard({
    ...DEFAULT_CONNECTION_BOUNDS,
    ...setup.connections,
    admissionMs: limits.admissionMs,
  });
  const access = new Access({
    ...setup.callers,
    audit,
    onAdmitted: (peer) => connections.admit(peer),
    onTrouble: (error) => rooms.auth.warn({ err: error }, 'cannot write down when a token was last used'),
    stores: setup.folders.map(({ stateDirectory }) => new TokenStore(stateDirectory)),
    requireCredentials: !setup.listen.isLoopback && setup.tls !== undefined && !setup.insecure,
  });
  undo.defer(() => access.close());
  door.guardWith(access);
  const context = new SyncContext({
    ...{ folders, access, audit, limits, metrics },
    logger: rooms.rpc,
    serverVersion: version,
  });
  const unfinished = new UnfinishedMessages(limits.maxUnfinishedBytes);
  undo.defer(() => unfinished.close());
  const server = createServer({
    maxReceiveMessageBytes: limits.maxMessageBytes,
    maxConnectionIdleMs: limits.idleConnectionMs,
    interceptors: [callGate({ access, unfinished, service: SYNC_SERVICE_NAME, onRefused: context.onCallError })],
  });
  const calls = new TrackedCalls();
  const health = new Health();
  addSyncService(server, calls, context);
  const onQuestion = (peer: string) => connections.answer(peer);
  health.addToServer(server, calls, onQuestion);
  const services = [SYNC_SERVICE_NAME, 'grpc.health.v1.Health', ...REFLECTION_SERVICES];
  addReflection(server, calls, readDescriptorImage(), services, onQuestion);
  undo.defer(async () => {
    state = 'draining';
    context.drain();
    if (!(await drain(server, calls, health, DRAIN_GRACE_MS))) logger.warn('some calls had to be cut off');
  });
  const grpc = await listen(server, setup.listen, credentials);
  if (!connections.guard(server)) logger.warn('connections cannot be bounded with this version of grpc-js');

  for (const service of [OVERALL, SYNC_SERVICE_NAME]) health.setStatus(service, 'SERVING');
  state = 'ready';
  context.serving();
  const addresses = { grpc: grpc.text, http: http?.address.text ?? null };
  logger.info({ ...addresses, folders: [...folders.keys()] }, 'ready');
  if (setup.readyFile !== undefined) {
    const { readyFile } = setup;
    writeReadyFile(readyFile, { ...addresses, pid: process.pid });
    undo.defer(() => removeReadyFile(readyFile));
  }
  const stopping = undo.move();
  return { grpc, http: http?.address, stop: () => stopping.disposeAsync() };
}

/** Contents never cross a network in the clear by accident, and strangers never enter by default (S17, S18). */
function requireProtection({ listen: { isLoopback, text }, tls, insecure }: ServerSetup): void {
  if (isLoopback || tls !== undefined || insecure) return;
  throw new LockstepError(
    'USAGE',
    `${text} can be reached from other machines: give --tls-cert and --tls-key, or --insecure to serve it unprotected`,
  );
}

/** grpc-js writes to stderr by itself; what matters of it comes here as errors anyway. */
function quietGrpc(logger: Logger): void {
  const line = (...parts: readonly unknown[]) => logger.debug(parts.map(String).join(' '));
  setLogger({ error: line, info: line, debug: line });
}

async function openHttp(
  setup: ServerSetup,
  options: Omit<HttpServerOptions, 'address'>,
): Promise<HttpPort | undefined> {
  if (setup.http === undefined) return undefined;
  // node:http loads Node's client for the web along (30 ms).
  const { startHttpServer } = await import('./http/http-server.ts');
  try {
    return await startHttpServer({ ...options, address: setup.http });
  } catch (error) {
    if (!setup.httpIsOptional) throw error;
    options.logger.warn({ err: error }, 'going on without the http port');
    return undefined;
  }
}

function roomOf({ folders }: ServerSetup, name: string): FreeSpace | undefined {
  try {
    return freeSpace(folders.find((folder) => folder.name === name)?.directory ?? '');
  } catch {
    // The directory is gone, which the folder's state tells: here it has no sample.
    return undefined;
  }
}

function onAnsweredBatch(traffics: Iterable<FolderTraffic>, listener: (batch: AnsweredBatch) => void): () => void {
  const ends = [...traffics].map((traffic) => traffic.onAnswered(listener));
  return () => {
    for (const end of ends) end();
  };
}
