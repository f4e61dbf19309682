import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { expect } from 'chai';
import { CHUNK_BYTES, type ExpectedFile, LEAST_ZERO_BYTES } from '../../../clients/watcher/push/content-messages.ts';
import { ContentReader } from '../../../clients/watcher/push/content-reader.ts';
import { chunkingParameters } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { encodeSignature } from '../../../common/content/signature-codec.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

describe('ContentReader', () => {
  let root: string;
  let reader: ContentReader;
  const never = new AbortController().signal;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lockstep-content-'));
    reader = new ContentReader(root);
  });

  afterEach(async () => {
    await reader.close();
    rmSync(root, { recursive: true, force: true });
  });

  function expected(path: string): ExpectedFile {
    const { ino, size, mtimeNs, ctimeNs } = statSync(join(root, path), { bigint: true });
    return { path: path as TreePath, ino, sizeBytes: Number(size), mtimeNs, ctimeNs };
  }

  async function readAll(file: ExpectedFile, fromBytes = 0, zstd = false, maxZeroBytes = 0) {
    const parts: Buffer[] = [];
    let digest: Buffer | undefined;
    let compressed = 0;
    let [contentBytes, literalBytes, mostZeroBytes] = [0, 0, 0];
    for await (const chunk of reader.read(file, { fromBytes, digestFunction: 'blake3', zstd, maxZeroBytes }, never)) {
      const data = Buffer.from(chunk.data);
      if (chunk.literalBytes !== undefined) compressed++;
      const literal = chunk.literalBytes !== undefined ? zstdDecompressSync(data) : data;
      const before = parts.length;
      if (chunk.steps.length === 0) parts.push(literal);
      let at = 0;
      for (const { zeroBytes, dataBytes } of chunk.steps) {
        parts.push(Buffer.alloc(zeroBytes), literal.subarray(at, (at += dataBytes)));
        mostZeroBytes = Math.max(mostZeroBytes, zeroBytes);
      }
      expect(chunk.offsetBytes).to.equal(fromBytes + contentBytes);
      expect(Buffer.concat(parts.slice(before)).length).to.equal(chunk.contentBytes);
      contentBytes += chunk.contentBytes;
      literalBytes += literal.length;
      digest = chunk.digest;
      chunk.release();
    }
    return { content: Buffer.concat(parts), digest, compressed, literalBytes, mostZeroBytes };
  }

  async function reasonOf(reading: Promise<unknown>): Promise<string> {
    try {
      await reading;
    } catch (error) {
      if (error instanceof LockstepError) return error.reason;
      throw error;
    }
    return 'none';
  }

  for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 20 * CHUNK_BYTES + 7]) {
    it(`reads ${size} bytes exactly, with their digest (E21)`, async () => {
      const content = Buffer.alloc(size, 'lockstep');
      writeFileSync(join(root, 'f'), content);
      const read = await readAll(expected('f'));
      expect(read.content.equals(content)).to.equal(true);
      expect(read.digest?.equals(digestOf('blake3', content))).to.equal(true);
    });
  }

  it('begins where the server stands and still hashes the whole content (E101)', async () => {
    const content = Buffer.alloc(3_000_001, 'abc');
    writeFileSync(join(root, 'f'), content);
    for (const fromBytes of [1, 1_500_000, 3_000_001]) {
      const read = await readAll(expected('f'), fromBytes);
      expect(read.content.equals(content.subarray(fromBytes))).to.equal(true);
      expect(read.digest?.equals(digestOf('blake3', content))).to.equal(true);
    }
  });

  for (const zstd of [false, true]) {
    it(`tells zeros as a number, ${zstd ? 'compressed' : 'plain'} data between them (E20)`, async () => {
      const noise = randomBytes(10_000);
      const content = Buffer.alloc(20 * CHUNK_BYTES + 5);
      for (const at of [0, 3 * CHUNK_BYTES - 5_000, 5 * CHUNK_BYTES + 100]) noise.copy(content, at);
      writeFileSync(join(root, 'f'), content);
      for (const fromBytes of [0, 1, 3 * CHUNK_BYTES, content.length - 1]) {
        const read = await readAll(expected('f'), fromBytes, zstd, LEAST_ZERO_BYTES);
        expect(read.content.equals(content.subarray(fromBytes))).to.equal(true);
        expect(read.digest?.equals(digestOf('blake3', content))).to.equal(true);
        // Each stretch of noise, the blocks around it, and what is left of a block at the end.
        expect(read.literalBytes).to.be.at.most(3 * (noise.length + 2 * 4096) + 4096);
      }
      expect((await readAll(expected('f'), 0, zstd, 0)).literalBytes).to.equal(content.length);
    });
  }

  it('tells zeros that are new in a delta as a number, wherever they begin (E20)', async () => {
    const old = randomBytes(300_000);
    const builder = new SignatureBuilder('blake3', chunkingParameters(8192));
    builder.push(old);
    const basis = encodeSignature(builder.finish().signature!);
    const zeros = Buffer.alloc(10_000_000);
    const content = Buffer.concat([old.subarray(0, 100_001), zeros, Buffer.from('x'), old.subarray(100_001)]);
    writeFileSync(join(root, 'f'), content);
    for (const maxZeroBytes of [0, LEAST_ZERO_BYTES]) {
      const parts: Buffer[] = [];
      let sentBytes = 0;
      const options = { fromBytes: 0, digestFunction: 'blake3', zstd: false, maxZeroBytes, basis } as const;
      for await (const { data, steps, release } of reader.read(expected('f'), options, never)) {
        let at = 0;
        for (const { copyOffsetBytes, copyLengthBytes, zeroBytes, dataBytes } of steps) {
          parts.push(old.subarray(copyOffsetBytes, copyOffsetBytes + copyLengthBytes), Buffer.alloc(zeroBytes));
          parts.push(Buffer.from(data.subarray(at, (at += dataBytes))));
        }
        sentBytes += data.length;
        release();
      }
      expect(Buffer.concat(parts).equals(content)).to.equal(true);
      if (maxZeroBytes === 0) expect(sentBytes).to.be.greaterThan(zeros.length);
      // The block that was cut in two, and the blocks of zeros that were not whole in what was read at a time.
      else expect(sentBytes).to.be.below(150_000);
    }
  });

  it('tells no more zeros in one chunk than the server takes (E20)', async () => {
    writeFileSync(join(root, 'f'), '');
    truncateSync(join(root, 'f'), 3 * LEAST_ZERO_BYTES + 4096);
    const read = await readAll(expected('f'), 0, false, LEAST_ZERO_BYTES);
    expect(read.content.length).to.equal(3 * LEAST_ZERO_BYTES + 4096);
    expect(read.literalBytes).to.equal(0);
    expect(read.mostZeroBytes).to.equal(LEAST_ZERO_BYTES);
  });

  it('compresses chunks that shrink and leaves those that do not', async () => {
    const noise = Buffer.from(Array.from({ length: CHUNK_BYTES }, () => Math.floor(Math.random() * 256)));
    const content = Buffer.concat([Buffer.alloc(CHUNK_BYTES, 'text '), noise]);
    writeFileSync(join(root, 'f'), content);
    const read = await readAll(expected('f'), 0, true);
    expect(read.content.equals(content)).to.equal(true);
    expect(read.compressed).to.equal(1);
  });

  it('refuses a file that is not the expected one (E37)', async () => {
    writeFileSync(join(root, 'f'), 'old');
    const file = expected('f');
    writeFileSync(join(root, 'f'), 'newer');
    expect(await reasonOf(readAll(file))).to.equal('BUSY');
  });

  it('never finishes a file that shrank or was replaced while it was read (E37, E38)', async () => {
    for (const change of ['shrink', 'replace', 'remove'] as const) {
      writeFileSync(join(root, 'f'), Buffer.alloc(20 * CHUNK_BYTES));
      const chunks = reader.read(
        expected('f'),
        { fromBytes: 0, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 },
        never,
      );
      const first = await chunks.next();
      if (change === 'shrink') truncateSync(join(root, 'f'), 1000);
      if (change === 'replace') {
        writeFileSync(join(root, 'g'), Buffer.alloc(20 * CHUNK_BYTES));
        renameSync(join(root, 'g'), join(root, 'f'));
      }
      if (change === 'remove') rmSync(join(root, 'f'));
      const rest = async () => {
        first.value?.release();
        for await (const chunk of chunks) chunk.release();
      };
      expect(await reasonOf(rest())).to.equal('BUSY');
    }
  });

  it('does not follow a link, in the last component or before it (E16, S02)', async () => {
    mkdirSync(join(root, 'd'));
    writeFileSync(join(root, 'd/f'), 'content');
    const file = expected('d/f');
    renameSync(join(root, 'd'), join(root, 'real'));
    symlinkSync('real', join(root, 'd'));
    expect(await reasonOf(readAll(file))).to.equal('BUSY');
    symlinkSync('real/f', join(root, 'link'));
    expect(await reasonOf(readAll({ ...file, path: 'link' as TreePath }))).to.equal('BUSY');
  });

  it('stops when its signal aborts, and reads the next content', async () => {
    writeFileSync(join(root, 'f'), Buffer.alloc(20 * CHUNK_BYTES));
    const abort = new AbortController();
    const chunks = reader.read(
      expected('f'),
      { fromBytes: 0, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 },
      abort.signal,
    );
    await chunks.next();
    abort.abort(new LockstepError('CANCELLED', 'enough'));
    expect(await reasonOf(chunks.next())).to.equal('CANCELLED');
    expect((await readAll(expected('f'))).content.length).to.equal(20 * CHUNK_BYTES);
  });

  it('reads many contents at once, each in order', async () => {
    const contents = Array.from({ length: 6 }, (_, index) => Buffer.alloc(CHUNK_BYTES * 5 + index, `${index}-`));
    contents.forEach((content, index) => writeFileSync(join(root, `f${index}`), content));
    const read = await Promise.all(contents.map((_, index) => readAll(expected(`f${index}`))));
    read.forEach(({ content }, index) => expect(content.equals(contents[index] ?? Buffer.alloc(0))).to.equal(true));
  });

  it('says what cannot be read, and why', async () => {
    writeFileSync(join(root, 'f'), 'content');
    const file = expected('f');
    rmSync(root, { recursive: true });
    expect(await reasonOf(readAll(file))).to.equal('ROOT_MISSING');
  });

  it('goes on with others when the disk fails under one', async () => {
    // The memory of a process is a file of length 0 whose first page cannot be read.
    const memory = new ContentReader('/proc/self');
    const read = async (path: string, fromBytes: number) => {
      const { ino, mtimeNs, ctimeNs } = statSync(join('/proc/self', path), { bigint: true });
      const file = { path: path as TreePath, ino, sizeBytes: 0, mtimeNs, ctimeNs };
      for await (const chunk of memory.read(
        file,
        { fromBytes, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 },
        never,
      )) {
        chunk.release();
      }
    };
    expect(await reasonOf(read('mem', 1))).to.equal('IO');
    expect(await reasonOf(read('mem', 0))).to.equal('none');
    await memory.close();
  });

  it('fails rather than leave a part out when more comes than was granted', async () => {
    writeFileSync(join(root, 'f'), Buffer.alloc(100 * CHUNK_BYTES));
    const options = { fromBytes: 0, digestFunction: 'blake3', zstd: true, maxZeroBytes: 0 } as const;
    const slowly = async () => {
      for await (const chunk of reader.read(expected('f'), options, never)) {
        // Once would be right. The memory of frames does not go back to where they come from.
        for (let time = 0; time < 20; time++) chunk.release();
        await sleep(20);
      }
    };
    expect(await reasonOf(slowly())).to.equal('INTERNAL');
  });

  it('fails what is being read when it is closed, and reads nothing any more', async () => {
    writeFileSync(join(root, 'f'), Buffer.alloc(20 * CHUNK_BYTES));
    const options = { fromBytes: 0, digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 } as const;
    const chunks = reader.read(expected('f'), options, never);
    const first = await chunks.next();
    await reader.close();
    first.value?.release();
    expect(await reasonOf(chunks.next())).to.equal('CANCELLED');
    expect(await reasonOf(readAll(expected('f')))).to.equal('CANCELLED');
  });
});
