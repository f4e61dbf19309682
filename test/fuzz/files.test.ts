/**
 * Damaged files against their readers: each says what is wrong in its own words, or reads what is left. Nothing crashes,
 * hangs, or writes anywhere but where the file is.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { chunkingParameters } from '../../common/content/chunker.ts';
import { SignatureBuilder } from '../../common/content/signature-builder.ts';
import { decodeSignature, encodeSignature } from '../../common/content/signature-codec.ts';
import { readConfigurationFile } from '../../common/ops/configuration.ts';
import { LockstepError, type Reason } from '../../common/ops/errors.ts';
import { TreeIndex } from '../../common/tree/tree-index.ts';
import { ROOT } from '../../common/tree/tree-path.ts';
import { AuditLog, auditFileIn, verifyAuditLog } from '../../services/sync-server/auth/audit-log.ts';
import { TokenStore } from '../../services/sync-server/auth/token-store.ts';
import { allFolders } from '../../services/sync-server/commands/folders.ts';
import { resolveCommand, serveOptions } from '../../services/sync-server/commands/options.ts';
import { Log } from '../../services/sync-server/replica/log.ts';
import { directory as directoryEntry, file as fileEntry, identity } from '../common/tree/entries.ts';
import { BUDGET_MS, fuzz, PATIENCE_MS, type Random } from './fuzzing.ts';

/** Fails unless it goes well or is refused with one of these reasons. */
function expectRefusal(run: () => void, reasons: readonly Reason[]): void {
  try {
    run();
  } catch (error) {
    if (error instanceof LockstepError && reasons.includes(error.reason)) return;
    throw error;
  }
}

