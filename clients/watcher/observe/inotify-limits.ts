/**
 * The kernel's limits on watching, and what to tell people when one is reached (E28).
 */
import { readFileSync } from 'node:fs';
import type { Finding } from '../../../common/doctor/finding.ts';
import { errnoOf } from '../../../common/ops/errors.ts';

/** What kernels have had since 2.6.13. */
const DEFAULT_QUEUE_LENGTH = 16_384;

/** Errors of fs.watch that say "too many", not "not this one". */
const LIMIT_ERRNOS: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** Events that the kernel keeps for one event loop before it drops some. */
export function eventQueueLength(): number {
  return readLimit('max_queued_events') ?? DEFAULT_QUEUE_LENGTH;
}

export function isWatchLimit(errno: string | undefined): boolean {
  return LIMIT_ERRNOS.has(errno);
}

/** One sentence for the status, with the exact command. */
export function watchLimitAdvice(
  errno: string,
  blindDirectories: number,
  platform: NodeJS.Platform = process.platform,
): string {
  const blind = `${blindDirectories} ${blindDirectories === 1 ? 'directory is' : 'directories are'} polled every few seconds`;
  if (platform !== 'linux') return `the system refuses further watches (${errno}), ${blind}; raise ulimit -n`;
  if (errno === 'ENOSPC') {
    const watches = atLeast(524_288, (readLimit('max_user_watches') ?? 0) + 2 * blindDirectories);
    return `the limit of inotify watches is reached, ${blind}; run: sysctl fs.inotify.max_user_watches=${watches}`;
  }
  if (errno === 'EMFILE') {
    const instances = atLeast(512, 2 * (readLimit('max_user_instances') ?? 0));
    return (
      `the limit of inotify instances or open files is reached, ${blind}; ` +
      `run: sysctl fs.inotify.max_user_instances=${instances}, or raise LimitNOFILE (ulimit -n)`
    );
  }
  return `the system refuses further watches (${errno}), ${blind}`;
}

/** What a doctor says of them; nothing where there is no inotify. */
export function inotifyFindings(read: (name: string) => number | undefined = readLimit): readonly Finding[] {
  return COMFORTABLE_LIMITS.flatMap(({ name, least, what }): Finding[] => {
    const value = read(name);
    if (value === undefined) return [];
    const check = `inotify ${what}`;
    const message = `fs.inotify.${name} is ${value}`;
    if (value >= least) return [{ check, level: 'ok', message }];
    return [
      { check, level: 'warn', message, remedy: `sysctl fs.inotify.${name}=${least}, and in /etc/sysctl.d for good` },
    ];
  });
}

/** For all programs of one user together. */
const COMFORTABLE_LIMITS = [
  { name: 'max_user_watches', least: 65_536, what: 'watches' },
  { name: 'max_user_instances', least: 128, what: 'instances' },
  { name: 'max_queued_events', least: 16_384, what: 'queue' },
] as const;

/** The smallest power of two that is neither below `floor` nor below `needed`. */
function atLeast(floor: number, needed: number): number {
  let value = floor;
  while (value < needed) value *= 2;
  return value;
}

function readLimit(name: string): number | undefined {
  try {
    const value = Number(readFileSync(`/proc/sys/fs/inotify/${name}`, 'utf8'));
    return Number.isSafeInteger(value) && value > 0 ? value : undefined;
  } catch (error) {
    // Without it the text is less exact and the detector assumes the usual queue.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}
