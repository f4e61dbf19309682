/**
 * Addresses of peers as limits count them. Pure.
 */
import { isIPv6 } from 'node:net';

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
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  const plain = host.replace(/%.*$/, '');
  if (!isIPv6(plain)) return host;
  return `${groupsOf(plain).slice(0, 4).join(':')}::/64`;
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