describe('damaged files', function () {
  this.timeout(BUDGET_MS + PATIENCE_MS);
  let base: string;
  let directory: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-fuzz-'));
    directory = mkdtempSync(join(base, 'state-'));
    writeFileSync(join(base, 'sentinel'), 'sentinel');
  });
  afterEach(() => {
    const names = readdirSync(base).filter((name) => !name.startsWith('state-'));
    const sentinel = readFileSync(join(base, 'sentinel'), 'utf8');
    rmSync(base, { recursive: true, force: true });
    expect({ names, sentinel }).to.deep.equal({ names: ['sentinel'], sentinel: 'sentinel' });
  });

  it('the log is cut, or said to be damaged, and takes records again', async () => {
    const whole = logBytes(join(directory, 'whole'));
    await fuzz((random) => {
      const place = join(directory, 'log');
      rmSync(place, { recursive: true, force: true });
      Log.open(place).close();
      writeFileSync(join(place, '00000001.log'), random.mutated(whole));
      expectRefusal(() => readAndAppend(place), ['LOG_DAMAGED', 'IO']);
    });
  });

  it('the index is used whole or called damaged', async () => {
    const options = { digestFunction: 'blake3', indexInodes: true, indexContents: true } as const;
    const path = join(directory, 'index.db');
    const whole = indexBytes(path);
    await fuzz((random) => {
      for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
      writeFileSync(path, mutatedPages(random, whole));
      expectRefusal(() => {
        const index = TreeIndex.open(path, options);
        try {
          for (const entry of index.walk(ROOT)) expect(entry.path).to.be.a('string');
          index.verify();
        } finally {
          index.close();
        }
      }, ['INDEX_DAMAGED']);
    });
  });

  it('a stored signature is refused, or well-formed (S12)', async () => {
    const builder = new SignatureBuilder('blake3', chunkingParameters(256));
    builder.push(Buffer.from(Array.from({ length: 20_000 }, (_, at) => (at * at) % 251)));
    const { signature } = builder.finish();
    if (signature === undefined) throw new Error('a content of this length has a signature');
    const whole = encodeSignature(signature);
    await fuzz((random) => {
      expectRefusal(() => {
        const decoded = decodeSignature(random.mutated(whole));
        expect(encodeSignature(decoded).length).to.be.at.most(whole.length * 20);
      }, ['INVALID_ARGUMENT']);
    });
  });

  it('a configuration file is understood, or named with what is wrong', async () => {
    const path = join(directory, 'server.toml');
    const text =
      'listen = "127.0.0.1:0"\nhttp = "off"\ninsecure = true\n[[folder]]\nname = "a"\ndir = "b"\nstate = "c"\n';
    const words = [
      '[',
      ']]',
      '=',
      '"',
      '\n',
      '.',
      '{',
      "'''",
      '1979-05-27',
      '__proto__',
      'dir',
      '0x',
      '\\u0000',
      '#',
      'inf',
    ];
    await fuzz((random) => {
      const extra = Array.from({ length: random.below(20) }, () => random.pick(words)).join('');
      writeFileSync(path, random.mutated(Buffer.from(random.below(2) === 0 ? text : text + extra)));
      expectRefusal(() => {
        const context = { environment: {}, version: '', openFolder: () => Promise.reject(new Error('not opened')) };
        readConfigurationFile(path);
        const { values, file } = resolveCommand(serveOptions, { config: path }, context);
        allFolders(values, file);
      }, ['USAGE']);
      expect(({} as Record<string, unknown>)['dir']).to.equal(undefined);
    });
  });

  it('a damaged token file opens nothing (S16)', async () => {
    const store = new TokenStore(directory);
    const { text, record } = store.create({ folder: 'f', scope: 'read', label: 'l', expiresInMs: 1000 });
    const path = join(directory, 'tokens', `${record.id}.json`);
    const whole = readFileSync(path);
    await fuzz((random) => {
      const [, id = ''] = text.split('_');
      const other = `lockstep_${id}_${'0'.repeat(72)}`;
      writeFileSync(path, random.mutated(whole));
      expectRefusal(() => {
        const found = new TokenStore(directory);
        found.list();
        expect(found.isInUse()).to.equal(true);
        expectRefusal(() => expect(found.find(other)).to.equal(undefined), ['UNAUTHENTICATED', 'IO']);
      }, ['IO']);
    });
  });

  it('a changed audit log is verified to its damage, and never holds with fewer lines than it says (S37)', async () => {
    const log = new AuditLog(directory);
    for (let count = 0; count < 20; count++) {
      log.append({ who: `w${count}`, from: 'f', folder: 'x', what: 'token-created', result: 'ok' });
    }
    const path = auditFileIn(directory);
    const whole = readFileSync(path);
    const { newestDigest } = verifyAuditLog(directory);
    await fuzz((random) => {
      const bytes = random.mutated(whole);
      writeFileSync(path, bytes);
      const found = verifyAuditLog(directory);
      const isWhole = found.damage === undefined && found.newestDigest === newestDigest;
      if (isWhole) expect(bytes.equals(whole)).to.equal(true);
      log.append({ who: 'w', from: 'f', folder: 'x', what: 'token-created', result: 'ok' });
    });
    log.close();
  });
});

function logBytes(place: string): Buffer {
  const log = Log.open(place);
  for (let count = 1n; count < 20n; count++) {
    const encoded = Buffer.from(`batch ${count}`.repeat(10));
    log.append({ type: 'batch', revision: count, lease: 1n, timeNs: count, form: 'batch', refused: [], encoded });
  }
  log.write();
  log.close();
  return readFileSync(join(place, '00000001.log'));
}

function readAndAppend(place: string): void {
  const log = Log.open(place);
  try {
    const before = [...log.records()].length;
    expect(before).to.be.at.most(100);
    log.append({ type: 'drift', revision: 99n, timeNs: 1n, paths: [] });
    log.write();
  } finally {
    log.close();
  }
}

function indexBytes(path: string): Buffer {
  const index = TreeIndex.create(path, { digestFunction: 'blake3', indexInodes: true, indexContents: true });
  index.transaction(() => {
    for (let name = 0; name < 20; name++) {
      index.put(directoryEntry(`d${name}`), undefined);
      for (let child = 0; child < 20; child++) {
        index.put(fileEntry(`d${name}/${child}`, `${name}.${child}`), identity(BigInt(name * 20 + child)));
      }
    }
    index.treeDigest(ROOT);
  });
  index.close();
  return readFileSync(path);
}

/** Mostly keeps the pages where they are: a shifted file is refused by its header already. */
function mutatedPages(random: Random, whole: Buffer): Buffer {
  if (random.below(10) === 0) return random.mutated(whole);
  const bytes = Buffer.from(whole);
  for (let changes = 1 + random.below(20); changes > 0; changes--)
    bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
}
