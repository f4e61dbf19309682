/**
 * A file told in terms of what the server has, and the same file when it is not what it was.
 */
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { expect } from 'chai';
import { CHUNK_BUFFER_BYTES, type ExpectedFile } from '../../../clients/watcher/push/content-messages.ts';
import { ContentTransfer, type Transfer, type TransferChunk } from '../../../clients/watcher/push/content-transfer.ts';
import { DeltaTransfer } from '../../../clients/watcher/push/delta-transfer.ts';
import { chunkingParameters } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { failingCalls } from '../../support/failing-calls.ts';

describe('a pass over a file', () => {
  let directory: string;
  let root: SafeRoot;
  const open: Transfer[] = [];
  const buffer = () => new ArrayBuffer(CHUNK_BUFFER_BYTES);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-transfer-'));
    root = SafeRoot.open(directory);
  });

  afterEach(() => {
    for (const transfer of open.splice(0)) transfer.close();
    root.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function expected(path: string): ExpectedFile {
    const { ino, size, mtimeNs, ctimeNs } = statSync(join(directory, path), { bigint: true });
    return { path: path as TreePath, ino, sizeBytes: Number(size), mtimeNs, ctimeNs };
  }

  function signatureOf(content: Buffer): Uint8Array {
    const builder = new SignatureBuilder('blake3', chunkingParameters(8192));
    builder.push(content);
    const { signature } = builder.finish();
    if (signature === undefined) throw new Error('a content without a signature');
    return encodeSignature(signature);
  }

  function kept<T extends Transfer>(transfer: T | undefined): T {
    if (transfer === undefined) throw new Error('the file is not the expected one');
    open.push(transfer);
    return transfer;
  }

  const delta = (basis: Buffer, zstd = false, path = 'f') =>
    kept(
      DeltaTransfer.open(root, expected(path), {
        fromBytes: 0,
        digestFunction: 'blake3',
        zstd,
        maxZeroBytes: 0,
        basis: signatureOf(basis),
      }),
    );

  const whole = (fromBytes: number, path = 'f') =>
    kept(
      ContentTransfer.open(root, expected(path), { fromBytes, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 }),
    );

  function chunksOf(transfer: DeltaTransfer): TransferChunk[] {
    const chunks: TransferChunk[] = [];
    for (;;) {
      const step = transfer.step();
      if (step === 'changed') throw new Error('the file has changed');
      if (step === 'rehashed') continue;
      chunks.push(step);
      if (step.digest !== undefined) return chunks;
    }
  }

  /** What the server makes of it. */
  function rebuilt(basis: Buffer, chunks: readonly TransferChunk[]): Buffer {
    const parts: Buffer[] = [];
    let built = 0;
    for (const { offsetBytes, data, literalBytes, contentBytes, steps } of chunks) {
      expect(offsetBytes).to.equal(built);
      built += contentBytes;
      const literals = literalBytes === undefined ? Buffer.from(data) : zstdDecompressSync(data);
      let at = 0;
      for (const { copyOffsetBytes, copyLengthBytes, dataBytes } of steps) {
        parts.push(basis.subarray(copyOffsetBytes, copyOffsetBytes + copyLengthBytes));
        parts.push(literals.subarray(at, at + dataBytes));
        at += dataBytes;
      }
      expect(at).to.equal(literals.length);
    }
    return Buffer.concat(parts);
  }

  const noise = randomBytes(3_000_000);
  const text = (sizeBytes: number) => Buffer.alloc(sizeBytes, 'what a line says, and says again ');
  const contents: readonly (readonly [string, Buffer, Buffer])[] = [
    ['nothing new', noise, noise],
    ['nothing at all', noise, Buffer.alloc(0)],
    ['all of it new, in more than one message', text(10_000), randomBytes(2_500_000)],
    ['an edit', noise, Buffer.concat([noise.subarray(0, 900_000), text(500_000), noise.subarray(900_000)])],
    ['more copied than one message stands for', text(20_000_000), Buffer.concat([text(20_000_000), text(40_000)])],
    ['a beginning that is gone', noise, noise.subarray(1_000_000)],
  ];
  for (const [what, basis, content] of contents) {
    for (const zstd of [false, true]) {
      it(`tells ${what}${zstd ? ', compressed' : ''}`, () => {
        writeFileSync(join(directory, 'f'), content);
        const chunks = chunksOf(delta(basis, zstd));
        expect(rebuilt(basis, chunks).equals(content)).to.equal(true);
        const last = chunks.at(-1);
        expect(Buffer.from(last?.digest ?? []).equals(digestOf('blake3', content))).to.equal(true);
        if (last?.signature !== undefined) {
          expect(decodeSignature(last.signature).digest.equals(digestOf('blake3', content))).to.equal(true);
        }
        const sentBytes = chunks.reduce((sum, { data }) => sum + data.length, 0);
        // Next to nothing for the text, and up to a block of noise on each side of it.
        if (zstd && what === 'an edit') expect(sentBytes).to.be.lessThan(2 * chunkingParameters(8192).maxBytes + 5_000);
      });
    }
  }

  it('sends no more of literal data in one message than the protocol allows', () => {
    writeFileSync(join(directory, 'f'), randomBytes(2_500_000));
    const lengths = chunksOf(delta(text(10_000))).map(({ data }) => data.length);
    expect(lengths).to.deep.equal([2 ** 20, 2 ** 20, 2_500_000 - 2 * 2 ** 20]);
  });

  it('tells a part only in a step that is not one of reading, which needs no grant', () => {
    writeFileSync(join(directory, 'f'), randomBytes(2_500_000));
    const transfer = delta(text(10_000));
    for (let isOver = false; !isOver; ) {
      const { isRehashing } = transfer;
      const step = transfer.step();
      expect(step === 'rehashed').to.equal(isRehashing);
      isOver = typeof step === 'object' && step.digest !== undefined;
    }
  });

  it('is of no use when the file is another one already', () => {
    writeFileSync(join(directory, 'f'), 'old');
    const old = expected('f');
    writeFileSync(join(directory, 'f'), 'newer');
    const options = { fromBytes: 0, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 } as const;
    expect(DeltaTransfer.open(root, old, { ...options, basis: signatureOf(noise) })).to.equal(undefined);
    expect(ContentTransfer.open(root, old, options)).to.equal(undefined);
  });

  it('says why a file cannot be opened or looked at, and keeps none open', () => {
    writeFileSync(join(directory, 'f'), 'content');
    const failures = [
      ['openSync', 1],
      // While its directory is opened, and when it is.
      ['fstatSync', 1],
      ['fstatSync', 2],
    ] as const;
    const reasons = failures.map(([name, failing]) => {
      using _ = failingCalls(name, 'EACCES', (number) => number === failing);
      try {
        return whole(0) && 'fine';
      } catch (error) {
        return error instanceof LockstepError && error.reason;
      }
    });
    expect(reasons).to.deep.equal(['PERMISSION_DENIED', 'PERMISSION_DENIED', 'PERMISSION_DENIED']);
    const transfer = whole(0);
    using _ = failingCalls('lstatSync', 'EIO');
    expect(() => transfer.step(buffer()))
      .to.throw(LockstepError)
      .that.includes({ reason: 'IO', path: 'f' });
  });

  it('refuses a signature that makes no sense, and keeps no file open', () => {
    writeFileSync(join(directory, 'f'), 'content');
    const options = {
      fromBytes: 0,
      digestFunction: 'blake3',
      zstd: false,
      maxZeroBytes: 0,
      basis: Buffer.alloc(7),
    } as const;
    expect(() => DeltaTransfer.open(root, expected('f'), options)).to.throw(LockstepError);
  });

  for (const [kind, start] of [
    ['of a delta', () => delta(noise, false, 'd/f')],
    ['from its beginning', () => whole(0, 'd/f')],
    ['from where the server stands', () => whole(2_000_000, 'd/f')],
  ] as const) {
    /** The first step that is not only hashing, or 'changed'. */
    const end = (transfer: Transfer): unknown => {
      for (;;) {
        const step = transfer.step(buffer());
        if (step === 'changed') return step;
        if (step !== 'rehashed' && step.digest !== undefined) return 'finished';
      }
    };
    const harm: Readonly<Record<string, (file: string) => void>> = {
      shrank: (file) => truncateSync(file, 1000),
      'was written to': (file) => writeFileSync(file, randomBytes(3_000_000)),
      'was touched': (file) => utimesSync(file, 1, 1),
      'went away with its directory': () => renameSync(join(directory, 'd'), join(directory, 'elsewhere')),
      'had a link put in its place': (file) => {
        renameSync(file, join(directory, 'elsewhere'));
        symlinkSync('../elsewhere', file);
      },
    };
    for (const [what, happen] of Object.entries(harm)) {
      it(`${kind} is not finished when the file ${what} (E37, E38)`, () => {
        mkdirSync(join(directory, 'd'));
        writeFileSync(join(directory, 'd/f'), noise);
        const transfer = start();
        happen(join(directory, 'd/f'));
        expect(end(transfer)).to.equal('changed');
      });
    }

    it(`${kind} is not finished when the file server has another file by now`, () => {
      mkdirSync(join(directory, 'd'));
      writeFileSync(join(directory, 'd/f'), noise);
      const transfer = start();
      using _ = failingCalls('readSync', 'ESTALE');
      expect(transfer.step(buffer())).to.equal('changed');
    });

    it(`${kind} names the file when the disk fails`, () => {
      mkdirSync(join(directory, 'd'));
      writeFileSync(join(directory, 'd/f'), noise);
      const transfer = start();
      open.pop();
      // No file is behind its descriptor any more: reading fails, as it does on a bad disk.
      transfer.close();
      expect(() => transfer.step(buffer()))
        .to.throw(LockstepError)
        .that.deep.includes({ reason: 'IO', path: 'd/f' });
    });
  }
});
