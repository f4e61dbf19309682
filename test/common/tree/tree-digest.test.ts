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
