/**
 * How a session is let in: what the server is and the lease, asked for together. Neither question needs the other's answer, and
 * over a long line each answer is a round trip.
 */
import { untilAborted } from '../../../common/ops/async.ts';
import { Acknowledgement, type AcquireLeaseResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { ChangeStream } from './change-stream.ts';
import type { Connection } from './connection.ts';
import type { EnginePort } from './engine-port.ts';
import { greet, type ServerFacts } from './handshake.ts';

export interface AdmissionOptions {
  readonly connection: Connection;
  readonly folder: string;
  /** 16 bytes, the same after a restart. */
  readonly holderId: Uint8Array;
  /** Who that is, for people. */
  readonly holder: string;
  readonly takeOver: boolean;
  /** Refuse a server that does not keep owners. Default false. */
  readonly carriesOwners?: boolean | undefined;
  readonly engine: EnginePort;
}

export interface Admission {
  readonly server: ServerFacts;
  readonly lease: AcquireLeaseResponse;
}

/** How long a watcher that will not go on waits to give its lease back. */
const GIVE_BACK_MS = 2_000;

/**
 * The greeting's error comes before the lease's: it says more. A lease that was granted meanwhile is given back then.
 * @throws LockstepError as `greet`; LEASE_HELD, and what calls throw; the signal's reason.
 */
export async function admit(options: AdmissionOptions, signal: AbortSignal): Promise<Admission> {
  const { connection, folder, takeOver } = options;
  if (takeOver) {
    // It puts another writer out: not before it is known that this one can go on.
    const server = await greet(connection, folder, signal, options);
    return { server, lease: await acquire(options, signal) };
  }
  const greeted = greet(connection, folder, signal, options);
  const acquired = acquire(options, signal);
  acquired.catch(() => {
    // Awaited below; the greeting may take longer to fail.
  });
  try {
    return { server: await greeted, lease: await acquired };
  } catch (error) {
    await giveBack(acquired, options, AbortSignal.any([signal, AbortSignal.timeout(GIVE_BACK_MS)]));
    throw error;
  }
}

function acquire(
  { connection, folder, holderId, holder, takeOver }: AdmissionOptions,
  signal: AbortSignal,
): Promise<AcquireLeaseResponse> {
  // The engine itself knows what it last saw acknowledged: it compares the root's digest, which is asked for here.
  const known = { knownEpoch: '', knownRevision: 0n };
  return connection.acquireLease({ folder, holderId, holder, takeOver, ...known }, signal);
}

/** Or others would find the folder taken for as long as a new lease is protected. */
async function giveBack(
  acquired: Promise<AcquireLeaseResponse>,
  { connection, folder, engine }: AdmissionOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { lease } = await untilAborted(acquired, signal);
    const open = { folder, lease, acknowledgement: Acknowledgement.ACKNOWLEDGEMENT_DURABLE };
    const changes = new ChangeStream(connection.applyChanges(), open, engine);
    changes.finish();
    await untilAborted(changes.ended, signal);
  } catch {
    // It was refused as well, or the server is gone. What led here is what is told.
  }
}
