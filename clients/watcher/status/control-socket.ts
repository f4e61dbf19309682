/**
 * Where a watcher's control service is: a unix socket in its state directory, which only its user can enter (S41). On Windows a
 * named pipe, to which the system lets nobody else write, which is what a call takes. Anybody could take a name that can be guessed
 * first, and answer in the watcher's place: so it is a random one, anew at each start, and a file in the state directory tells it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type Address, parseAddress, pipeAddress } from '../../../common/rpc/address.ts';

const SOCKET_NAME = 'control.sock';
/** Holds the name of the pipe. */
const PIPE_FILE_NAME = 'control.pipe';
const PIPE_ID_BYTES = 16;
/** A socket's address holds 107 bytes on Linux and 103 elsewhere, and ends in a NUL. */
const MAX_SOCKET_PATH_BYTES = 103;

export interface ControlSocket {
  /** A path that the operating system takes, however deep the state directory lies. Good until `release`. */
  readonly path: string;
  readonly address: Address;
  /** Whether the permission bits of a file say who may enter. */
  readonly isFile: boolean;
  release(): void;
}

/**
 * @throws LockstepError IO when the state directory cannot be opened; USAGE where the path is too long and there is no /proc to
 *   shorten it; SERVER_UNREACHABLE for who dials where no pipe is known.
 */
export function controlSocketOf(
  stateDirectory: string,
  role: 'listen' | 'dial',
  platform: NodeJS.Platform = process.platform,
): ControlSocket {
  if (platform === 'win32') {
    const file = join(stateDirectory, PIPE_FILE_NAME);
    return role === 'listen' ? newPipe(file) : knownPipe(file);
  }
  const path = join(stateDirectory, SOCKET_NAME);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) {
    return { path, address: parseAddress(`unix:${path}`), isFile: true, release: () => {} };
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
  return { path: short, address: parseAddress(`unix:${short}`), isFile: true, release: () => closeSync(fd) };
}

function newPipe(file: string): ControlSocket {
  const path = `\\\\.\\pipe\\lockstep-${randomBytes(PIPE_ID_BYTES).toString('hex')}`;
  try {
    writeFileAtomic(file, `${path}\n`);
  } catch (error) {
    throw errnoError(`write ${file}`, error);
  }
  return { path, address: pipeAddress(path), isFile: false, release: () => rmSync(file, { force: true }) };
}

function knownPipe(file: string): ControlSocket {
  let path: string;
  try {
    path = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw errnoError(`read ${file}`, error);
    throw new LockstepError('SERVER_UNREACHABLE', `there is no ${file}`, { cause: error });
  }
  return { path, address: pipeAddress(path), isFile: false, release: () => {} };
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
