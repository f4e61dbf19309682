/**
 * What the applier does with owners. Only root may give files away, so the tests of that need it.
 */
import { lchownSync, linkSync, lstatSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { Accounts } from '../../../common/fs/accounts.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import type { Owner } from '../../../common/tree/owner.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { ContentService } from '../../../services/sync-server/replica/content-service.ts';
import { decodeRevision, encodeRevision } from '../../../services/sync-server/replica/feed-codec.ts';
import { verificationPage } from '../../../services/sync-server/replica/index-queries.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import type { CoreOptions } from '../../../services/sync-server/replica/replica-core.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import {
  fileEntry,
  metadata,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  settingsFor,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  withOwner,
} from './support.ts';

const ANN: Owner = { uid: 1001, gid: 1002, user: '', group: '' };
/** With the group that the server's own files have. */
const ANN_ALONE: Owner = { ...ANN, gid: 0 };
const BOB: Owner = { uid: 2001, gid: 2002, user: '', group: '' };
const KEEPS = { keepsOwners: true } as const;

describe('a replica that keeps owners', () => {
  let directory: string;
  let replica: TestReplica;

  beforeEach(function () {
    if (process.geteuid?.() !== 0) skipBecause(this, 'only root may give files to others');
    directory = temporaryDirectory();
    replica = TestReplica.open(directory, {}, KEEPS);
  });

  afterEach(() => {
    replica.close();
    removeDirectory(directory);
  });

  const local = (path: string): string => join(directory, path);
  const ownerOf = (path: string): string => {
    const { uid, gid } = lstatSync(local(path));
    return `${uid}:${gid}`;
  };
  const idsOf = ({ uid, gid }: Owner) => `${uid}:${gid}`;
  const remembered = (path: string): Owner | undefined => replica.core.index.get(p(path))?.owner;
  /** Entries whose owner on the disk is not the one that the index has. */
  const wrong = (): string[] =>
    replica.indexEntries().flatMap(({ path, owner }: Entry) => {
      const wanted = owner === undefined ? '0:0' : idsOf(owner);
      return ownerOf(path) === wanted ? [] : [`${path}: ${ownerOf(path)}, not ${wanted}`];
    });
  const reopen = (options: Partial<CoreOptions> = {}): TestReplica => {
    replica.close();
    replica = TestReplica.open(directory, options, KEEPS);
    return replica;
  };

  it('gives what it makes to its owner, before it can be seen', () => {
    const seen: string[] = [];
    const staging = local('.lockstep/staging');
    const crashPoint = (step: string) => {
      if (step !== 'before install') return;
      for (const name of readdirSync(staging)) {
        const { uid, gid } = lstatSync(join(staging, name));
        if (name.startsWith('b-')) seen.push(`${uid}:${gid}`);
      }
    };
    reopen({ crashPoint });
    replica.applyAll(withOwner(put('file', 'content'), ANN));
    replica.applyAll(withOwner(mkdir('dir', 0o500), BOB));
    replica.applyAll(withOwner(symlink('link', 'file'), ANN));
    expect(seen).to.deep.equal([idsOf(ANN), idsOf(BOB), idsOf(ANN)]);
    replica.applyAll(withOwner(mkdir('new', 0o500), ANN), withOwner(put('new/inside', 'x', 0o400), BOB));
    expect(wrong()).to.deep.equal([]);
    expect(replica.lookThrough()).to.deep.equal([]);
  });

  it('changes owners without touching contents, and forgets those that come without', () => {
    replica.applyAll(withOwner(put('file', 'content', 0o640), ANN), withOwner(mkdir('dir'), ANN));
    const { ino } = lstatSync(local('file'));
    replica.applyAll(
      withOwner(metadata('file', 'file', 0o604, T0), BOB),
      withOwner(metadata('dir', 'directory', 0o711, T0), BOB),
    );
    expect(lstatSync(local('file')).ino).to.equal(ino);
    expect(lstatSync(local('file')).mode & 0o777).to.equal(0o604);
    expect(wrong()).to.deep.equal([]);
    replica.applyAll(metadata('file', 'file', 0o604, T0));
    expect(remembered('file')).to.equal(undefined);
    expect(ownerOf('file')).to.equal(idsOf(BOB));
    replica.applyAll(put('file', 'another'));
    expect(ownerOf('file')).to.equal('0:0');
  });

  it('prefers names of this system to numbers', () => {
    const files = { users: join(directory, '.lockstep/users'), groups: join(directory, '.lockstep/groups') };
    writeFileSync(files.users, 'ann:x:3001:3001:::\n');
    writeFileSync(files.groups, 'staff:x:3002:\n');
    reopen({ accounts: new Accounts(files) });
    replica.applyAll(withOwner(put('known', ''), { ...ANN, user: 'ann', group: 'staff' }));
    replica.applyAll(withOwner(put('half', ''), { ...ANN, user: 'ann', group: 'nobody-here' }));
    expect([ownerOf('known'), ownerOf('half')]).to.deep.equal(['3001:3002', '3001:1002']);
    expect(remembered('known')).to.deep.equal({ ...ANN, user: 'ann', group: 'staff' });
    expect(replica.lookThrough()).to.deep.equal([]);
  });

  it('finds owners that were changed behind its back, and only where one was asked for', () => {
    replica.applyAll(
      withOwner(put('file', ''), ANN),
      withOwner(mkdir('dir'), ANN),
      withOwner(symlink('link', 'x'), ANN),
    );
    replica.applyAll(put('unowned', ''));
    for (const name of ['file', 'dir', 'link', 'unowned']) lchownSync(local(name), 2001, 1002);
    expect([...replica.lookThrough()].sort()).to.deep.equal(['dir', 'file', 'link']);
    expect(remembered('file')).to.deep.equal({ uid: 2001, gid: 1002, user: '', group: '' });
    expect(remembered('unowned')).to.equal(undefined);
    expect(replica.lookThrough()).to.deep.equal([]);
  });

  it('gives nothing away that was put in the place of what it knows', () => {
    replica.applyAll(withOwner(put('file', 'same'), ANN));
    const victim = local('.lockstep/victim');
    writeFileSync(victim, 'same');
    rmSync(local('file'));
    linkSync(victim, local('file'));
    const { problems } = replica.apply([withOwner(metadata('file', 'file', 0o644, T0), BOB)]);
    expect(problems.map(({ kind }) => kind)).to.deep.equal(['drifted']);
    expect(lstatSync(victim).uid).to.equal(0);
  });

  it('remembers owners where they are not kept, and leaves it at that', async () => {
    replica.close();
    replica = TestReplica.open(directory);
    replica.applyAll(withOwner(put('file', ''), ANN), withOwner(mkdir('dir'), ANN));
    expect(remembered('file')).to.deep.equal(ANN);
    expect([ownerOf('file'), ownerOf('dir')]).to.deep.equal(['0:0', '0:0']);
    expect(replica.lookThrough()).to.deep.equal([]);
    await replica.checkpoint();
    replica.close();
    replica = TestReplica.open(directory, {}, KEEPS);
    // What was asked for is not what the disk has: the watcher is to ask once more.
    expect([...replica.drifted].sort()).to.deep.equal(['dir', 'file']);
  });

  it('comes to the owners of the old or the new state after a crash at every step (E92)', () => {
    const changes: Change[] = [
      withOwner(put('a', 'one'), BOB),
      withOwner(mkdir('d', 0o500), ANN),
      withOwner(put('d/f', 'two'), BOB),
      withOwner(metadata('b', 'file', 0o600, T0), ANN),
      move('c', 'd/moved'),
      withOwner(symlink('l', 'a'), BOB),
      withOwner(metadata('e', 'directory', 0o700, T0), BOB),
      remove('gone'),
    ];
    for (let step = 0, isOver = false; !isOver; step++) {
      replica.close();
      removeDirectory(directory);
      directory = temporaryDirectory();
      replica = TestReplica.open(directory, {}, KEEPS);
      replica.applyAll(...['a', 'b', 'c', 'gone'].map((name) => withOwner(put(name, name), ANN)));
      replica.applyAll(withOwner(mkdir('e'), ANN));
      let left = Number.POSITIVE_INFINITY;
      reopen({
        crashPoint: () => {
          if (left-- === 0) throw new Error('crash');
        },
      });
      left = step;
      try {
        replica.applyAll(...changes);
        isOver = true;
      } catch (error) {
        if (!(error instanceof Error) || error.message !== 'crash') throw error;
      }
      reopen();
      expect(wrong(), `crash at step ${step}`).to.deep.equal([]);
      expect(replica.drifted, `crash at step ${step}`).to.deep.equal([]);
    }
  });

  it('has for any changes, with restarts between them, the owners that were asked for last', () => {
    const names = ['a', 'b', 'd', 'd/a', 'd/b'];
    const owner = fc.constantFrom(ANN, BOB, { ...ANN, gid: 0 }, undefined);
    const owned = (change: Change, whose: Owner | undefined) =>
      whose === undefined ? change : withOwner(change, whose);
    const change = fc.oneof(
      fc
        .record({ name: fc.constantFrom(...names), whose: owner, text: fc.string({ maxLength: 3 }) })
        .map((made) => owned(put(made.name, made.text), made.whose)),
      fc.record({ name: fc.constantFrom(...names), whose: owner }).map(({ name, whose }) => owned(mkdir(name), whose)),
      fc
        .record({ name: fc.constantFrom(...names), whose: owner })
        .map(({ name, whose }) => owned(symlink(name, 'x'), whose)),
      fc
        .record({ name: fc.constantFrom(...names), whose: owner })
        .map(({ name, whose }) => owned(metadata(name, 'file', 0o600, T0), whose ?? ANN)),
      fc
        .record({ from: fc.constantFrom(...names), to: fc.constantFrom(...names) })
        .map(({ from, to }) => move(from, to)),
      fc.constantFrom(...names).map(remove),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.array(change, { maxLength: 4 }), fc.boolean()), { maxLength: 5 }), (batches) => {
        replica.applyAll(...names.filter((name) => !name.includes('/')).map(remove));
        for (const [changes, restarts] of batches) {
          replica.apply(changes);
          if (restarts) expect(reopen().drifted).to.deep.equal([]);
          // One that comes without an owner leaves whoever the disk has.
          expect(wrong().filter((line) => !line.endsWith('0:0'))).to.deep.equal([]);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('gives nothing away that is put there in this very moment', () => {
    replica.applyAll(withOwner(put('file', 'content'), ANN), put('other', 'content'));
    {
      using _ = failingCalls('chmodSync', 'EIO', () => {
        renameSync(local('other'), local('file'));
        return false;
      });
      const { problems } = replica.apply([withOwner(metadata('file', 'file', 0o600, T0), BOB)]);
      expect(problems.map(({ kind }) => kind)).to.deep.equal(['drifted']);
    }
    expect(ownerOf('file')).to.equal('0:0');
    replica.lookThrough();
  });

  it('takes back what an attempt before has given away, and leaves what is to have no owner', () => {
    const content = Buffer.alloc(70_000, 'x');
    const staged = local(`.lockstep/staging/${contentName(fileEntry('', content).digest)}`);
    writeFileSync(staged, content);
    lchownSync(staged, 1001, 1002);
    replica.applyAll(putStored(fileEntry('file', content)), withOwner(mkdir('dir'), ANN));
    expect(ownerOf('file')).to.equal('0:0');
    replica.applyAll(metadata('dir', 'directory', 0o700, T0));
    expect(ownerOf('dir')).to.equal(idsOf(ANN));
    expect(remembered('dir')).to.equal(undefined);
    expect(replica.lookThrough()).to.deep.equal([]);
  });

  it('gives as much as the system permits, tells and counts the rest, and asks for it once (E79)', () => {
    let tries = 0;
    const refuses = (_number: number, [, uid, gid]: readonly unknown[]): boolean =>
      (uid === ANN.uid || gid === BOB.gid) && ++tries > 0;
    using _file = failingCalls('fchownSync', 'EPERM', refuses);
    using _name = failingCalls('chownSync', 'EPERM', refuses);
    replica.applyAll(
      withOwner(put('file', ''), ANN),
      withOwner(mkdir('dir'), ANN),
      withOwner(put('own', ''), ANN_ALONE),
    );
    replica.applyAll(withOwner(put('other', ''), BOB));
    expect(['file', 'dir', 'own', 'other'].map(ownerOf)).to.deep.equal(['0:1002', '0:1002', '0:0', '2001:0']);
    expect(remembered('file')).to.deep.equal(ANN);
    expect(replica.core.owners?.refusals).to.equal(4);
    expect(tries, 'of two files, and on others to try it on').to.equal(4);
    expect(replica.log.warnings.filter((line) => line.includes('to user 1001 (EPERM)'))).to.have.length(1);
    expect(replica.lookThrough(), 'nothing to ask for again').to.deep.equal([]);
  });

  it('calls it a problem of the entry where the system refuses only that (E79)', () => {
    replica.applyAll(put('file', ''));
    {
      using _ = failingCalls('chownSync', 'EPERM');
      const { problems } = replica.apply([withOwner(metadata('file', 'file', 0o644, T0), ANN)]);
      expect(problems.map(({ reason }) => reason)).to.deep.equal(['PERMISSION_DENIED']);
    }
    expect(replica.core.owners?.complaint).to.equal(undefined);
    {
      // Nor does a fault of the moment say anything of what is permitted.
      using _name = failingCalls('chownSync', 'EPERM');
      using _file = failingCalls('fchownSync', 'EIO');
      const { problems } = replica.apply([withOwner(metadata('file', 'file', 0o644, T0), BOB)]);
      expect(problems.map(({ reason }) => reason)).to.deep.equal(['IO']);
    }
    expect(replica.core.owners?.complaint).to.equal(undefined);
    replica.applyAll(withOwner(metadata('file', 'file', 0o644, T0), ANN));
    expect(wrong()).to.deep.equal([]);
  });

  it('shows by its verification who has another owner (E98)', async () => {
    replica.applyAll(withOwner(put('right', ''), ANN), withOwner(put('wrong', ''), ANN), put('unowned', ''));
    for (const name of ['wrong', 'unowned']) lchownSync(local(name), 2001, 1002);
    const content = new ContentService({ settings: settingsFor(directory, KEEPS), logger: replica.log });
    const page = verificationPage(replica.core.index, ROOT, '', 10);
    if (page === undefined) throw new Error('no page');
    const { mismatches } = await content.verifyPage(ROOT, page, undefined);
    expect(mismatches.map(({ kind, message }) => `${kind}: ${message}`)).to.deep.equal([
      'metadata: wrong has another owner than the index says',
    ]);
    await content.close();
  });

  it('tells its feed', () => {
    const entry = { ...fileEntry('file', ''), owner: { ...ANN, user: 'ann' } };
    replica.applyAll(withOwner(put('file', ''), { ...ANN, user: 'ann' }));
    const { state, feed } = replica.core;
    const [told] = feed.read(state.revision - 1n, state.revision);
    expect(told?.changes).to.deep.equal([{ operation: 'put', entry }]);
  });

  it('keeps a feed that has owners and one that has none apart', () => {
    const plain = { operation: 'put', entry: fileEntry('a', 'x') } as const;
    const given = {
      operation: 'metadata',
      entry: { ...fileEntry('b', 'y'), owner: { ...BOB, group: 'staff' } },
    } as const;
    const moved = { operation: 'move', entry: { ...given.entry, path: p('c') }, from: p('b') } as const;
    const revision = { revision: 7n, timeNs: 1n, changes: [plain, given, moved, plain] };
    expect(decodeRevision(encodeRevision(revision), 0)).to.deep.equal(revision);
  });

  it('takes a feed for damaged whose owner is none', () => {
    const change = { operation: 'put', entry: { ...fileEntry('b', 'y'), owner: ANN } } as const;
    const bytes = encodeRevision({ revision: 7n, timeNs: 1n, changes: [change] });
    bytes.writeUInt8(255, bytes.length - 2);
    expect(() => decodeRevision(bytes, 0)).to.throw(LockstepError, 'the change feed is damaged');
  });

  it('follows a file that was swapped with another while it was looked at no further', () => {
    replica.applyAll(withOwner(put('file', 'content'), ANN), put('other', 'content'));
    const parent = replica.core.root.directory(p(''));
    const stat = parent.lstat('file');
    if (stat === undefined) throw new Error('no file');
    renameSync(local('other'), local('file'));
    expect(replica.core.owners?.give(parent, 'file', BOB, stat, 0o644)).to.equal(false);
    expect(ownerOf('file')).to.equal('0:0');
  });
});
