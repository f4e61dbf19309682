import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { toSystemName } from '../../../common/fs/system-name.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import type { CoreOptions } from '../../../services/sync-server/replica/replica-core.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { decomposingNames, foldingNames } from '../../support/folding-names.ts';
import {
  linesOf,
  mkdir,
  move,
  p,
  put,
  remove,
  removeDirectory,
  symlink,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

const FOLDING = { way: { paths: foldingNames } } as const;

class Crash extends Error {}

describe('a replica whose file system folds names', () => {
  let directory: string;
  let replica: TestReplica;

  beforeEach(() => {
    directory = temporaryDirectory();
    replica = TestReplica.open(directory, FOLDING);
  });
  afterEach(() => {
    replica.close();
    removeDirectory(directory);
  });

  const read = (path: string) => readFileSync(join(directory, path), 'utf8');
  const names = (path = '.') =>
    readdirSync(join(directory, path))
      .filter((name) => name !== '.lockstep')
      .sort();

  /** The only problem of the batch, with the path that it is about. */
  function clashOf(...changes: Change[]): Record<string, unknown> {
    const { problems } = replica.apply(changes);
    expect(problems).to.have.length(1);
    const [{ kind, reason, path, message } = problems[0] as never] = problems;
    expect([kind, reason], message).to.deep.equal(['failed', 'NAME_CLASH']);
    return { path, message };
  }

  /** Index and disk agree, now and after somebody has looked through all of it. */
  function expectAgreement(): void {
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    expect(replica.lookThrough()).to.deep.equal([]);
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
  }

  it('knows that it does, and one that does not is not asked again', () => {
    expect(replica.core.folding.isFolding).to.equal(true);
    const plain = temporaryDirectory();
    const other = TestReplica.open(plain);
    expect(other.core.folding.isFolding).to.equal(false);
    expect(other.apply([put('A', '1'), put('a', '2')]).problems).to.deep.equal([]);
    other.core.folding.assertFree(other.core.root.directory(ROOT), p('B'), 'a');
    other.close();
    removeDirectory(plain);
    expect(replica.stagedNames()).to.deep.equal([]);
  });

  it('reports the second spelling with both names, and leaves the first alone (E08)', () => {
    replica.applyAll(put('Name', 'first'));
    expect(clashOf(put('name', 'second'))).to.deep.equal({
      path: 'name',
      message:
        "name has the place of Name on the replica's file system, which takes the two names for one; rename one of them",
    });
    expect([names(), read('Name')]).to.deep.equal([['Name'], 'first']);
    expectAgreement();
  });

  it('reports it when both come at once, also into a directory that comes with them (E08)', () => {
    expect(clashOf(put('A', 'first'), put('a', 'second'), put('b', 'goes on'))['path']).to.equal('a');
    expect(clashOf(mkdir('new'), put('new/A', 'first'), put('new/a', 'second'))['path']).to.equal('new/a');
    expect([names(), names('new'), read('A'), read('new/A')]).to.deep.equal([
      ['A', 'b', 'new'],
      ['A'],
      'first',
      'first',
    ]);
    expectAgreement();
  });

  it('takes twins of Unicode for one name, and says so (E07, E08)', () => {
    const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'].map((text) => Buffer.from(text).toString('latin1'));
    replica.applyAll(put(composed ?? '', 'first'));
    expect(clashOf(put(decomposed ?? '', 'second'))['path']).to.equal(decomposed);
    expect([names(), read('caf\u00e9')]).to.deep.equal([['caf\u00e9'], 'first']);
    expectAgreement();
  });

  it('never puts what belongs into one directory into the other (E08)', () => {
    replica.applyAll(mkdir('Dir'), put('Dir/own', 'own'));
    const { problems } = replica.apply([mkdir('dir'), put('dir/x', 'x'), symlink('dir/l', 'x'), mkdir('dir/sub')]);
    expect(problems.map(({ reason, path }) => `${reason} ${path}`)).to.deep.equal([
      'NAME_CLASH dir',
      'NAME_CLASH dir/x',
      'NAME_CLASH dir/l',
      'NAME_CLASH dir/sub',
    ]);
    expect([names(), names('Dir')]).to.deep.equal([['Dir'], ['own']]);
    expectAgreement();
  });

  it('reports it of links and moves, which leave what they would have moved (E08)', () => {
    replica.applyAll(put('A', 'first'), put('b', 'moved'), mkdir('D'), mkdir('e'), put('e/x', 'x'));
    expect(clashOf(symlink('a', 'b'))['path']).to.equal('a');
    expect(clashOf(move('b', 'a'))['path']).to.equal('a');
    expect(clashOf(move('e', 'd'))['path']).to.equal('d');
    expect([names(), read('A'), read('b'), read('e/x')]).to.deep.equal([['A', 'D', 'b', 'e'], 'first', 'moved', 'x']);
    expectAgreement();
  });

  it('deletes nothing by another spelling', () => {
    replica.applyAll(put('A', 'first'), mkdir('D'));
    replica.apply([remove('a'), remove('d')]);
    expect(names()).to.deep.equal(['A', 'D']);
    expectAgreement();
  });

  it('takes the second when the first has gone, and writes the first anew meanwhile', () => {
    replica.applyAll(put('A', 'first'));
    clashOf(put('a', 'second'));
    replica.applyAll(put('A', 'first, longer'));
    replica.applyAll(remove('A'), put('a', 'second'));
    expect([names(), read('a')]).to.deep.equal([['a'], 'second']);
    expectAgreement();
  });

  it('renames from one spelling to the other, files and directories (E09)', () => {
    replica.applyAll(put('Name', 'content'), mkdir('Dir'), put('Dir/x', 'x'));
    const { ino } = lstatSync(join(directory, 'Name'));
    replica.applyAll(move('Name', 'nAME'), move('Dir', 'dIR'), put('dIR/y', 'y'));
    expect([names(), names('dIR'), read('nAME')]).to.deep.equal([['dIR', 'nAME'], ['x', 'y'], 'content']);
    expect(lstatSync(join(directory, 'nAME')).ino).to.equal(ino);
    expectAgreement();
  });

  it('notices when somebody else changes a spelling', () => {
    replica.applyAll(put('Name', 'content'));
    renameSync(join(directory, 'Name'), join(directory, 'nAME'));
    replica.lookThrough();
    expectAgreement();
    expect(replica.indexEntries().map(({ path }) => path)).to.deep.equal(['nAME']);
  });

  it('does not overwrite a foreign entry of another spelling', () => {
    replica.applyAll(mkdir('d'));
    writeFileSync(join(directory, 'd/FOREIGN'), 'foreign');
    mkdirSync(join(directory, 'd/FOREIGN-D'));
    expect(clashOf(put('d/foreign', 'ours'))['path']).to.equal('d/foreign');
    expect(clashOf(mkdir('d/foreign-d'))['path']).to.equal('d/foreign-d');
    expect([names('d'), read('d/FOREIGN')]).to.deep.equal([['FOREIGN', 'FOREIGN-D'], 'foreign']);
  });

  it('tries its names where a crash has left one, and takes a system that cannot hold one for one that tells it apart', () => {
    replica.close();
    const probe = join(directory, '.lockstep/staging/p-names');
    mkdirSync(probe);
    writeFileSync(join(probe, 'LOCKSTEP-PROBE'), '');
    {
      using _ = failingCalls('openSync', 'EILSEQ', (_number, [path]) => String(path).includes('robe-'));
      replica = TestReplica.open(directory, { way: { paths: decomposingNames } });
    }
    expect(replica.core.folding.isFolding).to.equal(false);
    expect(replica.core.staging.list()).not.to.include('p-names');
    replica.close();
    replica = TestReplica.open(directory, FOLDING);
    expect(replica.core.folding.isFolding).to.equal(true);
  });

  it('does not believe a name to be free that was another spelling a moment before', () => {
    replica.applyAll(put('A', 'first'));
    {
      using _ = failingCalls('readdirSync', 'EIO', (_number, [path, options]) => {
        // Not when the double itself looks for the spelling.
        const isListing = !JSON.stringify(options).includes('buffer');
        if (isListing && realpathSync(String(path)) === directory) rmSync(join(directory, 'A'), { force: true });
        return false;
      });
      expect(clashOf(put('a', 'second'))['path']).to.equal('a');
    }
    replica.applyAll(put('a', 'second'));
    expect(names()).to.deep.equal(['a']);
    replica.lookThrough();
    expectAgreement();
  });

  it('leaves what has the place of a link or directory that a power cut took, and forgets that', () => {
    replica.applyAll(symlink('l', 'x'), mkdir('d'), put('f', 'x'));
    replica.close();
    for (const name of ['l', 'd', 'f']) rmSync(join(directory, name), { recursive: true });
    for (const name of ['L', 'D', 'F']) writeFileSync(join(directory, name), 'foreign');
    replica = TestReplica.open(directory, FOLDING);
    expect(names()).to.deep.equal(['D', 'F', 'L']);
    for (const name of ['D', 'F', 'L']) expect(read(name)).to.equal('foreign');
    expectAgreement();
  });

  it('merges nothing wherever it crashes, and is in agreement afterwards (E08, E92)', () => {
    const changes = () => [put('a', 'second'), put('new', 'new'), move('Moved', 'mOVED'), put('last', 'last')];
    for (let at = 0, isThrough = false; !isThrough; at++) {
      const place = temporaryDirectory();
      let steps = 0;
      let isArmed = false;
      const options: Partial<CoreOptions> = {
        ...FOLDING,
        crashPoint: (step) => {
          if (isArmed && steps++ >= at) throw new Crash(step);
        },
      };
      replica.close();
      replica = TestReplica.open(place, options);
      replica.applyAll(put('A', 'first'), put('Moved', 'moved'));
      isArmed = true;
      try {
        replica.apply(changes());
        isThrough = true;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
      }
      replica.close();
      replica = TestReplica.open(place, FOLDING);
      replica.lookThrough();
      expect(readFileSync(join(place, 'A'), 'utf8'), `crash at ${at}`).to.equal('first');
      expect(linesOf(replica.indexEntries()), `crash at ${at}`).to.deep.equal(treeOf(place));
      expect(replica.lookThrough(), `crash at ${at}`).to.deep.equal([]);
      removeDirectory(place);
    }
    expect(replica.indexEntries().map(({ path }) => path)).to.deep.equal(['A', 'last', 'mOVED', 'new']);
  });
});

describe('a replica whose file system writes names otherwise', () => {
  it('reports those that it would not keep, and goes on (E08)', () => {
    const directory = temporaryDirectory();
    const replica = TestReplica.open(directory, { way: { paths: decomposingNames } });
    const composed = Buffer.from('caf\u00e9').toString('latin1');
    const { problems } = replica.apply([put(composed, 'x'), put('plain', 'x')]);
    expect(problems.map(({ kind, reason, message }) => [kind, reason, message])).to.deep.equal([
      ['failed', 'NAME_UNSUPPORTED', "the replica's file system changes the name of caf\u00e9; rename it"],
    ]);
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    expect(replica.lookThrough()).to.deep.equal([]);
    replica.close();
    removeDirectory(directory);
  });

  it('reports names that the system cannot hold, each by itself', () => {
    const directory = temporaryDirectory();
    const paths = (name: string) => toSystemName(name, 'win32');
    const replica = TestReplica.open(directory, { way: { paths } });
    const { problems } = replica.apply([put('fine', 'x'), put('a:b', 'x'), mkdir('CON'), move('fine', 'trailing.')]);
    expect(problems.map(({ kind, reason, path }) => `${kind} ${reason} ${path}`)).to.deep.equal([
      'failed NAME_UNSUPPORTED a:b',
      'failed NAME_UNSUPPORTED CON',
      'failed NAME_UNSUPPORTED trailing.',
    ]);
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    replica.close();
    removeDirectory(directory);
  });
});
