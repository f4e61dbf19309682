import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { Log } from '../../../services/sync-server/replica/log.ts';
import type { LogRecord } from '../../../services/sync-server/replica/log-record.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { linesOf, mkdir, p, put, removeDirectory, temporaryDirectory, TestReplica, treeOf } from './support.ts';

const records: readonly LogRecord[] = [
  { type: 'batch', revision: 1n, lease: 1n, timeNs: -5n, form: 'batch', refused: [], encoded: Buffer.from('first') },
  {
    type: 'batch',
    revision: 2n,
    lease: 1n,
    timeNs: 2n,
    form: 'compressed',
    refused: [{ index: 3, kind: 'invalid', path: p('\xff'), reason: 'R', message: 'm' }],
    encoded: Buffer.alloc(0),
  },
  { type: 'outcome', revision: 2n, failed: [{ index: 1, kind: 'failed', path: p('a'), reason: 'IO', message: 'm' }] },
  { type: 'drift', revision: 3n, timeNs: 9n, paths: [p('a'), p('\xfe/b')] },
  { type: 'drift', revision: 4n, timeNs: 9n, paths: [] },
];

describe('the log', () => {
  let directory: string;
  const segment = (): string => join(directory, '00000001.log');
  const write = (some: readonly LogRecord[]): void => {
    const log = Log.open(directory);
    for (const record of some) log.append(record);
    log.write();
    log.sync();
    log.close();
  };
  const read = (): { records: LogRecord[]; isDamaged: boolean; tornBytes: number } => {
    const log = Log.open(directory);
    const found = [...log.records()];
    log.close();
    return { records: found, ...log.findings };
  };

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
  });

  afterEach(() => removeDirectory(directory));

  it('gives back what was written, over several openings and segments', () => {
    write(records.slice(0, 2));
    const log = Log.open(directory);
    const next = log.rotate();
    for (const record of records.slice(2)) log.append(record);
    log.write();
    log.close();
    expect(read()).to.deep.equal({ records, isDamaged: false, tornBytes: 0 });
    const again = Log.open(directory);
    again.removeBefore(next);
    again.close();
    expect(read().records).to.deep.equal(records.slice(2));
  });

  it('cuts a tail torn at any byte back to the last whole record (E90)', () => {
    write(records.slice(0, 1));
    const whole = readFileSync(segment()).length;
    write(records.slice(1, 2));
    const bytes = readFileSync(segment());
    for (let length = whole; length < bytes.length; length++) {
      writeFileSync(segment(), bytes.subarray(0, length));
      expect(read()).to.deep.equal({ records: records.slice(0, 1), isDamaged: false, tornBytes: length - whole });
      expect(readFileSync(segment()).length).to.equal(whole);
    }
  });

  it('treats zeros and garbage behind the last record as a torn tail', () => {
    write(records.slice(0, 1));
    for (const garbage of [Buffer.alloc(4096), Buffer.alloc(100, 'x')]) {
      appendFileSync(segment(), garbage);
      expect(read()).to.deep.include({ isDamaged: false, tornBytes: garbage.length });
    }
  });

  it('finds any flipped bit before the last record, keeps what is valid, sets the rest aside (E91)', () => {
    write(records);
    const bytes = readFileSync(segment());
    write([]);
    const lastStart = bytes.length - 36;
    for (let at = 0; at < lastStart; at++) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(segment(), flipped);
      const found = read();
      expect(found.isDamaged, `bit in byte ${at}`).to.equal(true);
      expect(records.slice(0, found.records.length)).to.deep.equal(found.records);
      expect(existsSync(`${segment()}.damaged`)).to.equal(true);
      rmSync(`${segment()}.damaged`);
    }
  });

  it('gives up its reserve on a full disk, and says so when that is not enough (E88)', () => {
    const log = Log.open(directory);
    const reserve = join(directory, 'reserve');
    const append = (record: LogRecord | undefined): void => {
      if (record !== undefined) log.append(record);
      log.write();
    };
    append(undefined);
    {
      using _ = failingCalls('writevSync', 'ENOSPC', (number) => number === 1);
      append(records[0]);
    }
    expect(existsSync(reserve)).to.equal(false);
    {
      using _ = failingCalls('writevSync', 'ENOSPC');
      expect(() => append(records[1]))
        .to.throw(LockstepError)
        .with.property('reason', 'NO_SPACE');
      log.removeBefore(log.rotate());
    }
    expect(existsSync(reserve)).to.equal(true);
    {
      using _ = failingCalls('writevSync', 'ENOSPC');
      expect(() => append(records[1])).to.throw(LockstepError);
    }
    append(records[3]);
    log.close();
    log.close();
    expect(read().records).to.deep.equal([records[3]]);
  });

  it('has no reserve where there is no room for one, and fails only then', () => {
    {
      using _ = failingCalls('renameSync', 'ENOSPC');
      Log.open(directory).close();
    }
    expect(existsSync(join(directory, 'reserve'))).to.equal(false);
    const log = Log.open(directory);
    rmSync(join(directory, 'reserve'));
    using _ = failingCalls('writevSync', 'ENOSPC');
    log.append(records[0]!);
    expect(() => log.write())
      .to.throw(LockstepError)
      .with.property('reason', 'NO_SPACE');
    log.close();
  });

  it('takes nothing more when it cannot take back half of a write', () => {
    const log = Log.open(directory);
    {
      using _write = failingCalls('writevSync', 'EIO');
      using _cut = failingCalls('ftruncateSync', 'EIO');
      log.append(records[0]!);
      expect(() => log.write()).to.throw(LockstepError);
    }
    log.append(records[0]!);
    expect(() => log.write()).to.throw(LockstepError, 'cut back');
    expect(() => log.sync()).to.throw(LockstepError, 'cut back');
    log.close();
  });

  it('writes anew what a failed sync may have lost, as often as it takes (E86)', () => {
    const log = Log.open(directory);
    const append = (record: LogRecord | undefined): void => {
      if (record !== undefined) log.append(record);
      log.write();
    };
    append(records[0]);
    log.sync();
    append(records[1]);
    {
      using _ = failingCalls('fdatasyncSync', 'EIO');
      expect(() => log.sync()).to.throw(LockstepError, 'syncing the log failed (EIO)');
    }
    // Syncing again could succeed, and say nothing.
    expect(() => log.sync()).to.throw(LockstepError, 'syncing the log failed (EIO)');
    for (const name of ['readFileSync', 'fdatasyncSync', 'ftruncateSync', 'renameSync'] as const) {
      using _ = failingCalls(name, 'EIO');
      expect(() => log.mend(), name).to.throw(LockstepError);
    }
    expect(existsSync(join(directory, '00000002.log'))).to.equal(false);
    log.mend();
    log.mend();
    append(records[2]);
    log.sync();
    log.close();
    expect(read()).to.deep.equal({ records: records.slice(0, 3), isDamaged: false, tornBytes: 0 });
  });

  it('makes do with a file system that has no fdatasync', () => {
    using _ = failingCalls('fdatasyncSync', 'EINVAL');
    write(records);
    expect(read().records).to.deep.equal(records);
  });

  it('goes on in its segment when a new one cannot be made durable, whatever is opened meanwhile (F38)', () => {
    const log = Log.open(directory);
    log.append(records[0] as LogRecord);
    log.write();
    {
      using _ = failingCalls('fsyncSync', 'EIO', (_number, [fd]) => fstatSync(fd as number).isDirectory());
      expect(() => log.rotate()).to.throw(/EIO/);
    }
    const other = openSync(join(directory, 'other'), 'w');
    log.append(records[1] as LogRecord);
    log.write();
    log.sync();
    log.rotate();
    expect(fstatSync(other).size).to.equal(0);
    closeSync(other);
    log.close();
    expect(read()).to.deep.equal({ records: records.slice(0, 2), isDamaged: false, tornBytes: 0 });
  });

  it('sets all segments behind a damaged one aside (E91)', () => {
    const log = Log.open(directory);
    for (const record of records) {
      log.append(record);
      log.write();
      log.rotate();
    }
    log.close();
    writeFileSync(join(directory, '00000002.log'), 'garbage');
    expect(read()).to.deep.include({ records: records.slice(0, 1), isDamaged: true });
    const damaged = readdirSync(directory).filter((name) => name.endsWith('.damaged'));
    expect(damaged).to.have.length(5);
    expect(readFileSync(join(directory, '00000002.log.damaged'), 'utf8')).to.equal('garbage');
    expect(existsSync(join(directory, '00000003.log'))).to.equal(false);
  });

  it('notices a missing segment', () => {
    write(records.slice(0, 1));
    let log = Log.open(directory);
    log.rotate();
    log.append({ type: 'drift', revision: 2n, timeNs: 0n, paths: [] });
    log.write();
    log.rotate();
    log.append({ type: 'drift', revision: 3n, timeNs: 0n, paths: [] });
    log.write();
    log.close();
    rmSync(join(directory, '00000002.log'));
    log = Log.open(directory);
    expect(log.findings.isDamaged).to.equal(true);
    expect([...log.records()]).to.have.length(1);
    log.close();
  });
});

