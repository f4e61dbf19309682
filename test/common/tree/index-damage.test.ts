/** Opening what may not be our index, or no longer whole: damage is said, never a crash, never half a tree. */
import { copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import fc from 'fast-check';
import { describeError } from '../../../common/ops/errors.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { directory, file, identity, pathsOf, reasonOf, withIndex } from './entries.ts';

const OPTIONS = { digestFunction: 'blake3', indexInodes: true, indexContents: true } as const;

/** A closed index of some pages. */
function withFile(fn: (path: string) => void): void {
  withIndex((index, path) => {
    index.transaction(() => {
      for (let d = 0; d < 10; d++) {
        index.put(directory(`d${d}`), undefined);
        for (let f = 0; f < 50; f++) index.put(file(`d${d}/${f}`, `${d}.${f}`), identity(BigInt(d * 50 + f)));
      }
      index.treeDigest(ROOT);
    });
    index.setMeta('epoch', '7');
    index.close();
    fn(path);
  });
}

function open(path: string): string | undefined {
  return reasonOf(() => TreeIndex.open(path, OPTIONS).close());
}

describe('TreeIndex.open', () => {
  it('finds again what was stored', () => {
    withFile((path) => {
      const index = TreeIndex.open(path, OPTIONS);
      expect(index.count()).to.equal(510);
      expect(index.getMeta('epoch')).to.equal('7');
      expect([...index.walk(ROOT)].length).to.equal(510);
      index.verify();
      index.close();
    });
  });

  it('finds what was committed when the process died without closing', () => {
    withIndex((index, path) => {
      index.put(directory('committed'), undefined);
      index.begin();
      index.put(directory('lost'), undefined);
      const copy = `${path}.copy`;
      copyFileSync(path, copy);
      copyFileSync(`${path}-wal`, `${copy}-wal`);
      const after = TreeIndex.open(copy, OPTIONS);
      expect(pathsOf(after.walk(ROOT))).to.deep.equal(['committed']);
      expect(after.count()).to.equal(1);
      after.close();
    });
  });

  it('can add secondary indexes to an index made without', () => {
    withIndex(
      (index, path) => {
        index.put(file('f'), identity(8n));
        index.close();
        const again = TreeIndex.open(path, OPTIONS);
        expect(pathsOf(again.findByInode(66n, 8n))).to.deep.equal(['f']);
        again.close();
      },
      { indexInodes: false, indexContents: false },
    );
  });

  it('calls a missing, empty or foreign file damaged (E55)', () => {
    withFile((path) => {
      rmSync(path);
      expect(open(path)).to.equal('INDEX_DAMAGED');
      writeFileSync(path, '');
      expect(open(path)).to.equal('INDEX_DAMAGED');
      writeFileSync(path, 'To whom it may concern\n'.repeat(1_000));
      expect(open(path)).to.equal('INDEX_DAMAGED');
      rmSync(path);
      const foreign = new DatabaseSync(path);
      foreign.exec('CREATE TABLE entries (path TEXT)');
      foreign.close();
      expect(open(path)).to.equal('INDEX_DAMAGED');
    });
  });

  it('calls another version, another digest function, and lost tables or rows damaged (E55)', () => {
    const changes = [
      'PRAGMA user_version = 999',
      'PRAGMA application_id = 1',
      'DROP TABLE entries',
      'DROP TABLE meta',
      'DELETE FROM counters',
      'DELETE FROM entries WHERE parent = 0',
      "DELETE FROM entries WHERE name = '7'",
      'DELETE FROM meta',
      'DROP INDEX subdirectories',
    ];
    for (const change of changes) {
      withFile((path) => {
        const db = new DatabaseSync(path);
        db.exec(change);
        db.close();
        expect(open(path), change).to.equal('INDEX_DAMAGED');
      });
    }
    withFile((path) => {
      expect(reasonOf(() => TreeIndex.open(path, { digestFunction: 'sha256' }))).to.equal('INDEX_DAMAGED');
    });
  });

  it('calls an index without its root damaged, and one that holds what no entry is as soon as that is read', () => {
    const ofFile = "WHERE name = '7'";
    const changes: readonly (readonly [string, RegExp])[] = [
      ['UPDATE entries SET id = 99 WHERE parent = 0', /has no root/],
      [
        `UPDATE entries SET name = '' ${ofFile} AND parent = (SELECT parent FROM entries ${ofFile} LIMIT 1)`,
        /valid name/,
      ],
      [`UPDATE entries SET digest = x'00' ${ofFile}`, /valid digest/],
      [`UPDATE entries SET owner = x'00' ${ofFile}`, /valid owner/],
      [`UPDATE entries SET kind = 4 ${ofFile}`, /valid kind/],
      [`UPDATE entries SET mode = 65536 ${ofFile}`, /valid mode/],
      [`UPDATE entries SET size = -1 ${ofFile}`, /valid size/],
      [`UPDATE entries SET size = NULL ${ofFile}`, /valid number/],
      [`UPDATE entries SET kind = 3, target = NULL ${ofFile}`, /valid target/],
      ["UPDATE entries SET parent = 9999 WHERE name = 'd3'", /in no directory/],
    ];
    for (const [change, message] of changes) {
      withFile((path) => {
        const db = new DatabaseSync(path);
        db.exec(change);
        db.close();
        const error = thrownBy(() => {
          const index = TreeIndex.open(path, OPTIONS);
          try {
            for (const _entry of index.walk(ROOT)) continue;
            for (let ino = 0n; ino < 500n; ino++) index.findByInode(66n, ino);
          } finally {
            index.close();
          }
        });
        expect(error, change).to.have.property('reason', 'INDEX_DAMAGED');
        expect(error, change).to.have.property('message').that.matches(message);
      });
    }
  });

  it('says why a file that is no damaged index cannot be read or made', () => {
    withFile((path) => {
      const directoryInPlace = dirname(path);
      expect(open(directoryInPlace)).to.equal('IO');
      expect(reasonOf(() => TreeIndex.create(directoryInPlace, OPTIONS))).to.equal('IO');
      expect(reasonOf(() => TreeIndex.create(`${path}.missing/index.db`, OPTIONS))).to.equal('IO');
    });
  });

  it('calls a file that lost its last pages damaged (E91)', () => {
    withFile((path) => {
      const whole = readFileSync(path);
      for (let bytes = whole.length - 4_096; bytes > 0; bytes -= 4_096) {
        writeFileSync(path, whole.subarray(0, bytes));
        expect(open(path), `${bytes} bytes`).to.equal('INDEX_DAMAGED');
      }
    });
  });

  it('either refuses a file with an altered header, or can use all of it, for writing too (E91)', () => {
    withFile((path) => {
      const whole = readFileSync(path);
      const content = verdictOn(path);
      for (const mask of [0x01, 0x02, 0xff]) {
        for (let at = 0; at < 100; at++) {
          const bytes = Buffer.from(whole);
          bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
          rewrite(path, bytes);
          if (open(path) === 'INDEX_DAMAGED') continue;
          const index = TreeIndex.open(path, OPTIONS);
          index.put(directory('new'), undefined);
          index.remove(directory('new').path);
          index.treeDigest(ROOT);
          index.close();
          expect(verdictOn(path), `byte ${at}`).to.equal(content);
        }
      }
    });
  }).timeout(20_000);

  it('survives any cut and altered bytes anywhere: it says so, or nothing was lost (E91)', () => {
    withFile((path) => {
      const whole = readFileSync(path);
      const content = verdictOn(path);
      const header = fc.integer({ min: 0, max: 99 });
      const anywhere = fc.integer({ min: 0, max: whole.length - 1 });
      const alteration = fc.tuple(fc.oneof(header, anywhere), fc.integer({ min: 1, max: 255 }));
      const cut = fc.oneof({ weight: 4, arbitrary: fc.constant(whole.length) }, { weight: 1, arbitrary: anywhere });
      const verdicts = new Set<string>();
      fc.assert(
        fc.property(fc.array(alteration, { minLength: 1, maxLength: 4 }), cut, (alterations, length) => {
          const bytes = Buffer.from(whole);
          for (const [at, mask] of alterations) bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
          rewrite(path, bytes.subarray(0, length));
          const verdict = verdictOn(path);
          expect(verdict).to.be.oneOf(['damaged when opened', 'damaged when verified', content]);
          verdicts.add(verdict);
        }),
        { numRuns: 500 },
      );
      expect(verdicts.size).to.equal(3);
    });
  }).timeout(60_000);
});

function rewrite(path: string, bytes: Buffer): void {
  for (const suffix of ['-wal', '-shm', '-journal']) rmSync(`${path}${suffix}`, { force: true });
  writeFileSync(path, bytes);
}

/** All entries as text, or what was said instead. Identities are left out: wrong ones only make the disk be read. */
function verdictOn(path: string): string {
  if (open(path) === 'INDEX_DAMAGED') return 'damaged when opened';
  const index = TreeIndex.open(path, OPTIONS);
  try {
    if (reasonOf(() => index.verify()) === 'INDEX_DAMAGED') return 'damaged when verified';
    const asText = (key: string, value: unknown) => {
      if (key === 'identity') return undefined;
      return typeof value === 'bigint' ? String(value) : value;
    };
    return JSON.stringify([...index.walk(ROOT)], asText);
  } finally {
    index.close();
  }
}

describe('an index that another process has locked', () => {
  it('is no damage, and is told in one sentence with the remedy', function () {
    this.timeout(20_000);
    withFile((path) => {
      const other = new DatabaseSync(path);
      other.exec('BEGIN EXCLUSIVE');
      try {
        const index = TreeIndex.open(path, OPTIONS);
        const error = thrownBy(() => index.setMeta('epoch', '8'));
        index.close();
        expect(error).to.have.property('reason', 'LOCKED');
        expect(describeError(error)).to.equal(
          'another process has locked the index in the state directory; end what reads or copies it (sqlite3, a backup), and try again',
        );
      } finally {
        other.close();
      }
      expect(open(path)).to.equal(undefined);
    });
  });
});

describe('an index that another process reads', () => {
  it('is made durable all the same', function () {
    this.timeout(20_000);
    withFile((path) => {
      const index = TreeIndex.open(path, OPTIONS);
      const other = new DatabaseSync(path);
      try {
        // From here on the log is needed as it is.
        other.exec('BEGIN; SELECT * FROM meta');
        index.setMeta('epoch', '8');
        const before = statSync(`${path}-wal`).size;
        index.checkpoint();
        expect(statSync(`${path}-wal`).size).to.be.above(before);
        other.exec('COMMIT');
        index.checkpoint();
        expect(statSync(`${path}-wal`).size).to.equal(0);
      } finally {
        index.close();
        other.close();
      }
    });
  });
});

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('TreeIndex.create', () => {
  it('replaces whatever was there', () => {
    withFile((path) => {
      writeFileSync(`${path}-wal`, 'left over');
      const index = TreeIndex.create(path, { digestFunction: 'sha256' });
      expect(index.count()).to.equal(0);
      expect(index.getMeta('epoch')).to.equal(undefined);
      index.put(file('f'), undefined);
      index.close();
      const again = TreeIndex.open(path, { digestFunction: 'sha256' });
      expect(pathsOf(again.walk(ROOT))).to.deep.equal(['f']);
      again.close();
    });
  });
});
