/** Tree digests: what they cover, and that anyone can recompute them. */
import { expect } from 'chai';
import fc from 'fast-check';
import { type Digest, digestOf } from '../../../common/content/digest.ts';
import { type TreeDigestChild, treeDigestOf } from '../../../common/tree/tree-digest.ts';
import { anyRecord } from './entries.ts';
import { nameText } from './paths.ts';

const digest = digestOf('blake3', Buffer.from('x'));

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}

const anyChildren: fc.Arbitrary<TreeDigestChild[]> = fc
  .uniqueArray(fc.record({ name: nameText, record: anyRecord }), { selector: (child) => child.name, maxLength: 6 })
  .map((children) => children.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  .map((children) =>
    children.map(({ name, record }): TreeDigestChild => {
      return record.kind === 'directory' ? { name, ...record, treeDigest: digest } : { name, ...record };
    }),
  );

describe('tree digest', () => {
  it('of an empty directory is the digest of nothing', () => {
    expect(treeDigestOf('blake3', []).equals(digestOf('blake3', Buffer.alloc(0)))).to.equal(true);
    expect(treeDigestOf('sha256', []).equals(digestOf('sha256', Buffer.alloc(0)))).to.equal(true);
  });

  it('is over the documented bytes', () => {
    const encoded = Buffer.concat([
      Buffer.from([2, 1, 0, 0x61, 0xed, 0x01]),
      u64(-5n),
      digest,
      Buffer.from([1, 2, 0, 0x62, 0xff, 0xa4, 0x01]),
      u64(7n),
      u64(2n ** 53n - 1n),
      digest,
      Buffer.from([3, 1, 0, 0x63, 0xff, 0x01]),
      u64(0n),
      Buffer.from([3, 0, 0x2e, 0x2e, 0xfe]),
    ]);
    const children: TreeDigestChild[] = [
      { name: 'a', kind: 'directory', mode: 0o755, mtimeNs: -5n, treeDigest: digest },
      { name: 'b\xff', kind: 'file', mode: 0o644, mtimeNs: 7n, sizeBytes: 2 ** 53 - 1, digest },
      { name: 'c', kind: 'symlink', mtimeNs: 0n, target: Buffer.from([0x2e, 0x2e, 0xfe]) },
    ];
    for (const digestFunction of ['blake3', 'sha256'] as const) {
      expect(treeDigestOf(digestFunction, children).equals(digestOf(digestFunction, encoded))).to.equal(true);
    }
  });

  it('covers an owner where there is one, in the documented bytes', () => {
    const owner = { uid: 4_294_967_294, gid: 5, user: 'ann', group: '' };
    const ownerBytes = Buffer.from([0xfe, 0xff, 0xff, 0xff, 5, 0, 0, 0, 3, 0x61, 0x6e, 0x6e, 0]);
    const encoded = Buffer.concat([
      Buffer.from([0x82, 1, 0, 0x61, 0xed, 0x01]),
      u64(-5n),
      ownerBytes,
      digest,
      Buffer.from([0x81, 1, 0, 0x62, 0xa4, 0x01]),
      u64(7n),
      ownerBytes,
      u64(1n),
      digest,
      Buffer.from([0x83, 1, 0, 0x63, 0xff, 0x01]),
      u64(0n),
      ownerBytes,
      Buffer.from([1, 0, 0x2e]),
    ]);
    const children: TreeDigestChild[] = [
      { name: 'a', kind: 'directory', mode: 0o755, mtimeNs: -5n, treeDigest: digest, owner },
      { name: 'b', kind: 'file', mode: 0o644, mtimeNs: 7n, sizeBytes: 1, digest, owner },
      { name: 'c', kind: 'symlink', mtimeNs: 0n, target: Buffer.from('.'), owner },
    ];
    expect(treeDigestOf('blake3', children).equals(digestOf('blake3', encoded))).to.equal(true);
  });

  it('of entries without an owner is what it was before there were any', () => {
    const children: TreeDigestChild[] = [
      { name: 'directory', kind: 'directory', mode: 0o755, mtimeNs: 1_700_000_000_000_000_001n, treeDigest: digest },
      { name: 'file', kind: 'file', mode: 0o640, mtimeNs: -1n, sizeBytes: 12, digest },
      { name: 'link', kind: 'symlink', mtimeNs: 0n, target: Buffer.from('file') },
    ];
    expect(treeDigestOf('sha256', children).toString('hex')).to.equal(
      '9215b560ad6e6ffbb59f4749232abd9efc5f8c0c14bec03ecf8dd23a63c4fa9e',
    );
    expect(treeDigestOf('blake3', children).toString('hex')).to.equal(
      '77726b42909a4695c92d4936d32d1c77d1d4b873d0e2899341df59dafcb70dbd',
    );
  });

  it('does not depend on how the children are buffered', () => {
    const children = Array.from({ length: 2_000 }, (_, index): TreeDigestChild => {
      const name = String(index).padStart(255, '0');
      return { name, kind: 'symlink', mtimeNs: BigInt(index), target: Buffer.alloc(4_095, index) };
    });
    const encoded = children.map((child) => {
      const head = Buffer.concat([Buffer.from([3, 255, 0]), Buffer.from(child.name), Buffer.from([0xff, 0x01])]);
      return Buffer.concat([
        head,
        u64(child.mtimeNs),
        Buffer.from([0xff, 0x0f]),
        Buffer.alloc(4_095, Number(child.mtimeNs)),
      ]);
    });
    expect(treeDigestOf('blake3', children).equals(digestOf('blake3', Buffer.concat(encoded)))).to.equal(true);
  });

  it('differs when anything differs', () => {
    fc.assert(
      fc.property(anyChildren, anyChildren, (a, b) => {
        const describe = (children: TreeDigestChild[]) =>
          JSON.stringify(children, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
        const equal = (x: Digest, y: Digest) => x.equals(y);
        expect(equal(treeDigestOf('blake3', a), treeDigestOf('blake3', b))).to.equal(describe(a) === describe(b));
      }),
    );
  });

  it('refuses children out of order', () => {
    const child = (name: string): TreeDigestChild => ({
      name,
      kind: 'file',
      mode: 0,
      mtimeNs: 0n,
      sizeBytes: 1,
      digest,
    });
    expect(() => treeDigestOf('blake3', [child('b'), child('a')])).to.throw(/byte order/);
    expect(() => treeDigestOf('blake3', [child('a'), child('a')])).to.throw(/byte order/);
  });
});