describe('a replica whose log is damaged', () => {
  it('keeps what is on the disk, begins a new epoch, and goes on (E91)', () => {
    const directory = temporaryDirectory('/dev/shm');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(mkdir('d'), put('d/a', '1'));
      replica.applyAll(put('d/b', '2'));
      replica.applyAll(put('d/c', '3'));
      const { epoch } = replica.core.state;
      replica.close();
      const logs = join(directory, '.lockstep/log');
      const file = join(logs, readdirSync(logs)[0] ?? '');
      const bytes = readFileSync(file);
      bytes[40] = (bytes[40] ?? 0) ^ 1;
      writeFileSync(file, bytes);
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(replica.core.state.epoch).not.to.equal(epoch);
      expect([...treeOf(directory).keys()]).to.deep.equal(['d', 'd/a', 'd/b', 'd/c']);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.applyAll(put('d/d', '4'));
      replica.close();
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(false);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('notices that the log lost records which the disk has followed already', () => {
    const directory = temporaryDirectory('/dev/shm');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'));
      replica.close();
      const state = join(directory, '.lockstep');
      const saved = temporaryDirectory('/dev/shm');
      for (const name of readdirSync(state))
        if (name.startsWith('index.db')) writeFileSync(join(saved, name), readFileSync(join(state, name)));
      replica = TestReplica.open(directory);
      replica.applyAll(put('b', '2'));
      replica.apply([{ operation: { $case: 'delete', value: { path: 'a' } } }]);
      replica.close();
      for (const name of readdirSync(state)) if (name.startsWith('index.db')) rmSync(join(state, name));
      for (const name of readdirSync(saved)) writeFileSync(join(state, name), readFileSync(join(saved, name)));
      const logs = join(state, 'log');
      truncateSync(join(logs, readdirSync(logs)[0] ?? ''), 0);
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect([...treeOf(directory).keys()]).to.deep.equal(['b']);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.close();
      removeDirectory(saved);
    } finally {
      removeDirectory(directory);
    }
  });
});
