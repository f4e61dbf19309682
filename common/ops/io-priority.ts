/**
 * `--io-priority`: how much a program gives way to others at the disk, apart from the processor (ioprio_set(2)). Node has no such
 * call; `ionice` of util-linux, which is on nearly every Linux, makes it. It counts where the disk's scheduler knows priorities.
 */
import { spawnSync } from 'node:child_process';
import { describeError, errnoOf, LockstepError } from './errors.ts';
import { threads } from './nice.ts';
import { assertPermitted } from './permissions.ts';

/** Only when nobody else wants the disk; or best effort, from 0 (first) to 7 (last). */
export type IoPriority = 'idle' | number;

export const IO_PRIORITIES = ['idle', '0', '1', '2', '3', '4', '5', '6', '7'] as const;

const COMMAND = 'ionice';
/** As ionice knows them. */
const BEST_EFFORT = '2';
const IDLE = '3';
/** A thread may end between being listed and being set. */
const ATTEMPTS = 3;

/** @throws LockstepError USAGE */
export function parseIoPriority(text: string): IoPriority {
  if (text === 'idle') return 'idle';
  if (/^[0-7]$/.test(text)) return Number(text);
  throw new LockstepError('USAGE', `"${text}" is no I/O priority; write idle, or a number from 0 (first) to 7 (last)`);
}

/**
 * For all threads that there are; those to come inherit it.
 * @param command for tests
 * @throws LockstepError USAGE where it cannot be set
 */
export function setIoPriority(priority: IoPriority, command = COMMAND): void {
  assertPermitted('child', '--io-priority, which is set by ionice,');
  const level = priority === 'idle' ? ['-c', IDLE] : ['-c', BEST_EFFORT, '-n', String(priority)];
  let refusal = '';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { error, status, stderr } = spawnSync(command, [...level, '-p', ...threads().map(String)], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (status === 0) return;
    if (errnoOf(error) === 'ENOENT') {
      const remedy = 'install util-linux, or leave the option out; only Linux has such priorities';
      throw new LockstepError(
        'USAGE',
        `cannot set --io-priority ${priority}: there is no ionice on the PATH; ${remedy}`,
      );
    }
    refusal = error === undefined ? stderr.trim() : describeError(error);
  }
  throw new LockstepError('USAGE', `cannot set --io-priority ${priority}: ${refusal || 'ionice failed'}`);
}
