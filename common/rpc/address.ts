/**
 * Addresses as people write them: HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH. Pure.
 */
import { BlockList, isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { LockstepError } from '../ops/errors.ts';

export type Address = TcpAddress | UnixAddress;

export interface TcpAddress {
  readonly kind: 'tcp';
  /** Name or number, without brackets. */
  readonly host: string;
  /** 0..65535; 0 picks a free one when listening. */
  readonly port: number;
  /** As grpc-js wants it. */
  readonly target: string;
  /** As people read it. */
  readonly text: string;
  /** Only this machine can reach it. */
  readonly isLoopback: boolean;
}

export interface UnixAddress {
  readonly kind: 'unix';
  /** Path of the socket, as given; or of a pipe. */
  readonly path: string;
  readonly target: string;
  readonly text: string;
  readonly isLoopback: true;
}

const loopbackAddresses = new BlockList();
loopbackAddresses.addSubnet('127.0.0.0', 8, 'ipv4');
loopbackAddresses.addAddress('::1', 'ipv6');

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;

/**
 * ":PORT" means all IPv4 interfaces to a listener, and this machine to a caller (`role`). Port 0 is for listeners.
 * @throws LockstepError USAGE, naming the text.
 */
export function parseAddress(
  text: string,
  role: 'listen' | 'dial' = 'listen',
  platform: NodeJS.Platform = process.platform,
): Address {
  if (text.startsWith('unix:')) {
    if (platform !== 'win32') return unixAddress(text);
    throw new LockstepError('USAGE', `"${text}" is not for Windows; write for example 127.0.0.1:50051 or :50051`);
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535 || (port === 0 && role === 'dial')) throw wrongAddress(text);
  const anyHost = role === 'listen' ? '0.0.0.0' : '127.0.0.1';
  const host = match[1] ?? (match[2] === '' ? anyHost : (match[2] ?? ''));
  const isBracketed = match[1] !== undefined;
  if (isBracketed ? isIP(host) !== 6 : !isHostOrIpv4(host)) throw wrongAddress(text);
  return tcpAddress(host, port);
}

/** Where an HTTP port is to be; undefined for "off". `usualPort` is what the message shows. @throws LockstepError USAGE */
export function parseHttpAddress(text: string, usualPort: number): TcpAddress | undefined {
  if (text === 'off') return undefined;
  const address = parseAddress(text, 'listen');
  if (address.kind === 'tcp') return address;
  const example = `write for example 127.0.0.1:${usualPort}, or off`;
  throw new LockstepError('USAGE', `"${text}" is not an address for http; ${example}`);
}

/** An address from its parts, for instance after port 0 became a real one. */
export function tcpAddress(host: string, port: number): TcpAddress {
  const target = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  return { kind: 'tcp', host, port, target, text: target, isLoopback: isLoopbackHost(host) };
}

/** A named pipe of Windows, which Node takes where other systems have sockets. */
export function pipeAddress(path: string): UnixAddress {
  return { kind: 'unix', path, target: `unix:${path}`, text: path, isLoopback: true };
}

/** Whatever the working directory is. Sockets have short paths, so that one may be relative because it has to be. */
export function isReachableFromAnywhere(address: Address): boolean {
  return address.kind === 'tcp' || isAbsolute(address.path);
}

function unixAddress(text: string): UnixAddress {
  const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
  if (path === '' || path.startsWith('//') || path.includes('\0')) throw wrongAddress(text);
  const target = path.startsWith('/') ? `unix://${path}` : `unix:${path}`;
  return { kind: 'unix', path, target, text: `unix:${path}`, isLoopback: true };
}

/** Something like 300.1.1.1 is neither a number nor a name. */
function isHostOrIpv4(host: string): boolean {
  return isIP(host) === 4 || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host));
}

function isLoopbackHost(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return /^(?:.+\.)?localhost\.?$/i.test(host);
  return loopbackAddresses.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

function wrongAddress(text: string): LockstepError {
  return new LockstepError(
    'USAGE',
    `"${text}" is not an address; write for example 127.0.0.1:50051, :50051 or unix:PATH`,
  );
}
