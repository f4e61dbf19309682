import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { type Blake3, loadNativeBlake3 } from '../../../common/content/blake3.ts';
import { loadWasmBlake3 } from '../../../common/content/blake3-wasm.ts';
import {
  blake3Implementation,
  ContentHasher,
  DIGEST_FUNCTIONS,
  digestFromBytes,
  digestHex,
  digestOf,
} from '../../../common/content/digest.ts';

/** Lengths and first 32 output bytes of BLAKE3's test_vectors.json; input byte i is i mod 251. */
const BLAKE3_VECTORS: readonly (readonly [number, string])[] = [
  [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  [31744, '62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47'],
  [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
];

function vectorInput(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index % 251);
}

/** Cuts at the given fractions of the length. */
function pieces(data: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((cut) => Math.floor(cut * data.length)), data.length].sort((a, b) => a - b);
  return ends.map((end, index) => data.subarray(index === 0 ? 0 : ends[index - 1], end));
}

const cutPoints = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 });

describe('digests', () => {
  it('give the published BLAKE3 vectors, whole and in pieces', () => {
    for (const [length, hex] of BLAKE3_VECTORS) {
      const input = vectorInput(length);
      expect(digestHex(digestOf('blake3', input)), `length ${length}`).to.equal(hex);
      const hasher = new ContentHasher('blake3');
      for (let at = 0; at < length; at += 1000) hasher.update(input.subarray(at, at + 1000));
      expect(digestHex(hasher.digest()), `length ${length} in pieces`).to.equal(hex);
    }
  });

  it('give the FIPS 180-4 SHA-256 vector', () => {
    expect(digestHex(digestOf('sha256', Buffer.from('abc')))).to.equal(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(digestHex(new ContentHasher('sha256').update(Buffer.from('a')).update(Buffer.from('bc')).digest())).to.equal(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });

  for (const name of DIGEST_FUNCTIONS) {
    it(`of ${name} are the same in one piece and in any pieces, also of views into larger buffers`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat(64), cutPoints, (data, offset, cuts) => {
          const padded = new Uint8Array(data.length + offset + 7).fill(0xaa);
          padded.set(data, offset);
          const view = padded.subarray(offset, offset + data.length);
          const hasher = new ContentHasher(name);
          for (const piece of pieces(view, cuts)) hasher.update(piece);
          const digest = hasher.digest();
          expect(digest.length).to.equal(32);
          expect(digest.equals(digestOf(name, data))).to.equal(true);
          expect(digest.equals(digestOf(name, view))).to.equal(true);
        }),
        { numRuns: 60 },
      );
    });

    it(`of ${name} end their hasher`, () => {
      const hasher = new ContentHasher(name).update(Buffer.from('x'));
      hasher.digest();
      expect(() => hasher.update(Buffer.from('y'))).to.throw();
      expect(() => hasher.digest()).to.throw();
    });
  }

  it('of a received message are copies, and only of 32 bytes', () => {
    const message = Buffer.alloc(100, 7);
    const digest = digestFromBytes(message.subarray(10, 42));
    message.fill(8);
    expect(digest?.equals(Buffer.alloc(32, 7))).to.equal(true);
    for (const length of [0, 31, 33, 64]) expect(digestFromBytes(Buffer.alloc(length))).to.equal(undefined);
  });
});

describe('BLAKE3 implementations', () => {
  let native: Blake3;
  let wasm: Blake3;

  before(async function () {
    const loaded = loadNativeBlake3();
    if (loaded === undefined) return this.skip();
    native = loaded;
    wasm = await loadWasmBlake3();
  });

  it('agree on any input', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20_000 }), (data) => native.digestOf(data).equals(wasm.digestOf(data))),
      { numRuns: 50 },
    );
    const large = createHash('shake256', { outputLength: 300_000 }).update('seed').digest();
    expect(native.digestOf(large).equals(wasm.digestOf(large))).to.equal(true);
  });

  it('keep computations under way apart, however they interleave', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(3), { maxLength: 12 }),
        (contents, turns) => {
          for (const implementation of [native, wasm]) {
            const running = contents.map((content) => ({ state: implementation.createHasher(), content, done: 0 }));
            for (const turn of turns) {
              const one = running[turn % running.length];
              if (one === undefined) continue;
              one.state.update(one.content.subarray(one.done, one.done + 700));
              one.done = Math.min(one.content.length, one.done + 700);
            }
            for (const { state, content, done } of running) {
              state.update(content.subarray(done));
              expect(state.digest().equals(native.digestOf(content))).to.equal(true);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('fall back to WebAssembly where the addon cannot be loaded', () => {
    const program = `
      const { registerHooks } = await import('node:module');
      registerHooks({ resolve(name, context, next) {
        if (name === '@napi-rs/blake-hash') throw new Error('no addon for this platform');
        return next(name, context);
      } });
      const digest = await import(${JSON.stringify(import.meta.resolve('../../../common/content/digest.ts'))});
      console.log(digest.blake3Implementation, digest.digestHex(digest.digestOf('blake3', Buffer.alloc(0))));`;
    const output = execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program], {
      encoding: 'utf8',
    });
    expect(blake3Implementation).to.equal('native');
    expect(output.trim()).to.equal(`wasm ${BLAKE3_VECTORS[0]?.[1]}`);
  });
});
