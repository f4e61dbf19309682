/**
 * Contents on their way into staging, without the wire: what is resumed, refused, dropped and kept.
 */
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import type { LocatedFile } from '../../../services/sync-server/replica/applier-api.ts';
import type { StagedUploadBegin } from '../../../services/sync-server/replica/content-api.ts';
import { ContentService } from '../../../services/sync-server/replica/content-service.ts';
import { cloneName, contentName } from '../../../services/sync-server/replica/layout.ts';
import type { LocalFile, UploadPart } from '../../../services/sync-server/replica/replica.ts';
import { SpaceGuard } from '../../../services/sync-server/replica/space-guard.ts';
import { eventually } from '../../support/eventually.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { allocatedBytes, onlyWithHoles, writeWithHoles } from '../../support/holes.ts';
import { reasonOf } from '../../support/sync-fixture.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { withReflinks } from '../../support/reflinks.ts';
import { CollectedLog, p, removeDirectory, settingsFor, temporaryDirectory } from './support.ts';

const digest = (content: Buffer) => digestOf('blake3', content);
const part = (offsetBytes: number, data: Buffer, more: Partial<UploadPart> = {}): UploadPart => ({
  offsetBytes,
  steps: undefined,
  data,
  decompressedSizeBytes: undefined,
  ...more,
});

