import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { Batch, Change, CompressedBatch, type PutFile } from '../../../gen/lockstep/sync/v1/change.ts';
import type { Entry as WireEntry } from '../../../gen/lockstep/sync/v1/entry.ts';
import { decodeBatch } from '../../../services/sync-server/replica/batch-decoder.ts';
import { ChangeFailure } from '../../../services/sync-server/replica/change-failure.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../../services/sync-server/replica/replica-options.ts';
import { encodeBatch, FUNCTION, metadata, mkdir, move, put, remove, symlink, T0, withOwner } from './support.ts';

const options = { digestFunction: FUNCTION, limits: DEFAULT_REPLICA_LIMITS } as const;

function reasonsOf(...changes: Change[]): string[] {
  return decodeBatch(encodeBatch(changes), 'batch', options).changes.map((change) =>
    change instanceof ChangeFailure ? change.reason : 'fine',
  );
}

function refusal(run: () => unknown): string {
  try {
    run();
    return 'fine';
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
}

function altered(change: Change, alter: (put: PutFile & { entry: WireEntry }) => void): Change {
  const copy = Change.decode(Change.encode(change).finish());
  if (copy.operation?.$case !== 'putFile' || copy.operation.value.entry === undefined) throw new Error('not a put');
  alter({ ...copy.operation.value, entry: copy.operation.value.entry } as never);
  const value = copy.operation.value as PutFile & { entry: WireEntry };
  alter(value);
  return copy;
}

describe('a hostile batch', () => {
  it('cannot name an owner that there cannot be', () => {
    const owner = { uid: 4_294_967_294, gid: 0, user: 'ann', group: '' };
    const wrong = [
      { uid: 4_294_967_295 },
      { gid: 4_294_967_295 },
      { user: 'a:b' },
      { user: '-x' },
      { group: 'a\nb' },
      { group: 'x'.repeat(65) },
      { group: 'g\u0000' },
    ];
    for (const change of [put('a', 'x'), mkdir('a'), symlink('a', 'b'), metadata('a', 'file', 0o644, T0)]) {
      expect(reasonsOf(withOwner(change, owner))).to.deep.equal(['fine']);
      for (const part of wrong)
        expect(reasonsOf(withOwner(change, { ...owner, ...part })), JSON.stringify(part)).to.deep.equal([
          'INVALID_ARGUMENT',
        ]);
    }
  });

  it("cannot give the folder's root away", () => {
    const owner = { uid: 1, gid: 1, user: '', group: '' };
    const root = withOwner(metadata('', 'directory', 0o755, T0), owner);
    const [change] = decodeBatch(encodeBatch([root]), 'batch', options).changes;
    expect(change).to.not.have.property('owner');
  });

  it('cannot name what is not in the folder (E02, E03, S04)', () => {
    const paths = [
      '..',
      'a/../b',
      '.',
      '',
      '/a',
      'a/',
      'a//b',
      '.lockstep',
      '.lockstep/staging/x',
      'a\0b',
      '%2E%2E',
      '%41',
      'a%2fb',
      'x'.repeat(256),
    ];
    for (const path of paths) {
      const raw = [
        altered(put('a', 'x'), ({ entry }) => {
          entry.path = path;
        }),
        { operation: { $case: 'move', value: { from: 'a', to: path } } } as Change,
        { operation: { $case: 'move', value: { from: path, to: 'b' } } } as Change,
        { operation: { $case: 'delete', value: { path } } } as Change,
      ];
      for (const reason of reasonsOf(...raw)) expect(reason, path).to.equal('INVALID_PATH');
    }
    expect(reasonsOf(put('.lockstepped', 'x'), put('a/.lockstep', 'x'))).to.deep.equal(['fine', 'fine']);
  });

  it('cannot smuggle wrong fields past the check (E73, E77, S12, S35)', () => {
    const change = put('a', 'x');
    const bad: ((put: PutFile & { entry: WireEntry }) => void)[] = [
      ({ entry }) => (entry.mode = 0o4755),
      ({ entry }) => (entry.size = 2n),
      ({ entry }) => (entry.size = 2n ** 64n - 1n),
      ({ entry }) => (entry.mtimeNs = -(2n ** 63n)),
      ({ entry }) => (entry.digest = Buffer.alloc(31)),
      ({ entry }) => (entry.digest = Buffer.alloc(32)),
      ({ entry }) => (entry.kind = 2),
      ({ entry }) => (entry.kind = 99 as never),
      (value) => (value.content = undefined),
      (value) => (value.content = { $case: 'inline', value: Buffer.alloc(300_000) }),
    ];
    for (const alter of bad) expect(reasonsOf(altered(change, alter))[0], alter.toString()).not.to.equal('fine');
    expect(
      reasonsOf(altered(change, ({ entry }) => (entry.digest = Buffer.alloc(0)))),
      'the server computes it',
    ).to.deep.equal(['fine']);
    const empty: Change[] = [
      { operation: undefined },
      { operation: { $case: 'putFile', value: { entry: undefined, content: undefined } } },
      { operation: { $case: 'makeDirectory', value: { entry: undefined } } },
      { operation: { $case: 'makeSymlink', value: { entry: undefined } } },
      { operation: { $case: 'setMetadata', value: { entry: undefined } } },
    ];
    expect(reasonsOf(...empty)).to.deep.equal(empty.map(() => 'INVALID_ARGUMENT'));
    expect(reasonsOf(symlink('l', 'a\0b'), symlink('l', ''), symlink('l', 'x'.repeat(4096)))).to.deep.equal(
      Array(3).fill('INVALID_ARGUMENT'),
    );
    const fine = [
      mkdir('d'),
      symlink('l', '../../etc'),
      metadata('', 'directory', 0o755, T0),
      move('a', 'b'),
      remove('c'),
    ];
    expect(reasonsOf(...fine)).to.deep.equal(fine.map(() => 'fine'));
  });

  it('cannot put one kind of entry where another belongs', () => {
    const entryOf = (change: Change): WireEntry | undefined => {
      const { operation } = change;
      return operation !== undefined && 'entry' in operation.value ? operation.value.entry : undefined;
    };
    const entries = [put('a', 'x'), mkdir('d'), symlink('l', 't')].map(entryOf);
    const cases = ['putFile', 'makeDirectory', 'makeSymlink'] as const;
    for (const [at, $case] of cases.entries()) {
      const content = { $case: 'stored', value: {} } as const;
      const changes = entries.map((entry) => ({ operation: { $case, value: { entry, content } } }) as Change);
      const expected = cases.map((_, other) => (other === at ? 'fine' : 'INVALID_ARGUMENT'));
      expect(reasonsOf(...changes), $case).to.deep.equal(expected);
    }
  });

  it('cannot make of a delta what was not announced (S12)', () => {
    const delta = (basisDigest: Buffer, ...segments: [offset: bigint, length: bigint, literal: string][]): Change =>
      altered(put('a', 'content'), (value) => {
        const parts = segments.map(([basisOffset, copyLength, literal]) => ({
          basisOffset,
          copyLength,
          literal: Buffer.from(literal),
        }));
        value.content = { $case: 'delta', value: { basisDigest, basisPath: 'b', segments: parts } };
      });
    const digest = Buffer.alloc(32);
    const far = BigInt(Number.MAX_SAFE_INTEGER);
    expect(
      reasonsOf(
        delta(digest, [0n, 4n, 'ent']),
        delta(digest, [0n, 4n, ''], [0n, 3n, '']),
        delta(digest, [0n, 4n, 'en']),
        delta(digest, [0n, 4n, 'ents']),
        delta(digest, [far, 7n, '']),
        delta(digest, [0n, far, ''], [0n, far, '']),
        delta(digest, [2n ** 63n, 7n, '']),
        delta(Buffer.alloc(31), [0n, 7n, '']),
      ),
    ).to.deep.equal(['fine', 'fine', ...Array<string>(6).fill('INVALID_ARGUMENT')]);
    const limits = { ...DEFAULT_REPLICA_LIMITS, maxContentBytes: 6 };
    const [refused] = decodeBatch(encodeBatch([put('a', 'content')]), 'batch', { ...options, limits }).changes;
    expect(refused).to.be.instanceOf(ChangeFailure).with.property('reason', 'LIMIT_EXCEEDED');
  });

  it('cannot be too long, have too many changes, or no id', () => {
    const limits = { ...DEFAULT_REPLICA_LIMITS, maxBatchBytes: 1_000, maxBatchChanges: 2 };
    const decode = (encoded: Uint8Array) => refusal(() => decodeBatch(encoded, 'batch', { ...options, limits }));
    expect(decode(encodeBatch([put('a', 'x'.repeat(2_000))]))).to.equal('LIMIT_EXCEEDED');
    expect(decode(encodeBatch([remove('a'), remove('b'), remove('c')]))).to.equal('LIMIT_EXCEEDED');
    expect(decode(encodeBatch([remove('a')], Buffer.alloc(15)))).to.equal('INVALID_ARGUMENT');
    expect(decode(Buffer.from([0xff, 0xff, 0xff]))).to.equal('INVALID_ARGUMENT');
    expect(decode(encodeBatch([remove('a')]))).to.equal('fine');
  });

  it('cannot be a decompression bomb, or lie about its size (S22)', () => {
    const compressed = (data: Uint8Array, size: number, compressor: 0 | 1 = 1): string => {
      const encoded = CompressedBatch.encode({ compressor, size: BigInt(size), data: Buffer.from(data) }).finish();
      return refusal(() => decodeBatch(encoded, 'compressed', options));
    };
    const batch = Batch.encode({ batchId: Buffer.alloc(16), changes: [remove('a')] }).finish();
    expect(compressed(zstdCompressSync(batch), batch.length)).to.equal('fine');
    expect(compressed(zstdCompressSync(batch), batch.length + 1)).to.equal('INVALID_ARGUMENT');
    expect(compressed(zstdCompressSync(batch), batch.length - 1)).to.equal('INVALID_ARGUMENT');
    expect(compressed(zstdCompressSync(Buffer.alloc(50_000_000)), 1_000)).to.equal('INVALID_ARGUMENT');
    expect(compressed(zstdCompressSync(Buffer.alloc(50_000_000)), 50_000_000)).to.equal('LIMIT_EXCEEDED');
    expect(compressed(Buffer.from('no zstd'), 100)).to.equal('INVALID_ARGUMENT');
    expect(compressed(batch, batch.length, 0)).to.equal('INVALID_ARGUMENT');
  });

  it('never throws anything but a refusal, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, isCompressed) => {
        refusal(() => decodeBatch(bytes, isCompressed ? 'compressed' : 'batch', options));
      }),
      { numRuns: 500 },
    );
    const valid = encodeBatch(
      [put('a', 'content'), mkdir('d'), symlink('l', 't'), move('a', 'b'), remove('c')],
      Buffer.alloc(16, 1),
    );
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(255), (at, value) => {
        const bytes = Buffer.from(valid);
        bytes[at] = value;
        refusal(() => decodeBatch(bytes, 'batch', options));
      }),
      { numRuns: 500 },
    );
  });
});
