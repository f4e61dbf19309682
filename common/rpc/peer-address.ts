/**
 * Addresses of peers as limits count them. Pure.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';

/** "10.0.0.1:4711" and "fe80::1:4711" without the port: grpc-js writes IPv6 without brackets. */
export function hostOfPeer(peer: string): string {
  const end = peer.lastIndexOf(':');
  return end < 0 ? peer : peer.slice(0, end);
}

/**
 * What counts as one address: IPv4 as it is, also where it is mapped into IPv6; of IPv6 the first 64 bits, because
 * whoever has one such address usually has all of them.
 */
export function addressGroup(host: string): string {
  const plain = unmapped(host).replace(/%.*$/, '');
  if (!isIPv6(plain)) return unmapped(host);
  return `${groupsOf(plain).slice(0, 4).join(':')}::/64`;
}

/** IPv4 that was mapped into IPv6 as it is. */
function unmapped(host: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1] ?? host;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether a socket's address is one of this machine's own. */
export function isLoopbackHost(host: string): boolean {
  const plain = unmapped(host);
  const family = isIP(plain);
  return family !== 0 && loopback.check(plain, family === 6 ? 'ipv6' : 'ipv4');
}

/** Whether a call comes from this machine, as grpc-js names its peer: by loopback, or by a unix socket, which has no address. */
export function isOnThisMachine(peer: string): boolean {
  const host = hostOfPeer(peer);
  return isIP(host) === 0 || isLoopbackHost(host);
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): readonly string[] {
  const [head = '', tail] = address.toLowerCase().split('::');
  const split = (part: string | undefined) => (part === undefined || part === '' ? [] : part.split(':'));
  const [before, after] = [split(head), split(tail)];
  const missing = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array.from({ length: missing }, () => '0'), ...after].map((group) =>
    group.replace(/^0+(?=.)/, ''),
  );
}
