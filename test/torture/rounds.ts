/**
 * A small workload that goes through everything that a replica can be asked for, in portions with a flush after each, for
 * faults that fall into the middle of it. The same number gives the same round.
 */
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Pair } from '../support/pair.ts';
import { noise, put } from '../support/writing.ts';
import type { Witness } from './witness.ts';

/** Above what travels inside a batch. */
const LARGE_BYTES = 300_000;
const PAGE_BYTES = 4096;
const NOTICE_MS = 2_000;

/** What the rounds change. */
export function fillForRounds(pair: Pair): void {
  const { source } = pair;
  for (let number = 0; number < 8; number++) put(source, `kept/file-${number}`, noise(2000, `kept ${number}`));
  put(source, 'flips', 'a file at first');
  put(source, 'swap/a', 'a');
  put(source, 'swap/b', 'b');
  put(source, 'moving-0/below/file', 'moves with its directory');
  put(source, 'large.bin', noise(LARGE_BYTES, 'large'));
}

/** Portions of changes, each change a function of its own, so that a witness can look in between. */
function portions(source: string, round: number): readonly (readonly (() => void)[])[] {
  const at = (...names: readonly string[]): string => join(source, ...names);
  const flips = at('flips');
  const put = (path: string, content: string | Buffer) => replace(source, path, content);
  return [
    [
      () => put(`new-${round}`, noise(1500, `new ${round}`)),
      () => put(`kept/file-${round % 8}`, noise(2500, `again ${round}`)),
      () => chmodSync(at('kept', `file-${(round + 1) % 8}`), round % 2 === 0 ? 0o600 : 0o644),
      () => symlinkSync(`target of ${round}`, at(`link-${round}`)),
      () => rmSync(at(`new-${round - 3}`), { force: true }),
      () => rmSync(at(`link-${round - 3}`), { force: true }),
    ],
    [
      () => renameSync(at(`moving-${round}`), at(`moving-${round + 1}`)),
      () => put(`moving-${round + 1}/below/file-${round % 4}`, noise(700, `below ${round}`)),
      () => mkdirSync(at(`made-${round}`)),
      ...[1, 2, 3].map((number) => () => put(`made-${round}/${number}`, noise(900, `made ${round} ${number}`))),
      () => rmSync(at(`made-${round - 2}`), { recursive: true, force: true }),
    ],
    [
      () => rmSync(flips, { recursive: true }),
      () => (round % 2 === 0 ? put('flips/below', `below ${round}`) : put('flips', `file ${round}`)),
      () => renameSync(at('swap', 'a'), at('swap', 'c')),
      () => renameSync(at('swap', 'b'), at('swap', 'a')),
      () => renameSync(at('swap', 'c'), at('swap', 'b')),
    ],
    [
      () => put(`large-${round % 3}.bin`, noise(LARGE_BYTES, `large ${round}`)),
      () => {
        const fd = openSync(at('large.bin'), 'r+');
        writeSync(fd, `edited in ${round}`, (round % 70) * PAGE_BYTES);
        closeSync(fd);
      },
    ],
  ];
}

/** At once: a write that the scheduler interrupts shows others a file that is shorter than it ever was meant to be. */
function replace(source: string, path: string, content: string | Buffer): void {
  const aside = `${source}-aside`;
  writeFileSync(aside, content);
  mkdirSync(dirname(join(source, path)), { recursive: true });
  renameSync(aside, join(source, path));
}

/**
 * Plays a round against a running pair. Resolves with true when all of it was flushed, with false as soon as `isOver`,
 * which is asked when a flush fails; then the rest of the round is played at once, without a flush.
 */
export async function playRound(pair: Pair, witness: Witness, round: number, isOver: () => boolean): Promise<boolean> {
  let isInterrupted = false;
  for (const portion of portions(pair.source, round)) {
    for (const change of portion) {
      change();
      witness.note();
    }
    if (isInterrupted) continue;
    const { version } = witness;
    isInterrupted = !(await flushed(pair, isOver));
    if (!isInterrupted) witness.durable(version);
  }
  return !isInterrupted;
}

async function flushed(pair: Pair, isOver: () => boolean): Promise<boolean> {
  const gaveUp = new AbortController();
  const watching = (async () => {
    while (!isOver() && !gaveUp.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 2));
    return false;
  })();
  try {
    const flush = pair.flush().then(() => true);
    flush.catch(() => undefined); // After the end of the race nobody listens.
    return await Promise.race([flush, watching]);
  } catch (error) {
    // The flush may fail before the end of the process is known.
    const endMs = performance.now() + NOTICE_MS;
    while (performance.now() < endMs) {
      if (isOver()) return false;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw error;
  } finally {
    gaveUp.abort();
  }
}

/** `count` numbers from 1 to `last`, evenly apart, always another set for another offset. */
export function sampled(last: number, count: number, offset: number): readonly number[] {
  const stride = Math.max(1, last / count);
  const first = 1 + (offset % Math.max(1, Math.floor(stride)));
  const numbers: number[] = [];
  for (let at = first; at <= last && numbers.length < count; at += stride) numbers.push(Math.floor(at));
  return numbers;
}