describe('ContentService', () => {
  let directory: string;
  let service: ContentService;
  let freeBytes: number;
  beforeEach(() => {
    directory = temporaryDirectory();
    freeBytes = 2 ** 40;
    const space = new SpaceGuard(directory, () => ({ freeBytes, totalBytes: 2 ** 40, freeInodes: 1_000_000 }));
    const settings = settingsFor(directory);
    const limits = { ...settings.limits, maxContentBytes: 10_000_000 };
    service = new ContentService({ settings: { ...settings, limits }, logger: new CollectedLog(), space });
  });
  afterEach(async () => {
    await service.close();
    removeDirectory(directory);
  });

  const uploadId = (id: number) => Buffer.alloc(16, id);
  const begin = (id: number, sizeBytes: number, more: Partial<StagedUploadBegin> = {}) =>
    service.beginUpload({
      uploadId: uploadId(id),
      sizeBytes,
      digest: undefined,
      resume: false,
      basis: undefined,
      known: undefined,
      ...more,
    });
  const staged = () => readdirSync(join(directory, '.lockstep/staging')).sort();

  /** A file of the folder, as the index knows it. */
  function located(
    name: string,
    content: Buffer,
    write = () => writeFileSync(join(directory, name), content),
  ): LocatedFile {
    write();
    using root = SafeRoot.open(directory);
    const stat = root.directory(ROOT).lstat(name);
    if (stat === undefined) throw new Error(`${name} is not there`);
    const { dev, ino, ctimeNs, mtimeNs, sizeBytes, mode } = stat;
    return {
      entry: { path: p(name), kind: 'file', mode: mode & 0o777, mtimeNs, sizeBytes, digest: digest(content) },
      identity: { dev, ino, ctimeNs, mtimeNs, sizeBytes },
    };
  }

  it('refuses a content beyond the limit, before anything is made', async () => {
    expect(await reasonOf(begin(1, 10_000_001))).to.equal('LIMIT_EXCEEDED');
    expect(staged()).to.deep.equal([]);
  });

  it('goes on with what a broken upload has staged, once it is hashed again (E101)', async () => {
    const content = Buffer.from('0123456789');
    const first = await begin(1, 10);
    await service.writeUpload(first.handle, part(0, content.subarray(0, 6)));
    await service.suspendUpload(first.handle);
    await service.suspendUpload(first.handle);
    const again = await begin(1, 10, { resume: true });
    expect(again.committedSizeBytes).to.equal(6);
    expect(await reasonOf(service.writeUpload(again.handle, part(5, content)))).to.equal('OFFSET_MISMATCH');
    await service.writeUpload(again.handle, part(6, content.subarray(6)));
    await service.finishUpload(again.handle, digest(content));
    expect(staged()).to.deep.equal([contentName(digest(content))]);
    expect(await reasonOf(service.writeUpload(again.handle, part(0, content)))).to.equal('CANCELLED');
  });

  it('lets go of a resumption that cannot read what is staged, and resumes later', async () => {
    const content = Buffer.from('0123456789');
    const first = await begin(1, 10);
    await service.writeUpload(first.handle, part(0, content.subarray(0, 6)));
    await service.suspendUpload(first.handle);
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    {
      using _ = failingCalls('readSync', 'EIO');
      expect(await reasonOf(begin(1, 10, { resume: true }))).not.to.equal('no error');
    }
    expect(open()).to.equal(before);
    expect((await begin(1, 10, { resume: true })).committedSizeBytes).to.equal(6);
  });

  it('begins anew when more is staged than the content has, and when nothing is to be resumed', async () => {
    const first = await begin(1, 10);
    await service.writeUpload(first.handle, part(0, Buffer.alloc(10, 1)));
    const shorter = await begin(1, 4, { resume: true });
    expect(shorter.committedSizeBytes).to.equal(0);
    // Who began it before has lost it.
    expect(await reasonOf(service.writeUpload(first.handle, part(10, Buffer.alloc(1))))).to.equal('CANCELLED');
    await service.writeUpload(shorter.handle, part(0, Buffer.alloc(3, 1)));
    await service.suspendUpload(shorter.handle);
    expect((await begin(1, 4)).committedSizeBytes).to.equal(0);
  });

  it('refuses parts that are too long, not what they declare, or of a basis that is not there', async () => {
    const { handle } = await begin(1, 100);
    const write = (given: UploadPart) => reasonOf(service.writeUpload(handle, given));
    expect(await write(part(0, Buffer.alloc(101)))).to.equal('INVALID_ARGUMENT');
    const compressed = zstdCompressSync(Buffer.alloc(50));
    expect(await write(part(0, compressed, { decompressedSizeBytes: 49 }))).to.equal('INVALID_ARGUMENT');
    expect(await write(part(0, compressed, { decompressedSizeBytes: 51 }))).to.equal('INVALID_ARGUMENT');
    expect(await write(part(0, compressed, { decompressedSizeBytes: 2 ** 30 }))).to.equal('LIMIT_EXCEEDED');
    const steps = [{ copyOffsetBytes: 0, copyLengthBytes: 10, zeroBytes: 0, dataBytes: 0 }];
    expect(await write(part(0, Buffer.alloc(0), { steps }))).to.equal('BASIS_MISMATCH');
    // What is refused changes nothing, and the upload goes on.
    expect(await service.writeUpload(handle, part(0, compressed, { decompressedSizeBytes: 50 }))).to.equal(50);
  });

  it('copies ranges of a basis, and says that it was the basis when the whole is wrong', async () => {
    const old = Buffer.from('abcdefghij');
    const basis = located('old', old);
    const steps = [{ copyOffsetBytes: 2, copyLengthBytes: 8, zeroBytes: 0, dataBytes: 1 }];
    const good = await begin(1, 9, { basis });
    expect(await service.writeUpload(good.handle, part(0, Buffer.from('!'), { steps }))).to.equal(9);
    await service.finishUpload(good.handle, digest(Buffer.from('cdefghij!')));
    const wrong = await begin(2, 9, { basis });
    await service.writeUpload(wrong.handle, part(0, Buffer.from('?'), { steps }));
    expect(await reasonOf(service.finishUpload(wrong.handle, digest(old)))).to.equal('BASIS_MISMATCH');
    const beyond = await begin(3, 20, { basis });
    const far = part(0, Buffer.alloc(0), {
      steps: [{ copyOffsetBytes: 5, copyLengthBytes: 20, zeroBytes: 0, dataBytes: 0 }],
    });
    expect(await reasonOf(service.writeUpload(beyond.handle, far))).to.equal('BASIS_MISMATCH');
    expect(await service.writeUpload(beyond.handle, part(0, Buffer.from('x')))).to.equal(1);
  });

  describe('of contents with holes', () => {
    onlyWithHoles();
    const sizeBytes = 8_000_000;
    const data = Buffer.alloc(4096, 'data');
    const content = Buffer.alloc(sizeBytes);
    data.copy(content, 4_096_000);

    /** A file of the folder that has only the one block. */
    function sparse(name: string): LocatedFile {
      return located(name, content, () => writeWithHoles(join(directory, name), sizeBytes, { 4_096_000: data }));
    }
    const allocated = () => allocatedBytes(join(directory, '.lockstep/staging', contentName(digest(content))));

    it('leaves them out, also those of a basis, and resumes behind one (E20, E101)', async () => {
      const first = await begin(1, sizeBytes, { basis: sparse('old') });
      const steps = [{ copyOffsetBytes: 0, copyLengthBytes: 4_000_000, zeroBytes: 0, dataBytes: 0 }];
      await service.writeUpload(first.handle, part(0, Buffer.alloc(0), { steps }));
      await service.suspendUpload(first.handle);
      const again = await begin(1, sizeBytes, { resume: true });
      expect(again.committedSizeBytes).to.equal(4_000_000);
      await service.writeUpload(again.handle, part(4_000_000, content.subarray(4_000_000, 4_100_000)));
      await service.writeUpload(again.handle, part(4_100_000, content.subarray(4_100_000)));
      await service.finishUpload(again.handle, digest(content));
      // The block where the first part ends is one of its own on btrfs, which writes what it cuts.
      expect(allocated()).to.be.oneOf([4096, 2 * 4096]);
    });

    it('writes nothing for zeros that come as a number, nor counts them against free space (E20, E87)', async () => {
      freeBytes = 2 ** 26 + 1_000_000;
      const { handle } = await begin(1, sizeBytes);
      const step = { copyOffsetBytes: 0, copyLengthBytes: 0 };
      const steps = [
        { ...step, zeroBytes: 4_096_000, dataBytes: 4096 },
        { ...step, zeroBytes: sizeBytes - 4_100_096, dataBytes: 0 },
      ];
      expect(await service.writeUpload(handle, part(0, data, { steps }))).to.equal(sizeBytes);
      await service.finishUpload(handle, digest(content));
      expect(allocated()).to.equal(4096);
    });

    it('copies a known one with its holes, which need no free space (E20, E98)', async () => {
      const known = sparse('old');
      freeBytes = 2 ** 26 + 1_000_000;
      expect((await begin(1, sizeBytes, { digest: digest(content), known })).complete).to.equal(true);
      expect(allocated()).to.equal(4096);
    });
  });

  it('drops what is not whole, or not what was announced', async () => {
    const short = await begin(1, 10);
    await service.writeUpload(short.handle, part(0, Buffer.alloc(5)));
    expect(await reasonOf(service.finishUpload(short.handle, digest(Buffer.alloc(10))))).to.equal('DIGEST_MISMATCH');
    const other = await begin(2, 1, { digest: digest(Buffer.from('b')) });
    await service.writeUpload(other.handle, part(0, Buffer.from('a')));
    expect(await reasonOf(service.finishUpload(other.handle, digest(Buffer.from('a'))))).to.equal('DIGEST_MISMATCH');
    expect(staged()).to.deep.equal([]);
  });

  it('drops what may not have got to the disk, and takes it the second time (E86)', async () => {
    const content = Buffer.from('0123456789');
    const upload = async (): Promise<void> => {
      const { handle } = await begin(1, 10);
      await service.writeUpload(handle, part(0, content));
      await service.finishUpload(handle, digest(content));
    };
    {
      using _ = failingCalls('fdatasync', 'EIO');
      expect(await reasonOf(upload())).to.equal('IO');
    }
    expect(staged()).to.deep.equal([]);
    await upload();
    expect(staged()).to.deep.equal([contentName(digest(content))]);
  });

  it('keeps the reserve of free space (E87)', async () => {
    freeBytes = 0;
    const { handle } = await begin(1, 5_000_000);
    const write = () => reasonOf(service.writeUpload(handle, part(0, Buffer.alloc(5_000_000, 1))));
    expect(await write()).to.equal('NO_SPACE');
    freeBytes = 2 ** 40;
    expect(await write()).to.equal('no error');
  });

  it('knows a content that is staged or in the folder, but reads it before it believes it (E98)', async () => {
    const content = Buffer.alloc(5000, 'x');
    const known = located('a', content);
    const wanted = { digest: digest(content), known };
    expect((await begin(1, 4999, wanted)).complete).to.equal(false);
    expect((await begin(2, 5000, wanted)).complete).to.equal(true);
    expect(staged()).to.include(contentName(digest(content)));
    expect((await begin(3, 5000, { digest: digest(content) })).complete).to.equal(true);
    // As the index has it by all that can be seen, and damaged.
    const { atime, mtime } = statSync(join(directory, 'a'));
    const damaged = located('b', Buffer.alloc(5000, 'y'));
    const claimed = { ...damaged, entry: { ...damaged.entry, digest: digest(Buffer.alloc(5000, 'z')) } };
    const found = await begin(4, 5000, { digest: claimed.entry.digest, known: claimed });
    expect(found.complete).to.equal(false);
    expect(staged().filter((name) => name.includes('copy'))).to.deep.equal([]);
    appendFileSync(join(directory, 'a'), 'more');
    utimesSync(join(directory, 'a'), atime, mtime);
    expect(await service.openContent(known)).to.equal(undefined);
  });

  it('keeps nothing of an upload whose content is there: whoever began it has nothing to end', async () => {
    const content = Buffer.from('0123456789');
    writeFileSync(join(directory, '.lockstep/staging', contentName(digest(content))), content);
    const handles = new Set<number>();
    for (let at = 0; at < 10; at++) {
      const { handle, complete } = await begin(at, content.length, { digest: digest(content) });
      expect(complete).to.equal(true);
      expect(await reasonOf(service.writeUpload(handle, part(0, content)))).to.equal('CANCELLED');
      await service.suspendUpload(handle);
      handles.add(handle);
    }
    expect(handles.size).to.equal(1);
  });

  it('reads a file from a handle, to its end and not after it was closed', async () => {
    const handle = await service.openContent(located('a', Buffer.from('hello')));
    if (handle === undefined) throw new Error('not open');
    expect((await service.readContent(handle, 1, 10)).toString()).to.equal('ello');
    await service.closeContent(handle);
    await service.closeContent(handle);
    expect(await reasonOf(service.readContent(handle, 0, 1))).to.equal('CANCELLED');
  });

  it('goes on behind a write that failed in the middle, with what was there before it', async () => {
    const content = Buffer.concat([Buffer.alloc(2 ** 16, 1), Buffer.alloc(2 ** 18), Buffer.alloc(70_000, 2)]);
    const { handle } = await begin(1, content.length);
    await service.writeUpload(handle, part(0, content.subarray(0, 1000)));
    const failed = async (errno: string): Promise<unknown> => {
      using _ = failingCalls('writeSync', errno);
      return await reasonOf(service.writeUpload(handle, part(1000, content.subarray(1000))));
    };
    expect(await failed('ENOSPC')).to.equal('NO_SPACE');
    expect(await failed('EIO')).to.equal('IO');
    expect(await service.writeUpload(handle, part(1000, content.subarray(1000)))).to.equal(content.length);
    await service.finishUpload(handle, digest(content));
    expect(staged()).to.deep.equal([contentName(digest(content))]);
  });

  it('hashes again at the end what is staged, when a write failed last, and sees when less is there', async () => {
    const content = Buffer.from('0123456789');
    for (const isCut of [false, true]) {
      const { handle } = await begin(1, 10);
      await service.writeUpload(handle, part(0, content.subarray(0, 5)));
      {
        using _ = failingCalls('writeSync', 'EIO');
        expect(await reasonOf(service.writeUpload(handle, part(5, content.subarray(5))))).to.equal('IO');
      }
      const [name = ''] = staged();
      if (isCut) truncateSync(join(directory, '.lockstep/staging', name), 4);
      const error = await service.finishUpload(handle, digest(content)).catch((failure: unknown) => failure);
      expect(String(error)).to.include(`${isCut ? 4 : 5} of 10 bytes`);
      expect(staged()).to.deep.equal([]);
    }
  });

  it('makes one content of two that are copied at once, over what a crash left behind', async () => {
    const content = Buffer.alloc(3_000_000, 'x');
    const known = located('a', content);
    writeFileSync(join(directory, '.lockstep/staging/u-copy-1'), 'left behind');
    const wanted = { digest: digest(content), known };
    const both = await Promise.all([begin(1, content.length, wanted), begin(2, content.length, wanted)]);
    expect(both.map(({ complete }) => complete)).to.deep.equal([true, true]);
    expect(staged()).to.deep.equal([contentName(digest(content))]);
    const third = await begin(3, content.length, wanted);
    await service.suspendUpload(third.handle);
    expect(staged()).to.deep.equal([contentName(digest(content))]);
  });

  it('copies nothing where the reserve of free space begins, or the file cannot be opened', async () => {
    const content = Buffer.alloc(5000, 'x');
    const known = located('a', content);
    const wanted = { digest: digest(content), known };
    freeBytes = 0;
    expect((await begin(1, 5000, wanted)).complete).to.equal(false);
    freeBytes = 2 ** 40;
    {
      using _ = failingCalls('openSync', 'EACCES', (_number, [path]) => String(path).endsWith('/a'));
      expect((await begin(2, 5000, wanted)).complete).to.equal(false);
    }
    expect((await begin(3, 4000, wanted)).complete).to.equal(false);
    expect((await begin(4, 5000, { ...wanted, known: undefined })).complete).to.equal(false);
    expect((await begin(5, 5000, wanted)).complete).to.equal(true);
  });

  it('tidies once more when there was more trash meanwhile, and is closed in the middle of it', async () => {
    const trash = (name: string): void => {
      const top = join(directory, '.lockstep/staging', name);
      mkdirSync(join(top, 'd'), { recursive: true });
      for (let at = 0; at < 200; at++) writeFileSync(join(top, 'd', `${at}`), '');
      chmodSync(join(top, 'd'), 0);
    };
    trash('t-1');
    const first = service.sweep();
    trash('t-2');
    await Promise.all([first, service.sweep()]);
    expect(staged()).to.deep.equal([]);
    trash('t-3');
    const handle = await service.openContent(located('a', Buffer.from('hello')));
    expect(handle).not.to.equal(undefined);
    const last = service.sweep();
    const again = service.sweep();
    await service.close();
    await service.close();
    await Promise.all([last, again]);
    expect(staged()).to.deep.equal([]);
  });

  it('says that it could not tidy, and tries again', async () => {
    const settings = settingsFor(directory);
    const logger = new CollectedLog();
    const limits = { ...settings.limits, stagedContentTtlMs: 1 };
    const tidy = new ContentService({ settings: { ...settings, limits }, logger });
    {
      using _ = failingCalls('readdirSync', 'EIO');
      await eventually('it is told', () => logger.warnings.some((line) => line.includes('could not be tidied')));
    }
    writeFileSync(join(directory, '.lockstep/staging/u-old'), '');
    await eventually('it is tidied', () => staged().length === 0);
    await tidy.close();
  });

  describe('of a file of this machine', () => {
    let other: string;
    beforeEach(() => {
      other = temporaryDirectory();
    });
    afterEach(() => removeDirectory(other));

    /** Begins the upload of a file, and has all of it read but the last bytes. */
    async function beginLocal(content: Buffer, more: Partial<LocalFile & { sizeBytes: number }> = {}) {
      const path = Buffer.from(join(other, 'file'));
      writeFileSync(path, content);
      const { dev: device, ino: inode } = statSync(path, { bigint: true });
      return begin(1, more.sizeBytes ?? content.length, { localFile: { path, device, inode, ...more } });
    }
    const writtenBytes = () => statSync(join(directory, '.lockstep/staging', staged()[0] ?? '')).size;
    const range = (offset: number, length: number) =>
      part(offset, Buffer.alloc(0), {
        steps: [{ copyOffsetBytes: offset, copyLengthBytes: length, zeroBytes: 0, dataBytes: 0 }],
      });

    // More than one chunk, not a multiple of one, and with zeros in the middle and at the end.
    const length = 9_500_001;
    const content = Buffer.concat([
      randomBytes(5_000_000),
      Buffer.alloc(1_000_000),
      randomBytes(length - 6_500_000),
      Buffer.alloc(500_000),
    ]);
    for (const [what, bytes] of Object.entries({
      'a long one': content,
      'a short one': Buffer.from('abc'),
      nothing: Buffer.alloc(0),
    })) {
      it(`copies it, and tells its digest: ${what}`, async () => {
        const { handle } = await beginLocal(bytes);
        if (bytes.length > 0) await service.writeUpload(handle, range(0, bytes.length));
        expect((await service.finishUpload(handle, undefined))?.equals(digest(bytes))).to.equal(true);
        expect(staged()).to.deep.equal([contentName(digest(bytes))]);
        expect(readFileSync(join(directory, '.lockstep/staging', contentName(digest(bytes)))).equals(bytes)).to.equal(
          true,
        );
      });
    }

    it('is kept unless it turns out to be what the folder has', async () => {
      const bytes = randomBytes(5_000_000);
      const other = await beginLocal(bytes, { knownDigest: digest(content) });
      await service.writeUpload(other.handle, range(0, bytes.length));
      await service.finishUpload(other.handle, undefined);
      expect(staged()).to.deep.equal([contentName(digest(bytes))]);
      unlinkSync(join(directory, '.lockstep/staging', contentName(digest(bytes))));
      const same = await beginLocal(bytes, { knownDigest: digest(bytes) });
      await service.writeUpload(same.handle, range(0, bytes.length));
      // A sync of what is dropped would be for nothing.
      using _ = failingCalls('fdatasync', 'EIO');
      expect((await service.finishUpload(same.handle, undefined))?.equals(digest(bytes))).to.equal(true);
      expect(staged()).to.deep.equal([]);
    });

    it('is refused where it is another one, or none', async () => {
      const bytes = Buffer.from('content');
      const reasonWith = async (more: Partial<LocalFile & { sizeBytes: number }>) => reasonOf(beginLocal(bytes, more));
      expect(await reasonWith({ inode: 1n })).to.equal('BASIS_MISMATCH');
      // Whoever can have another file found at the path can give that one the same number, elsewhere.
      expect(await reasonWith({ device: 1n })).to.equal('BASIS_MISMATCH');
      expect(await reasonWith({ sizeBytes: 6 })).to.equal('BASIS_MISMATCH');
      expect(await reasonWith({ path: Buffer.from(join(other, 'missing')) })).to.equal('BASIS_MISMATCH');
      expect(await reasonWith({ path: Buffer.from(other) })).to.equal('BASIS_MISMATCH');
      symlinkSync('file', join(other, 'link'));
      expect(await reasonWith({ path: Buffer.from(join(other, 'link')) })).to.equal('BASIS_MISMATCH');
    });

    it('is not finished with another digest, nor when it was cut off meanwhile', async () => {
      const { handle } = await beginLocal(Buffer.from('content'));
      await service.writeUpload(handle, range(0, 7));
      expect(await reasonOf(service.finishUpload(handle, digest(Buffer.from('another'))))).to.equal('BASIS_MISMATCH');
      using _ = failingCalls('copyFileSync', 'ENOTSUP');
      const again = await beginLocal(content);
      truncateSync(join(other, 'file'), 1000);
      expect(await reasonOf(service.writeUpload(again.handle, range(0, length)))).to.equal('BASIS_MISMATCH');
      expect(await reasonOf(service.finishUpload(again.handle, undefined))).to.equal('DIGEST_MISMATCH');
      expect(staged()).to.deep.equal([]);
    });

    it('goes on after a write that failed beside the reading', async () => {
      const bytes = randomBytes(9_000_000);
      using _noReflinks = failingCalls('copyFileSync', 'ENOTSUP');
      const { handle } = await beginLocal(bytes);
      for (const [errno, reason] of [
        ['ENOSPC', 'NO_SPACE'],
        ['EIO', 'IO'],
      ] as const) {
        using _ = failingCalls('write', errno);
        expect(await reasonOf(service.writeUpload(handle, range(0, bytes.length)))).to.equal(reason);
      }
      expect(await service.writeUpload(handle, range(0, bytes.length))).to.equal(bytes.length);
      expect((await service.finishUpload(handle, undefined))?.equals(digest(bytes))).to.equal(true);
    });

    it('leaves nothing when it breaks, also in the middle of a range', async () => {
      const { handle } = await beginLocal(content);
      const writing = reasonOf(service.writeUpload(handle, range(0, length)));
      await eventually('something is written', () => writtenBytes() > 0);
      // Begun anew elsewhere: the first one must not write any more.
      const again = await beginLocal(content);
      expect(await writing).to.equal('CANCELLED');
      await service.writeUpload(again.handle, range(0, 6_000_000));
      await service.suspendUpload(again.handle);
      expect(staged()).to.deep.equal([]);
    });
  });

  describe('where the file system has reflinks', () => {
    const basis = randomBytes(9_000_000);
    const BLOCK = 1_000_000;
    const copy = (offset: number, length: number, dataBytes = 0, zeroBytes = 0) => ({
      ...{ copyOffsetBytes: offset, copyLengthBytes: length, dataBytes, zeroBytes },
    });
    const steps = (...steps: ReturnType<typeof copy>[]) => ({ steps });
    const stagedContent = (content: Buffer) =>
      readFileSync(join(directory, '.lockstep/staging', contentName(digest(content))));
    let file: LocatedFile;
    let reflinks: ReturnType<typeof withReflinks>;
    beforeEach(() => {
      file = located('old', basis, () => writeFileSync(join(directory, 'old'), basis, { mode: 0o644 }));
      reflinks = withReflinks();
    });
    afterEach(() => reflinks[Symbol.dispose]());

    it('shares what stays where it is, and writes only what is new', async () => {
      // Zeros over data: they cannot be left out.
      const edit = Buffer.concat([Buffer.from('edit'), Buffer.alloc(100_000)]);
      const content = Buffer.concat([basis.subarray(0, 5 * BLOCK), edit, basis.subarray(5 * BLOCK + edit.length)]);
      const { handle } = await begin(1, content.length, { basis: file });
      expect(reflinks.count).to.equal(1);
      let writtenBytes = 0;
      using _ = failingCalls('writeSync', 'EIO', (_, [, , , length]) => {
        writtenBytes += Number(length);
        return false;
      });
      const ranges = steps(copy(0, 5 * BLOCK, edit.length), copy(5 * BLOCK + edit.length, 4 * BLOCK - edit.length));
      expect(await service.writeUpload(handle, part(0, edit, ranges))).to.equal(content.length);
      await service.finishUpload(handle, digest(content));
      expect(writtenBytes).to.equal(edit.length);
      expect(stagedContent(content).equals(content)).to.equal(true);
      expect(statSync(join(directory, '.lockstep/staging', contentName(digest(content)))).mode & 0o777).to.equal(0o600);
    });

    it('is nobody else’s, and has no set-id bits, because of the basis (E73)', async function () {
      if (process.geteuid?.() !== 0) skipBecause(this, 'only root may give files to others');
      const given = located('given', basis, () => {
        writeFileSync(join(directory, 'given'), basis);
        chownSync(join(directory, 'given'), 7001, 7002);
        chmodSync(join(directory, 'given'), 0o6755);
      });
      const looks = async (id: number) => {
        const { handle } = await begin(id, basis.length, { basis: given });
        const { uid, gid, mode } = statSync(join(directory, '.lockstep/staging', staged()[0] ?? ''));
        await service.suspendUpload(handle);
        unlinkSync(join(directory, '.lockstep/staging', staged()[0] ?? ''));
        return [uid, gid, mode & 0o7777];
      };
      const own = [process.getuid?.(), process.getgid?.(), 0o600];
      expect(await looks(1)).to.deep.equal(own);
      // Where there are none it is tried nevertheless.
      reflinks[Symbol.dispose]();
      expect(await looks(2)).to.deep.equal(own);
    });

    it('copies what has moved, leaves holes there, and ends where the content does', async () => {
      const parts = [basis.subarray(0, BLOCK), Buffer.from('more'), basis.subarray(BLOCK, 2 * BLOCK)];
      const content = Buffer.concat([...parts, Buffer.alloc(2 * BLOCK), basis.subarray(0, 5 * BLOCK)]);
      const { handle } = await begin(1, content.length, { basis: file });
      const ranges = steps(copy(0, BLOCK, 4), copy(BLOCK, BLOCK), copy(0, 0, 0, 2 * BLOCK), copy(0, 5 * BLOCK));
      await service.writeUpload(handle, part(0, Buffer.from('more'), ranges));
      await service.finishUpload(handle, digest(content));
      expect(stagedContent(content).equals(content)).to.equal(true);
      const shorter = basis.subarray(0, 2 * BLOCK);
      const cut = await begin(2, shorter.length, { basis: file });
      await service.writeUpload(cut.handle, part(0, Buffer.alloc(0), steps(copy(0, shorter.length))));
      await service.finishUpload(cut.handle, digest(shorter));
      expect(stagedContent(shorter).equals(shorter)).to.equal(true);
      expect(reflinks.count).to.equal(2);
    });

    it('counts what has arrived, not what is shared, when it goes on (E101)', async () => {
      const ranges = (offset: number, length: number) => part(offset, Buffer.alloc(0), steps(copy(offset, length)));
      const { handle } = await begin(1, basis.length, { basis: file });
      await service.writeUpload(handle, ranges(0, 2 * BLOCK));
      const [whileOpen] = staged();
      expect(whileOpen).to.match(/^u-clone-/);
      await service.suspendUpload(handle);
      expect(staged()).to.deep.equal([whileOpen?.replace('clone-', '')]);
      const again = await begin(1, basis.length, { basis: file, resume: true });
      expect(again.committedSizeBytes).to.equal(2 * BLOCK);
      await service.writeUpload(again.handle, ranges(2 * BLOCK, 7 * BLOCK));
      await service.finishUpload(again.handle, digest(basis));
      expect(stagedContent(basis).equals(basis)).to.equal(true);
    });

    it('holds nothing of an upload whose shared rest cannot be cut off, and begins it anew', async () => {
      const content = Buffer.concat([basis.subarray(0, 2 * BLOCK), Buffer.from('x')]);
      const first = await begin(1, content.length, { basis: file });
      await service.writeUpload(first.handle, part(0, Buffer.alloc(0), steps(copy(0, 2 * BLOCK))));
      const handles = readdirSync('/dev/fd').length;
      {
        using _ = failingCalls('ftruncateSync', 'EIO');
        await service.suspendUpload(first.handle).catch(() => undefined);
      }
      expect(readdirSync('/dev/fd').length).to.equal(handles - 2);
      for (const errno of ['EIO', undefined]) {
        const { handle } = await begin(1, content.length, { basis: file, resume: true });
        await service.writeUpload(handle, part(0, Buffer.from('x'), steps(copy(0, 2 * BLOCK, 1))));
        using _ = failingCalls('ftruncateSync', 'EIO', () => errno !== undefined);
        const outcome = await reasonOf(service.finishUpload(handle, digest(content)));
        expect(outcome).to.equal(errno === undefined ? 'no error' : 'IO');
      }
      expect(stagedContent(content).equals(content)).to.equal(true);
    });

    it('begins anew after a crash, over what that left behind', async () => {
      const left = cloneName(uploadId(1));
      writeFileSync(join(directory, '.lockstep/staging', left), basis);
      const content = Buffer.concat([Buffer.from('NEW'), basis.subarray(3)]);
      const { handle, committedSizeBytes } = await begin(1, basis.length, { basis: file, resume: true });
      expect(committedSizeBytes).to.equal(0);
      expect(staged()).to.deep.equal([left]);
      await service.writeUpload(handle, part(0, Buffer.from('NEW')));
      await service.writeUpload(handle, part(3, Buffer.alloc(0), steps(copy(3, basis.length - 3))));
      await service.finishUpload(handle, digest(content));
      expect(stagedContent(content).equals(content)).to.equal(true);
    });

    it('goes on behind a write that failed, with nothing shared any more', async () => {
      const content = Buffer.concat([basis.subarray(0, 2 * BLOCK), Buffer.from('literal'), basis.subarray(2 * BLOCK)]);
      const { handle } = await begin(1, content.length, { basis: file });
      await service.writeUpload(handle, part(0, Buffer.alloc(0), steps(copy(0, 2 * BLOCK))));
      const rest = part(2 * BLOCK, Buffer.from('literal'), steps(copy(0, 0, 7), copy(2 * BLOCK, 7 * BLOCK)));
      {
        using _ = failingCalls('writeSync', 'ENOSPC');
        expect(await reasonOf(service.writeUpload(handle, rest))).to.equal('NO_SPACE');
      }
      await service.writeUpload(handle, rest);
      await service.finishUpload(handle, digest(content));
      expect(stagedContent(content).equals(content)).to.equal(true);
    });

    it('has the digest of what it shares, not of what the file has become', async () => {
      const { handle } = await begin(1, basis.length, { basis: file });
      writeFileSync(join(directory, 'old'), randomBytes(basis.length));
      await service.writeUpload(handle, part(0, Buffer.alloc(0), steps(copy(0, basis.length))));
      await service.finishUpload(handle, digest(basis));
      expect(stagedContent(basis).equals(basis)).to.equal(true);
    });
  });
});
