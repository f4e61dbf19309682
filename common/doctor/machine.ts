/**
 * What a doctor asks of the machine and of this process: Node, descriptors, clocks. Judgements are pure; each has a function that
 * looks, beside it.
 */
import { descriptorLimit } from '../ops/descriptor-limit.ts';
import { formatDuration } from '../ops/units.ts';
import { compareVersions, NODE_FLOOR } from '../ops/versions.ts';
import type { Finding } from './finding.ts';

/** What a server with some hundred connections and a large batch in work needs. */
const COMFORTABLE_DESCRIPTORS = 4096;
const LEAST_DESCRIPTORS = 256;
/** Beyond it, times in logs of both machines cannot be put beside each other. */
const CLOCK_TOLERANCE_MS = 1000;

export function nodeFinding(version = process.versions.node): Finding {
  const message = `Node ${version}`;
  if (compareVersions(version, NODE_FLOOR) >= 0) return { check: 'node', level: 'ok', message };
  const remedy = `install Node ${NODE_FLOOR} or later; older ones lack what keeps files safe`;
  return { check: 'node', level: 'fail', message, remedy };
}

export function descriptorsFinding(limit = descriptorLimit()): Finding {
  const check = 'descriptors';
  if (limit === undefined) return { check, level: 'ok', message: 'the limit of open files cannot be read here' };
  const remedy = 'raise it: ulimit -n 65536, or LimitNOFILE=65536 in the unit';
  const message = limit === Number.POSITIVE_INFINITY ? 'no limit of open files' : `${limit} open files are allowed`;
  if (limit < LEAST_DESCRIPTORS) return { check, level: 'fail', message, remedy };
  return limit < COMFORTABLE_DESCRIPTORS ? { check, level: 'warn', message, remedy } : { check, level: 'ok', message };
}

/**
 * `offsetMs`: how much the other clock is ahead; `uncertaintyMs`: half of the time that asking took.
 */
export function clockFinding(offsetMs: number, uncertaintyMs: number): Finding {
  const isClose = Math.abs(offsetMs) <= CLOCK_TOLERANCE_MS + uncertaintyMs;
  if (isClose) return { check: 'clock', level: 'ok', message: "the server's clock agrees with this one" };
  const direction = offsetMs > 0 ? 'ahead of' : 'behind';
  return {
    check: 'clock',
    level: 'warn',
    message: `the server's clock is ${formatDuration(Math.abs(offsetMs))} ${direction} this one`,
    remedy:
      'times of files are not affected, times in logs and ends of certificates and tokens are: timedatectl set-ntp true',
  };
}
