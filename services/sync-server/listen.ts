/**
 * Taking the gRPC address: what stands in the way is told in one sentence with the remedy.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { errnoOf, LockstepError } from '../../common/ops/errors.ts';
import { type Address, tcpAddress, type UnixAddress } from '../../common/rpc/address.ts';
import { bindServer } from '../../common/rpc/server-options.ts';

/** @returns the address with the port that was really taken. @throws LockstepError USAGE */
export async function listen(server: Server, address: Address, credentials: ServerCredentials): Promise<Address> {
  if (address.kind === 'unix') {
    requireDirectory(address);
    await removeStaleSocket(address);
  }
  let port: number;
  try {
    port = await bindServer(server, address, credentials);
  } catch (error) {
    throw explained(error, address);
  }
  if (address.kind === 'tcp') return tcpAddress(address.host, port);
  // Whoever may connect may write the folder.
  chmodSync(address.path, 0o600);
  return address;
}

/** Without it the system says "no permission" (libuv makes EACCES of bind's ENOENT). */
function requireDirectory(address: UnixAddress): void {
  const directory = dirname(address.path);
  try {
    // With the slash it has to be a directory.
    lstatSync(join(directory, '/'));
  } catch (error) {
    throw problem(address, `${whyNoDirectory(directory, error)}, or give another path with --listen`);
  }
}

function whyNoDirectory(directory: string, error: unknown): string {
  switch (errnoOf(error)) {
    case 'ENOENT':
      return `the directory ${directory} does not exist; make it`;
    case 'ENOTDIR':
      return `${directory} is, or lies below, something that is not a directory; remove that`;
    default:
      return `the directory ${directory} cannot be reached (${errnoOf(error)}); change its owner or mode`;
  }
}

/** A socket outlives its server when that was killed. It is removed only when nobody listens on it (S41). */
async function removeStaleSocket(address: UnixAddress): Promise<void> {
  const stat = lstatSync(address.path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new LockstepError('USAGE', `${address.path} exists and is no socket; give another path with --listen`);
  }
  if (await isServed(address.path)) {
    throw new LockstepError(
      'USAGE',
      `another server listens on ${address.text}; stop it or give another path with --listen`,
    );
  }
  unlinkSync(address.path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      socket.destroy();
      // Anything but a refusal may be a living server that we only cannot talk to.
      resolve(!('code' in error) || error.code !== 'ECONNREFUSED');
    });
  });
}

function explained(error: unknown, address: Address): unknown {
  if (!(error instanceof LockstepError)) return error;
  if (error.message.includes('EADDRINUSE')) {
    return problem(address, 'the address is in use; stop the other server or choose another port with --listen');
  }
  if (error.message.includes('EACCES')) {
    const what = address.kind === 'unix' ? 'a directory that you may write to' : 'a port above 1023';
    return problem(address, `no permission; choose ${what}`);
  }
  if (/EADDRNOTAVAIL|ENOTFOUND|EAI_/.test(error.message)) {
    return problem(address, 'this machine has no such address; give one of its own with --listen');
  }
  return error;
}

function problem(address: Address, why: string): LockstepError {
  return new LockstepError('USAGE', `cannot listen on ${address.text}: ${why}`);
}
