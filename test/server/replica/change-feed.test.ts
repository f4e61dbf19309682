/**
 * The change feed as files: what a power cut, another history or a bad disk leaves of it.
 */
import { appendFileSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ChangeFeed } from '../../../services/sync-server/replica/change-feed.ts';
import type { FeedRevision } from '../../../services/sync-server/replica/feed-codec.ts';
import { fileEntry, FUNCTION, p, removeDirectory, T0, temporaryDirectory } from './support.ts';

const file = fileEntry('d/\xff', 'content', 0o640);
const folder = { path: p('d'), kind: 'directory', mode: 0o750, mtimeNs: -1n } as const;
const link = { path: p('l'), kind: 'symlink', mtimeNs: T0, target: Buffer.from('../\xff', 'latin1') } as const;

describe('the change feed', () => {
  let directory: string;
  let feed: ChangeFeed;
  const MAX_BYTES = 8 * 64 * 1024;

  const open = (headRevision: bigint, maxBytes = MAX_BYTES): void => {
    feed = ChangeFeed.open(directory, maxBytes, headRevision);
  };
  /** With so many bytes of path, about. */
  const revision = (number: number, sizeBytes = 10): FeedRevision => ({
    revision: BigInt(number),
    timeNs: T0 + BigInt(number),
    changes: [{ operation: 'delete', path: p('x'.repeat(sizeBytes)) }],
  });
  const append = (from: number, to: number, sizeBytes?: number): void => {
    for (let number = from; number <= to; number++) feed.append(revision(number, sizeBytes));
  };
  const read = (after: number, head: number): string => {
    try {
      return feed
        .read(BigInt(after), BigInt(head))
        .map((item) => item.revision)
        .join(' ');
    } catch (error) {
      if (error instanceof LockstepError) return error.reason;
      throw error;
    }
  };
  const files = (): string[] => readdirSync(directory).sort();
  const local = (name = ''): string => join(directory, name);

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    open(0n);
  });

  afterEach(() => {
    feed.close();
    removeDirectory(directory);
  });

  it('gives back every kind of change', () => {
    const all: FeedRevision = {
      revision: 1n,
      timeNs: T0,
      changes: [
        { operation: 'put', entry: file },
        { operation: 'put', entry: folder },
        { operation: 'put', entry: link },
        { operation: 'metadata', entry: folder },
        { operation: 'move', entry: file, from: p('from/\xfe') },
        { operation: 'move', entry: link, from: p('k') },
        { operation: 'delete', path: p('gone') },
        { operation: 'drift', path: p('') },
      ],
    };
    feed.append(all);
    feed.append({ revision: 2n, timeNs: 0n, changes: [] });
    expect(feed.read(0n, 2n)).to.deep.equal([all, { revision: 2n, timeNs: 0n, changes: [] }]);
    expect(file.digest.equals(digestOf(FUNCTION, Buffer.from('content')))).to.equal(true);
  });

  it('has nothing behind the head, and does not know what is beyond it', () => {
    append(1, 3);
    expect([read(3, 3), read(2, 3), read(4, 3), read(3, 4)]).to.deep.equal(['', '3', 'COMPACTED', 'COMPACTED']);
  });

  it('goes on where it was, and forgets what is of another history', () => {
    append(1, 3);
    feed.close();
    open(3n);
    append(4, 4);
    expect(read(0, 4)).to.equal('1 2 3 4');
    feed.close();
    // The index was taken back behind it.
    open(2n);
    expect([read(0, 2), feed.lastRevision, files()]).to.deep.equal(['COMPACTED', undefined, []]);
    append(3, 3);
    append(7, 8);
    expect([read(6, 8), read(2, 8)]).to.deep.equal(['7 8', 'COMPACTED']);
  });

  it('gives at most about a mebibyte at once, but at least one revision', () => {
    feed.close();
    open(0n, 8 * 8 * 2 ** 20);
    append(1, 3, 700_000);
    append(4, 8, 300_000);
    expect([read(0, 8), read(2, 8), read(3, 8), read(6, 8)]).to.deep.equal(['1', '3 4', '4 5 6', '7 8']);
  });

  it('is bounded: the oldest go', () => {
    append(1, 100, 20_000);
    feed.flush();
    expect(files().length).to.be.at.most(8);
    expect(read(0, 100)).to.equal('COMPACTED');
    expect(read(99, 100)).to.equal('100');
  });

  it('ends where a power cut has torn it, and has no hole', () => {
    append(1, 12, 20_000);
    feed.close();
    const [first = '', second = '', third = ''] = files();
    expect(second).not.to.equal('');
    // Half a revision at the end.
    truncateSync(local(third), readFileSync(local(third)).length - 5);
    open(12n);
    const last = Number(feed.lastRevision);
    expect(last).to.be.below(12);
    expect(read(0, last).startsWith('1 2')).to.equal(true);
    feed.close();
    // A file that is missing in the middle makes all before it worthless.
    rmSync(local(second));
    open(BigInt(last));
    expect(files()).not.to.include(first);
    expect(read(0, last)).to.equal('COMPACTED');
    feed.close();
    // One with nothing in it is none.
    for (const name of files()) writeFileSync(local(name), 'garbage');
    open(BigInt(last));
    expect([files(), feed.lastRevision]).to.deep.equal([[], undefined]);
  });

  it('says of what is damaged under it that it does not have it', () => {
    append(1, 3);
    feed.flush();
    const [name = ''] = files();
    const good = readFileSync(local(name));
    const each = good.length / 3;
    truncateSync(local(name), 2 * each);
    expect([read(1, 3), read(2, 3)]).to.deep.equal(['COMPACTED', 'COMPACTED']);
    const damage = (at: number, value: number): void => {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      writeFileSync(local(name), bytes);
    };
    // Its mark, its length, and the sort of its first change.
    for (const [at, value] of [
      [each, 0],
      [each + 7, 0xff],
      [each + 4, 1],
      [each + 28, 99],
    ] as const) {
      damage(at, value);
      expect(read(1, 3), `byte ${at}`).to.equal('COMPACTED');
    }
    writeFileSync(local(name), good);
    expect(read(1, 3)).to.equal('2 3');
  });

  it('takes garbage behind its last revision for a torn one', () => {
    append(1, 2);
    feed.close();
    appendFileSync(local(files()[0]), Buffer.alloc(100, 7));
    open(2n);
    append(3, 3);
    expect(read(0, 3)).to.equal('1 2 3');
  });
});
