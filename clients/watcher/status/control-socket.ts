/**
 * Where a watcher's control service is: a unix socket in its state directory, which only its user can enter (S41).
 */
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type Address, parseAddress } from '../../../common/rpc/address.ts';

const SOCKET_NAME = 'control.sock';
/** A socket's address holds 107 bytes on Linux and 103 elsewhere, and ends in a NUL. */
const MAX_SOCKET_PATH_BYTES = 103;

export interface ControlSocket {
  /** A path that the operating system takes, however deep the state directory lies. Good until `release`. */
  readonly path: string;
  readonly address: Address;
  release(): void;
}

/**
 * @throws LockstepError IO when the state directory cannot be opened; USAGE where the path is too long and there is no /proc to
 *   shorten it.
 */
export function controlSocketOf(stateDirectory: string, platform: NodeJS.Platform = process.platform): ControlSocket {
  const path = join(stateDirectory, SOCKET_NAME);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) {
    return { path, address: parseAddress(`unix:${path}`), release: () => {} };
  }
  if (platform !== 'linux') {
    const most = MAX_SOCKET_PATH_BYTES - SOCKET_NAME.length - 1;
    throw new LockstepError(
      'USAGE',
      `${stateDirectory} is too long for a socket in it; give a --state of at most ${most} bytes`,
    );
  }
  let fd: number;
  try {
    fd = openSync(stateDirectory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw errnoError(`open the state directory ${stateDirectory}`, error);
  }
  const short = `/proc/self/fd/${fd}/${SOCKET_NAME}`;
  return { path: short, address: parseAddress(`unix:${short}`), release: () => closeSync(fd) };
}

/** Removes what a crashed watcher left. A socket that somebody listens on stays; binding it will say so. */
export async function removeStaleSocket(path: string): Promise<void> {
  const state = await socketState(path);
  if (state !== 'stale') return;
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function socketState(path: string): Promise<'alive' | 'stale' | 'missing'> {
  return new Promise((resolve) => {
    const probe = createConnection({ path });
    probe.on('connect', () => {
      probe.destroy();
      resolve('alive');
    });
    probe.on('error', (error) => {
      const errno = errnoOf(error);
      resolve(errno === 'ENOENT' ? 'missing' : errno === 'ECONNREFUSED' || errno === 'ENOTSOCK' ? 'stale' : 'alive');
    });
  });
}
