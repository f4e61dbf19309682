import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { SignatureAssembler } from '../../../common/content/signature-parts.ts';
import { type Digest, digestOf } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { openReplica, type OpenReplicaOptions } from '../../../services/sync-server/replica/open-replica.ts';
import type {
  AppliedBatch,
  Replica,
  RevisionChanges,
  Upload,
  VerifyItem,
} from '../../../services/sync-server/replica/replica.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  CollectedLog,
  encodeBatch,
  fileEntry,
  FUNCTION,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  temporaryDirectory,
} from './support.ts';

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 10_000; performance.now() < end; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the state was never reached');
}

describe('a replica with its workers', () => {
  let directory: string;
  let replica: Replica;
  let lease: bigint;
  const logger = new CollectedLog();

  const open = async (options: Partial<OpenReplicaOptions> = {}): Promise<void> => {
    replica = await openReplica({ folder: 'default', directory, logger, driftIntervalMs: 3_600_000, ...options });
    lease = await replica.nextLease();
  };
  const apply = (...changes: Change[]): Promise<AppliedBatch> =>
    replica.applyBatch({ lease, encoded: encodeBatch(changes), form: 'batch', acknowledgement: 'durable' });
  const local = (path: string): string => join(directory, path);
  const begin = (sizeBytes: number, overrides: Partial<Parameters<Replica['beginUpload']>[0]> = {}): Promise<Upload> =>
    replica.beginUpload({
      lease,
      uploadId: randomBytes(16),
      sizeBytes,
      digest: undefined,
      resume: false,
      basis: undefined,
      ...overrides,
    });
  const part = (offsetBytes: number, data: Uint8Array, decompressedSizeBytes?: number) => ({
    offsetBytes,
    // Its memory is given away.
    data: Buffer.from(data),
    steps: undefined,
    decompressedSizeBytes,
  });

  beforeEach(async () => {
    // In memory: what closing syncs would else be everybody's dirty pages.
    directory = temporaryDirectory('/dev/shm');
    await open();
  });

  afterEach(async () => {
    await replica.close();
    removeDirectory(directory);
  });

  it('applies batches in the order of the calls and answers from memory where it stands', async () => {
    const answers = await Promise.all([
      apply(mkdir('d')),
      ...Array.from({ length: 50 }, (_, i) => apply(put(`d/${i}`, `${i}`))),
    ]);
    expect(answers.map(({ revision }) => revision)).to.deep.equal(Array.from({ length: 51 }, (_, i) => BigInt(i + 1)));
    expect(answers.every(({ durable, problems }) => durable && problems.length === 0)).to.equal(true);
    expect(replica.info()).to.include({
      headRevision: 51n,
      durableRevision: 51n,
      entries: 51,
      contentBytes: 90,
      state: 'ready',
    });
    expect(replica.info()).not.to.have.property('lease');
    await replica.whenDurable(51n);
  });

  it('answers "applied" first and becomes durable soon after', async () => {
    const encoded = encodeBatch([put('a', '1')]);
    const answer = await replica.applyBatch({ lease, encoded, form: 'batch', acknowledgement: 'applied' });
    expect(answer.durable).to.equal(false);
    expect(readFileSync(local('a'), 'utf8')).to.equal('1');
    await replica.whenDurable(answer.revision);
    expect(replica.info().durableRevision).to.equal(answer.revision);
  });

  it('refuses stale leases for batches and uploads (E106)', async () => {
    const old = lease;
    const upload = await begin(1);
    lease = await replica.nextLease();
    expect(lease).to.equal(old + 1n);
    expect(
      await reasonOf(
        replica.applyBatch({
          lease: old,
          encoded: encodeBatch([put('a', '')]),
          form: 'batch',
          acknowledgement: 'durable',
        }),
      ),
    ).to.equal('LEASE_STALE');
    expect(await reasonOf(upload.write(part(0, Buffer.from('x'))))).to.equal('LEASE_STALE');
    expect(await reasonOf(begin(1, { lease: old }))).to.equal('LEASE_STALE');
  });

  it('lets only one server use a replica, and names it (E107)', async () => {
    const second = openReplica({ folder: 'default', directory, logger, driftIntervalMs: 1_000 });
    expect(await reasonOf(second)).to.equal('LOCKED');
    await second.catch((error: unknown) => expect(String(error)).to.include(`process ${process.pid}`));
  });

  it('lets go of its own directory when the state of another one is there, or none can be (E107)', async () => {
    const other = temporaryDirectory('/dev/shm');
    const openOther = (stateDirectory: string | undefined) =>
      openReplica({ folder: 'other', directory: other, stateDirectory, logger, driftIntervalMs: 3_600_000 });
    expect(await reasonOf(openOther(local('.lockstep')))).to.equal('LOCKED');
    writeFileSync(join(other, 'file'), '');
    const error = await openOther(join(other, 'file/state')).catch((failure: unknown) => failure);
    expect(error).to.be.instanceOf(LockstepError).with.property('reason', 'USAGE');
    expect(String(error)).to.include('choose another with --state');
    {
      using _ = failingCalls('mkdirSync', 'ENOSPC');
      expect(await reasonOf(openOther(join(other, 'state')))).to.equal('NO_SPACE');
    }
    // What says who has the lock cannot be written.
    const holder = join(other, '.lockstep/lock-holder.json');
    mkdirSync(join(holder, 'in-the-way'), { recursive: true });
    expect(await reasonOf(openOther(undefined))).to.equal('IO');
    rmSync(holder, { recursive: true });
    await (await openOther(undefined)).close();
    removeDirectory(other);
  });

  it('tells why contents cannot be taken, and takes them once they can', async () => {
    const staging = local('.lockstep/staging');
    renameSync(staging, `${staging}-away`);
    writeFileSync(staging, '');
    const error = await begin(1).catch((failure: unknown) => failure);
    expect(String(error)).to.include('ENOTDIR');
    rmSync(staging);
    renameSync(`${staging}-away`, staging);
    const content = randomBytes(70_000);
    await uploadAll(content);
    expect((await apply(putStored(fileEntry('a', content)))).problems).to.deep.equal([]);
  });

  it('lists, compares and tells entries', async () => {
    await apply(mkdir('d'), put('d/a', '1'), put('d/b', '2'), put('e', '3'));
    const entry = await replica.getEntry(p('d'));
    expect(entry?.treeDigest).to.have.length(32);
    expect(await replica.getEntry(p('nothing'))).to.equal(undefined);
    const root = await replica.rootTreeDigest();
    expect(await replica.compareDirectory(ROOT, root, '', 10)).to.deep.equal({
      outcome: 'equal',
      children: [],
      last: true,
    });
    const page = await replica.compareDirectory(ROOT, undefined, '', 1);
    expect(page.children.map(({ name, treeDigest }) => [name, treeDigest?.length])).to.deep.equal([['d', 32]]);
    expect(page.last).to.equal(false);
    const rest = await replica.compareDirectory(ROOT, undefined, 'd', 10);
    expect(rest).to.deep.include({ outcome: 'differs', last: true });
    expect(rest.children[0]).to.deep.include({ name: 'e', kind: 'file', digest: digestOf(FUNCTION, Buffer.from('3')) });
    expect((await replica.compareDirectory(p('e'), undefined, '', 10)).outcome).to.equal('missing');
    expect((await replica.listEntries(ROOT, true, undefined, 10)).map(({ path }) => path)).to.deep.equal([
      'd',
      'd/a',
      'd/b',
      'e',
    ]);
    expect((await replica.listEntries(ROOT, true, p('d/a'), 1)).map(({ path }) => path)).to.deep.equal(['d/b']);
    expect((await replica.listEntries(p('d'), false, p('d/a'), 10)).map(({ path }) => path)).to.deep.equal(['d/b']);
  });

  it('reads contents from any offset, one version, and not what was changed behind its back (E98)', async () => {
    const content = randomBytes(600_000);
    await uploadAll(content);
    await apply(putStored(fileEntry('big', content)));
    const parts = await collect(replica.readContent(p('big'), 0, undefined));
    expect(parts[0]?.entry?.path).to.equal('big');
    expect(parts.slice(1).every(({ entry }) => entry === undefined)).to.equal(true);
    expect(Buffer.concat(parts.map(({ data }) => data)).equals(content)).to.equal(true);
    const some = await collect(replica.readContent(p('big'), 100, 7));
    expect(some.map(({ data }) => data)).to.deep.equal([content.subarray(100, 107)]);
    expect(await reasonOf(collect(replica.readContent(p('big'), 600_001, undefined)))).to.equal('OFFSET_MISMATCH');
    expect(await reasonOf(collect(replica.readContent(p('none'), 0, undefined)))).to.equal('ENTRY_NOT_FOUND');
    const reading = replica.readContent(p('big'), 0, undefined)[Symbol.asyncIterator]();
    const first = await reading.next();
    await apply(remove('big'));
    const rest = await collect({ [Symbol.asyncIterator]: () => reading });
    const whole = Buffer.concat([...(first.done === true ? [] : [first.value.data]), ...rest.map(({ data }) => data)]);
    expect(whole.equals(content)).to.equal(true);
    await apply(put('small', '1'));
    writeFileSync(local('small'), '22');
    expect(await reasonOf(collect(replica.readContent(p('small'), 0, undefined)))).to.equal('DRIFTED');
  });

  const uploadAll = async (content: Buffer): Promise<void> => {
    const upload = await begin(content.length);
    await upload.write(part(0, content));
    await upload.finish(fileEntry('x', content).digest);
  };

  it('resumes a broken upload, refuses wrong offsets, and takes zstd parts (E101)', async () => {
    const content = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000)]);
    const { digest } = fileEntry('x', content);
    const uploadId = randomBytes(16);
    const first = await begin(content.length, { uploadId });
    expect(first).to.include({ committedSizeBytes: 0, complete: false });
    expect(await first.write(part(0, content.subarray(0, 100_000)))).to.equal(100_000);
    expect(await reasonOf(first.write(part(1, content.subarray(0, 10))))).to.equal('OFFSET_MISMATCH');
    await first.write(part(5, Buffer.from('x'))).catch((error: unknown) => {
      expect(error).to.have.property('details').deep.equal({ committed_size: '100000' });
    });
    await first.suspend();
    const second = await begin(content.length, { uploadId, resume: true });
    expect(second.committedSizeBytes).to.equal(100_000);
    const middle = content.subarray(100_000, 400_000);
    await second.write(part(100_000, zstdCompressSync(middle), middle.length));
    expect(await reasonOf(second.write(part(400_000, zstdCompressSync(middle), 10)))).to.equal('INVALID_ARGUMENT');
    expect(await reasonOf(second.write(part(400_000, randomBytes(10), 10)))).to.equal('INVALID_ARGUMENT');
    await replica.close();
    await open();
    const third = await begin(content.length, { uploadId, resume: true });
    expect(third.committedSizeBytes).to.equal(400_000);
    await third.write(part(400_000, content.subarray(400_000)));
    await third.finish(digest);
    expect((await apply(putStored(fileEntry('f', content)))).problems).to.deep.equal([]);
    expect(readFileSync(local('f')).equals(content)).to.equal(true);
    expect(statSync(local('f')).blocks * 512, 'zeros are a hole (E20)').to.be.below(310_000);
  });

  it('keeps the first of two equal contents, which may be on its way into the tree already (E103)', async () => {
    const content = randomBytes(1_000);
    const { digest } = fileEntry('x', content);
    const staged = local(`.lockstep/staging/${contentName(digest)}`);
    const [first, second] = [await begin(1_000), await begin(1_000)];
    for (const upload of [first, second]) await upload.write(part(0, content));
    await first.finish(digest);
    const { ino } = statSync(staged);
    await second.finish(digest);
    expect(statSync(staged).ino).to.equal(ino);
    expect(readdirSync(local('.lockstep/staging')).filter((name) => name.startsWith('u-'))).to.deep.equal([]);
  });

  it('drops a content that does not have its digest, and takes it the second time (E102)', async () => {
    const content = randomBytes(1_000);
    const { digest } = fileEntry('x', content);
    const bad = await begin(1_000);
    await bad.write(part(0, randomBytes(1_000)));
    expect(await reasonOf(bad.finish(digest))).to.equal('DIGEST_MISMATCH');
    const short = await begin(1_000);
    await short.write(part(0, content.subarray(1)));
    expect(await reasonOf(short.finish(digest))).to.equal('DIGEST_MISMATCH');
    expect(await reasonOf((await begin(10)).write(part(0, content)))).to.equal('INVALID_ARGUMENT');
    await uploadAll(content);
    expect((await apply(putStored(fileEntry('f', content)))).problems).to.deep.equal([]);
  });

  it('tells the signature of a content that a file has, and of no other', async () => {
    const content = randomBytes(300_000);
    await uploadAll(content);
    const entry = fileEntry('f', content);
    await apply(putStored(entry));
    const parts = await collect(replica.readSignature(entry.digest, new AbortController().signal));
    const assembler = new SignatureAssembler(entry.digest, content.length);
    for (const part of parts) assembler.add(part);
    const { blockCount, offsets } = assembler.finish();
    expect(blockCount).to.be.greaterThan(50);
    expect(offsets.at(-1)).to.equal(content.length);
    const reason = (digest: Digest) => reasonOf(collect(replica.readSignature(digest, new AbortController().signal)));
    expect(await reason(digestOf('blake3', randomBytes(32)))).to.equal('CONTENT_NOT_FOUND');
    // Changed behind the server's back: what is there now is not what was asked for.
    writeFileSync(local('f'), randomBytes(300_000));
    expect(await reason(entry.digest)).to.equal('CONTENT_NOT_FOUND');
  });

  it('copies ranges from a basis, and refuses a basis that is another (E70)', async () => {
    const old = randomBytes(500_000);
    await uploadAll(old);
    await apply(putStored(fileEntry('f', old)));
    const next = Buffer.concat([old.subarray(100_000, 400_000), Buffer.from('new'), old.subarray(0, 1_000)]);
    const basis = { digest: fileEntry('f', old).digest, path: p('f') };
    const upload = await begin(next.length, { basis });
    const copy = (offsetBytes: number, from: number, lengthBytes: number, data = '') =>
      upload.write({
        offsetBytes,
        steps: [{ copyOffsetBytes: from, copyLengthBytes: lengthBytes, zeroBytes: 0, dataBytes: data.length }],
        data: Buffer.from(data),
        decompressedSizeBytes: undefined,
      });
    expect(await reasonOf(copy(0, 499_999, 2))).to.equal('BASIS_MISMATCH');
    await copy(0, 100_000, 300_000, 'new');
    await copy(300_003, 0, 1_000);
    await upload.finish(fileEntry('f', next).digest);
    expect((await apply(putStored(fileEntry('f', next)))).problems).to.deep.equal([]);
    expect(readFileSync(local('f')).equals(next)).to.equal(true);
    expect(await reasonOf(begin(1, { basis }))).to.equal('BASIS_MISMATCH');
  });

  it('knows a content that another file has, after reading it, and only then (E98, E103)', async () => {
    const content = randomBytes(200_000);
    const { digest } = fileEntry('x', content);
    await uploadAll(content);
    await apply(putStored(fileEntry('a', content)));
    const again = await begin(content.length, { digest });
    expect(again).to.include({ complete: true, committedSizeBytes: content.length });
    // Nothing more is needed of it; what comes all the same counts as there.
    expect(
      await again.write({ offsetBytes: 0, steps: undefined, data: content, decompressedSizeBytes: undefined }),
    ).to.equal(content.length);
    await again.finish(digest);
    await again.suspend();
    expect((await apply(putStored(fileEntry('b', content)), remove('b'))).problems).to.deep.equal([]);
    const { mtime, atime } = statSync(local('a'));
    writeFileSync(local('a'), randomBytes(200_000));
    utimesSync(local('a'), atime, mtime);
    expect(await begin(content.length, { digest })).to.include({ complete: false, committedSizeBytes: 0 });
  });

  it('streams what is applied, from a revision on (E112)', async () => {
    await apply(mkdir('d'), put('d/a', '1'));
    const { epoch } = replica.info();
    const stop = new AbortController();
    const seen: RevisionChanges[] = [];
    const watching = (async () => {
      for await (const item of replica.watchChanges({ epoch, revision: 0n }, stop.signal)) seen.push(item);
    })();
    await eventually(() => seen.length === 2);
    await apply(move('d/a', 'b'), remove('d'));
    await eventually(() => seen.length === 3);
    stop.abort();
    await watching;
    expect(seen.map(({ revision }) => revision)).to.deep.equal([0n, 1n, 2n]);
    expect(seen[2]?.changes).to.deep.equal([
      { operation: 'move', from: 'd/a', entry: fileEntry('b', '1') },
      { operation: 'delete', path: 'd' },
    ]);
    const never = new AbortController().signal;
    expect(await reasonOf(collect(replica.watchChanges({ epoch: 'other', revision: 0n }, never)))).to.equal(
      'COMPACTED',
    );
    expect(await reasonOf(collect(replica.watchChanges({ epoch, revision: 99n }, never)))).to.equal('COMPACTED');
  });

  it('tells of drift that the background pass finds, and corrects the index (E94)', async () => {
    await apply(mkdir('d'), put('d/a', '1'), put('b', '2'));
    await replica.close();
    await open({ driftIntervalMs: 20 });
    const told: TreePath[] = [];
    const end = replica.onDrift((paths) => told.push(...paths));
    appendFileSync(local('d/a'), 'foreign');
    rmSync(local('b'));
    await eventually(() => told.includes(p('d')) && told.includes(ROOT));
    end();
    expect(replica.info().headRevision > 1n).to.equal(true);
    expect(replica.info().headBatchId).to.have.length(0);
    expect(await replica.getEntry(p('b'))).to.equal(undefined);
    expect(await replica.getEntry(p('d/a'))).to.deep.include({ sizeBytes: 8 });
  });

  it('verifies contents and repairs the index (E98)', async () => {
    const content = randomBytes(5_000);
    await apply(mkdir('d'), put('d/a', content), put('d/b', '2'), put('c', '3'));
    const verify = async (path: string, repair = false): Promise<VerifyItem[]> =>
      (await collect(replica.verify({ path: p(path), repair }, new AbortController().signal))).filter(
        ({ type }) => type !== 'progress',
      );
    expect(await verify('')).to.deep.equal([
      { type: 'summary', counts: { entries: 4, contentBytes: 5_002, mismatches: 0, revision: 1n } },
    ]);
    const stat = statSync(local('d/a'));
    execFileSync('sh', [
      '-c',
      'printf X | dd of="$0" conv=notrunc bs=1 seek=10 2>/dev/null && touch -d "$1" "$0"',
      local('d/a'),
      stat.mtime.toISOString(),
    ]);
    rmSync(local('d/b'));
    writeFileSync(local('extra'), '');
    execFileSync('chmod', ['600', local('c')]);
    const found = (await verify('')).flatMap((item) => (item.type === 'mismatch' ? [`${item.kind} ${item.path}`] : []));
    expect(found.filter((line) => !line.startsWith('metadata d')).sort()).to.deep.equal([
      'content d/a',
      'extra extra',
      'metadata c',
      'missing d/b',
    ]);
    await verify('', true);
    expect((await verify('')).at(-1)).to.deep.include({ type: 'summary' });
    expect((await verify('')).filter(({ type }) => type === 'mismatch')).to.deep.equal([]);
    expect(await replica.getEntry(p('d/b'))).to.equal(undefined);
    expect((await verify('c')).length).to.equal(1);
  });

  it('rebuilds a missing or damaged index from the replica, with a new epoch (E55, E91)', async () => {
    await apply(mkdir('d'), put('d/a', '1'), put('b', '2'));
    const before = { digest: await replica.rootTreeDigest(), epoch: replica.info().epoch };
    for (const damage of [
      () => rmSync(local('.lockstep/index.db')),
      () => truncateSync(local('.lockstep/index.db'), 5_000),
    ]) {
      await replica.close();
      damage();
      await open();
      expect(replica.info().epoch).not.to.equal(before.epoch);
      expect(replica.info().entries).to.equal(3);
      await apply(put('d/a', '1'), put('b', '2'));
    }
    expect(readFileSync(local('d/a'), 'utf8')).to.equal('1');
  });

  it('empties the trash and forgets contents that nobody wanted', async () => {
    await apply(mkdir('d'), mkdir('d/e', 0o555), put('d/a', '1'));
    await uploadAll(randomBytes(10));
    await apply(remove('d'));
    const staged = (prefix: string): boolean =>
      readdirSync(local('.lockstep/staging')).some((name) => name.startsWith(prefix));
    await eventually(() => !staged('t-'));
    expect(staged('c-')).to.equal(true);
    await replica.close();
    const { DEFAULT_REPLICA_LIMITS } = await import('../../../services/sync-server/replica/replica-options.ts');
    await open({ limits: { ...DEFAULT_REPLICA_LIMITS, stagedContentTtlMs: 1 } });
    await eventually(() => !staged('c-'));
  });

  it('keeps index and log elsewhere, and staging in the replica (E83)', async () => {
    await replica.close();
    const state = temporaryDirectory('/dev/shm');
    await open({ stateDirectory: state });
    await apply(put('a', '1'));
    expect(existsSync(join(state, 'index.db'))).to.equal(true);
    expect(existsSync(local('.lockstep/staging'))).to.equal(true);
    await replica.close();
    await open({ stateDirectory: state });
    expect(replica.info().entries).to.equal(1);
    await replica.close();
    removeDirectory(state);
  });

  it('drains: what was asked is answered, later calls are sent away (E116)', async () => {
    const answers = [apply(put('a', '1')), apply(put('b', '1'))];
    await replica.close();
    expect((await Promise.all(answers)).map(({ revision }) => revision)).to.deep.equal([1n, 2n]);
    expect(await reasonOf(apply(put('c', '1')))).to.equal('DRAINING');
  });
});
