import {
  appendFileSync,
  chmodSync,
  cpSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  fileEntry,
  linesOf,
  link,
  metadata,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  sharedNamesOf,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

class Crash extends Error {}

/** Lets the process "die" at the n-th step: from then on nothing that comes by a crash point goes on. */
class CrashPlan {
  steps = 0;
  readonly names: string[] = [];
  readonly #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  readonly crashPoint = (step: string): void => {
    this.names.push(step);
    if (this.steps++ >= this.#at) throw new Crash(step);
  };
}

/** What the tree was before; and, group by group, what is done to it. */
interface Scenario {
  readonly before: readonly Change[];
  readonly groups: readonly (readonly (readonly Change[])[])[];
  readonly contents?: readonly Buffer[];
}

const BIG = Buffer.alloc(70_000, 'big');
const BIGGER = Buffer.alloc(80_000, 'bigger');

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'puts over old and new paths': {
    before: [put('a', '1'), mkdir('d'), put('d/b', '1')],
    groups: [[[put('a', '2'), put('d/b', '2'), put('new', '2'), mkdir('d/e'), put('d/e/f', '2'), symlink('l', 'a')]]],
  },
  'moves, swaps and deletes': {
    before: [put('a', '1'), put('b', '2'), mkdir('d'), put('d/x', '3'), put('z', 'z')],
    groups: [
      [
        [move('a', 'tmp'), move('b', 'a'), move('tmp', 'b')],
        [move('d', 'e'), put('e/y', '4'), remove('z')],
      ],
      [[put('z', 'again'), remove('e/x'), move('e', 'd'), mkdir('e'), put('e/x', '5')]],
    ],
  },
  'new directories with what they hold': {
    before: [put('a', '1'), mkdir('old')],
    groups: [
      [
        [mkdir('d', 0o500), put('d/a', '1'), mkdir('d/s'), put('d/s/b', '2'), put('d/z', '3'), symlink('d/l', 'z')],
        [put('d/zz', '4'), mkdir('e'), put('e/a', '5'), move('e', 'd/e'), put('d/e/b', '6'), put('d/zz', '7')],
      ],
      [[mkdir('e'), put('e/a', '8'), remove('d'), mkdir('d'), put('d/a', '9'), remove('e/a'), move('a', 'e/a')]],
    ],
  },
  'kind flips': {
    before: [put('f', '1'), mkdir('d'), put('d/x', '1'), mkdir('d/s'), put('d/s/y', '2'), symlink('l', 'f')],
    groups: [
      [[mkdir('f'), put('f/in', 'i'), put('d', 'file now'), mkdir('l'), put('l/in', 'i')]],
      [[symlink('f', 'd'), mkdir('d', 0o700), put('l', 'file')]],
    ],
  },
  'the same path again and again': {
    before: [put('a', '0')],
    groups: [
      [
        [put('a', '1'), remove('a'), put('a', '2')],
        [put('a', '3'), move('a', 'b'), put('a', '4')],
      ],
      [
        [remove('a'), remove('b')],
        [mkdir('a'), put('a/b', '5')],
        [remove('a'), put('a', '6')],
      ],
    ],
  },
  'contents that the log does not have': {
    before: [put('basis', 'hello'), mkdir('d'), put('d/old', 'o')],
    contents: [BIG, BIGGER],
    groups: [
      [[putStored(fileEntry('d', BIG)), putStored(fileEntry('second', BIG)), putStored(fileEntry('third', BIGGER))]],
      [[move('second', 'basis'), putStored(fileEntry('copy', BIG)), remove('d'), put('third', 'small')]],
    ],
  },
  'further names of files': {
    before: [put('a', '1'), put('b', '1'), mkdir('d'), put('d/x', '2'), put('m', '5')],
    groups: [
      [
        [metadata('m', 'file', 0o600, T0), link('n', 'm', fileEntry('m', '5', 0o600))],
        [link('c', 'a', fileEntry('a', '1')), link('b', 'a', fileEntry('a', '1')), put('a', '3')],
        [
          metadata('b', 'file', 0o600, T0),
          link('c', 'b', fileEntry('b', '1', 0o600)),
          link('d', 'a', fileEntry('a', '3')),
        ],
      ],
      [[move('c', 'b'), put('c', '4'), link('a', 'c', fileEntry('c', '4')), remove('c')]],
    ],
  },
  'metadata, also of the root': {
    before: [put('a', '1'), mkdir('d')],
    groups: [
      [[metadata('', 'directory', 0o711, T0 + 1_000n), metadata('a', 'file', 0o600, T0 + 2_000n)]],
      [[metadata('d', 'directory', 0o700, T0 + 3_000n), put('d/a', '2')]],
    ],
  },
};

function prepare(scenario: Scenario): { directory: string; ids: readonly (readonly Buffer[])[] } {
  const directory = temporaryDirectory('/dev/shm');
  const replica = TestReplica.open(directory);
  replica.applyAll(...scenario.before);
  for (const content of scenario.contents ?? []) {
    writeFileSync(join(directory, '.lockstep/staging', contentName(fileEntry('x', content).digest)), content);
  }
  replica.close();
  const ids = scenario.groups.map((group, g) => group.map((_, b) => Buffer.alloc(16, 1 + g * 16 + b)));
  return { directory, ids };
}

/** The tree after each batch. */
function expectedTrees(scenario: Scenario): Map<string, string>[] {
  const { directory } = prepare(scenario);
  const replica = TestReplica.open(directory);
  const trees = [treeOf(directory)];
  for (const group of scenario.groups) {
    for (const changes of group) {
      const answer = replica.apply(changes);
      if (answer.problems.length > 0) throw new Error(JSON.stringify(answer.problems));
      trees.push(treeOf(directory));
    }
  }
  replica.close();
  removeDirectory(directory);
  return trees;
}

interface Run {
  /** Batches that were acknowledged as durable. */
  readonly acknowledged: number;
  readonly crashed: boolean;
  readonly steps: readonly string[];
}

function runUntil(directory: string, scenario: Scenario, ids: readonly (readonly Buffer[])[], at: number): Run {
  let active = new CrashPlan(Number.POSITIVE_INFINITY);
  const replica = TestReplica.open(directory, { crashPoint: (step) => active.crashPoint(step) });
  active = new CrashPlan(at);
  let acknowledged = 0;
  try {
    for (const [g, group] of scenario.groups.entries()) {
      const batches = group.map((changes, b) =>
        replica.incoming(changes, { batchId: ids[g]?.[b] ?? Buffer.alloc(16) }),
      );
      replica.group(batches);
      acknowledged += group.length;
    }
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
  }
  const crashed = active.steps > at;
  replica.close();
  return { acknowledged, crashed, steps: active.names };
}

/** After recovery: the tree of some batch's end, not before what was acknowledged; and the rest can be sent again. */
function checkRecovered(
  directory: string,
  scenario: Scenario,
  ids: readonly (readonly Buffer[])[],
  trees: readonly Map<string, string>[],
  run: Run,
  what: string,
): void {
  const replica = TestReplica.open(directory);
  try {
    const tree = JSON.stringify([...treeOf(directory)]);
    const found = trees.findLastIndex((candidate) => JSON.stringify([...candidate]) === tree);
    expect(
      found,
      `${what}: the tree is that of a revision\n${tree}\n${replica.log.warnings.join('\n')}`,
    ).to.be.at.least(0);
    expect(found, `${what}: nothing acknowledged is lost`).to.be.at.least(run.acknowledged);
    expect(replica.recovery.isLossy, `${what}: ${replica.log.warnings.join('\n')}`).to.equal(false);
    expect(replica.drifted, `${what}: no drift`).to.deep.equal([]);
    expect(linesOf(replica.indexEntries()), what).to.deep.equal(treeOf(directory));
    expect(
      replica.stagedNames().filter((name) => name.startsWith('b-')),
      what,
    ).to.deep.equal([]);
    for (const [g, group] of scenario.groups.entries()) {
      for (const [b, changes] of group.entries()) {
        const answer = replica.apply(changes, { batchId: ids[g]?.[b] ?? Buffer.alloc(16) });
        expect(answer.problems, what).to.deep.equal([]);
      }
    }
    expect(treeOf(directory), `${what}: the end`).to.deep.equal(trees.at(-1));
    expect(linesOf(replica.indexEntries()), what).to.deep.equal(treeOf(directory));
  } finally {
    replica.close();
  }
}

describe('recovery', () => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    it(`brings ${name} to the old or the new state after a crash at every step (E85, E92, F01, F11)`, function () {
      this.timeout(60_000);
      const trees = expectedTrees(scenario);
      for (let at = 0; ; at++) {
        const { directory, ids } = prepare(scenario);
        try {
          const run = runUntil(directory, scenario, ids, at);
          const what = `crash ${at} at "${run.steps.at(-1)}"`;
          // Recovery itself dies once, at another step each time.
          try {
            TestReplica.open(directory, { crashPoint: new CrashPlan(at % 5).crashPoint }).close();
          } catch (error) {
            if (!(error instanceof Crash)) throw error;
          }
          checkRecovered(directory, scenario, ids, trees, run, what);
          if (!run.crashed) return;
        } finally {
          removeDirectory(directory);
        }
      }
    });

    it(`brings ${name} back when a power cut took the index back to its last checkpoint (F02)`, function () {
      this.timeout(60_000);
      const trees = expectedTrees(scenario);
      for (let at = 0; ; at++) {
        const { directory, ids } = prepare(scenario);
        const state = join(directory, '.lockstep');
        const saved = temporaryDirectory('/dev/shm');
        try {
          for (const file of readdirSync(state))
            if (file.startsWith('index.db')) cpSync(join(state, file), join(saved, file));
          const run = runUntil(directory, scenario, ids, at);
          for (const file of readdirSync(state)) if (file.startsWith('index.db')) rmSync(join(state, file));
          for (const file of readdirSync(saved)) cpSync(join(saved, file), join(state, file));
          checkRecovered(directory, scenario, ids, trees, run, `crash ${at} at "${run.steps.at(-1)}"`);
          if (!run.crashed) return;
        } finally {
          removeDirectory(saved);
          removeDirectory(directory);
        }
      }
    });
  }

  it('rewrites files that a power cut left empty or torn, from the log (E85)', () => {
    const directory = temporaryDirectory();
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(
        mkdir('d'),
        put('a', 'content a'),
        put('d/b', 'content b'),
        put('c', 'content c'),
        put('same', 'content a'),
      );
      replica.applyAll(move('d', 'e'), metadata('c', 'file', 0o600, T0 + 7_000n));
      const tree = treeOf(directory);
      replica.close();
      truncateSync(join(directory, 'a'));
      writeFileSync(join(directory, 'e/b'), 'CONTENT b');
      rmSync(join(directory, 'same'));
      const time = Number(T0 / 1_000n) / 1e6;
      utimesSync(join(directory, 'e/b'), time, time);
      replica = TestReplica.open(directory);
      expect(treeOf(directory)).to.deep.equal(tree);
      expect(replica.recovery.isLossy).to.equal(false);
      expect(replica.drifted).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('makes links and directories anew that a power cut took back (E85)', () => {
    const directory = temporaryDirectory('/dev/shm');
    const local = (path: string): string => join(directory, path);
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(mkdir('d', 0o750), mkdir('d/e'), put('d/e/f', 'f'), mkdir('g', 0o500));
      replica.applyAll(symlink('l', 'd'), symlink('m', 'g'), symlink('n', 'd'), symlink('o', 'd'));
      const tree = treeOf(directory);
      replica.close();
      for (const path of ['d', 'g', 'l', 'm', 'n']) rmSync(local(path), { recursive: true });
      symlinkSync('elsewhere', local('m'));
      writeFileSync(local('n'), 'a file');
      lutimesSync(local('o'), 1, 1);
      replica = TestReplica.open(directory);
      expect(treeOf(directory)).to.deep.equal(tree);
      expect(replica.recovery.isLossy).to.equal(false);
      expect(replica.drifted).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('removes no directory that stands where a file or a link should be, and says that something is lost', () => {
    const directory = temporaryDirectory('/dev/shm');
    const local = (path: string): string => join(directory, path);
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('f', 'f'), symlink('l', 'f'), mkdir('d'), put('d/x', 'x'), symlink('d/l', 'x'), mkdir('e'));
      replica.close();
      for (const path of ['f', 'l', 'd', 'e']) rmSync(local(path), { recursive: true });
      for (const path of ['f', 'l']) mkdirSync(local(path));
      for (const path of ['d', 'e']) writeFileSync(local(path), 'a file');
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      expect(statSync(local('f')).isDirectory() && statSync(local('l')).isDirectory()).to.equal(true);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('takes a damaged content from staging or from another file, where the log does not have it', async () => {
    const directory = temporaryDirectory('/dev/shm');
    const local = (path: string): string => join(directory, path);
    const staged = (content: Buffer): string =>
      local(`.lockstep/staging/${contentName(fileEntry('x', content).digest)}`);
    try {
      let replica = TestReplica.open(directory);
      const contents = [1, 2, 3].map((at) => Buffer.alloc(70_000, at));
      const [one = BIG, two = BIG, three = BIG] = contents;
      for (const content of contents) writeFileSync(staged(content), content);
      replica.applyAll(putStored(fileEntry('one', one)), putStored(fileEntry('two', two)));
      replica.applyAll(putStored(fileEntry('three', three)), putStored(fileEntry('other', two)));
      const tree = treeOf(directory);
      replica.close();
      for (const name of ['one', 'two', 'three']) truncateSync(local(name), 10);
      // Uploaded once more; and one that only has its name.
      writeFileSync(staged(one), one);
      writeFileSync(staged(three), two);
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      const found = treeOf(directory);
      for (const name of ['one', 'two', 'other']) expect(found.get(name), name).to.equal(tree.get(name));
      expect(linesOf(replica.indexEntries())).to.deep.equal(found);
      expect(replica.log.warnings.filter((line) => line.includes('cannot restore'))).to.have.length(1);
      replica.close();
      // Nor from a file that is damaged itself.
      truncateSync(local('two'), 10);
      truncateSync(local('other'), 10);
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('reads nothing that the disk does not give out, and takes it for lost', () => {
    const directory = temporaryDirectory('/dev/shm');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', 'content a'), put('b', 'content b'));
      replica.close();
      {
        using _ = failingCalls('openSync', 'EACCES', (_number, [path]) => String(path).endsWith('/a'));
        replica = TestReplica.open(directory);
      }
      // The log has it: it was written once more.
      expect(replica.recovery.isLossy).to.equal(false);
      expect(readFileSync(join(directory, 'a'), 'utf8')).to.equal('content a');
      expect(replica.lookThrough()).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('begins a new epoch where the index is older than the log reaches back, or the disk is ahead of the log', async () => {
    const directory = temporaryDirectory('/dev/shm');
    const saved = temporaryDirectory('/dev/shm');
    const state = join(directory, '.lockstep');
    const indexFiles = (of: string): string[] => readdirSync(of).filter((file) => file.startsWith('index.db'));
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'));
      replica.close();
      for (const file of indexFiles(state)) cpSync(join(state, file), join(saved, file));
      replica = TestReplica.open(directory);
      replica.applyAll(put('b', '1'), mkdir('d'), put('e', '1'));
      await replica.checkpoint();
      // What the index that comes back has no place for, does not know, and cannot move.
      replica.applyAll(put('d/x', '1'));
      replica.applyAll(metadata('b', 'file', 0o600, T0));
      replica.applyAll(move('e', 'd/e'));
      replica.applyAll(put('c', '1'));
      const { epoch } = replica.core.state;
      replica.close();
      for (const file of indexFiles(state)) rmSync(join(state, file));
      for (const file of indexFiles(saved)) cpSync(join(saved, file), join(state, file));
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(replica.core.state.epoch).not.to.equal(epoch);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      expect(replica.indexEntries().map(({ path }) => path)).to.deep.equal(['a', 'b', 'c', 'd', 'd/e', 'd/x']);
      replica.close();
    } finally {
      removeDirectory(saved);
      removeDirectory(directory);
    }
  });

  it('replays what was found to be drift, where the index is from before that (E94)', async () => {
    const directory = temporaryDirectory('/dev/shm');
    const saved = temporaryDirectory('/dev/shm');
    const state = join(directory, '.lockstep');
    const indexFiles = (of: string): string[] => readdirSync(of).filter((file) => file.startsWith('index.db'));
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'), put('b', '1'));
      await replica.checkpoint();
      replica.close();
      for (const file of indexFiles(state)) cpSync(join(state, file), join(saved, file));
      writeFileSync(join(directory, 'a'), 'edited');
      rmSync(join(directory, 'b'));
      replica = TestReplica.open(directory);
      expect(replica.core.state.revision).to.equal(2n);
      replica.close();
      for (const file of indexFiles(state)) rmSync(join(state, file));
      for (const file of indexFiles(saved)) cpSync(join(saved, file), join(state, file));
      replica = TestReplica.open(directory);
      expect(replica.recovery).to.deep.equal({ replayed: 0, isLossy: false });
      expect(replica.core.state.revision > 2n).to.equal(true);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      expect(replica.drifted).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(saved);
      removeDirectory(directory);
    }
  });

  it('moves once more what a power cut moved back, where it can (F02)', () => {
    const directory = temporaryDirectory('/dev/shm');
    const local = (path: string): string => join(directory, path);
    const moveBack = (): void => renameSync(local('b'), local('a'));
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(mkdir('a'), put('a/x', 'x'));
      replica.applyAll(move('a', 'b'));
      const tree = treeOf(directory);
      replica.close();
      moveBack();
      replica = TestReplica.open(directory);
      expect(treeOf(directory)).to.deep.equal(tree);
      expect(replica.recovery.isLossy).to.equal(false);
      replica.close();
      // The disk refuses.
      moveBack();
      {
        using _ = failingCalls('renameSync', 'EIO', (_number, [, to]) => String(to).endsWith('/b'));
        expect(() => TestReplica.open(directory)).to.throw('EIO');
      }
      replica = TestReplica.open(directory);
      expect(treeOf(directory)).to.deep.equal(tree);
      replica.close();
      // Something else has the place by now.
      moveBack();
      writeFileSync(local('b'), 'foreign');
      replica = TestReplica.open(directory);
      expect(readFileSync(local('b'), 'utf8')).to.equal('foreign');
      expect(readFileSync(local('a/x'), 'utf8')).to.equal('x');
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('sets nothing of a file that somebody has changed and linked since, and says so', () => {
    const directory = temporaryDirectory('/dev/shm');
    const local = (path: string): string => join(directory, path);
    try {
      let plan = new CrashPlan(1_000);
      let replica = TestReplica.open(directory, { crashPoint: (step) => plan.crashPoint(step) });
      replica.applyAll(put('a', '1'), put('gone', '2'));
      plan = new CrashPlan(2);
      const changes = [metadata('a', 'file', 0o600, T0), metadata('gone', 'file', 0o600, T0)];
      expect(() => replica.apply(changes)).to.throw(Crash);
      replica.close();
      writeFileSync(local('a'), 'edited');
      linkSync(local('a'), local('.lockstep/kept'));
      rmSync(local('gone'));
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(statSync(local('.lockstep/kept')).mode & 0o777).to.equal(0o644);
      // What is only gone the log has.
      expect(statSync(local('gone')).mode & 0o777).to.equal(0o600);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('makes names of one file that have lost their metadata files of their own, and says so (E19)', () => {
    const directory = temporaryDirectory('/dev/shm');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'), link('b', 'a', fileEntry('a', '1')));
      const tree = treeOf(directory);
      replica.close();
      chmodSync(join(directory, 'a'), 0o600);
      replica = TestReplica.open(directory);
      expect(treeOf(directory)).to.deep.equal(tree);
      expect(sharedNamesOf(directory)).to.deep.equal([]);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(replica.drifted).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('knows a file by all of its names, wherever the first link was cut off (F01, E19)', () => {
    const changes = [put('a', '1'), link('b', 'a', fileEntry('a', '1')), mkdir('d'), put('e', '2')];
    const batchId = Buffer.alloc(16, 1);
    for (let at = 0, isCut = true; isCut; at++) {
      const directory = temporaryDirectory('/dev/shm');
      try {
        let plan = new CrashPlan(Number.POSITIVE_INFINITY);
        let replica = TestReplica.open(directory, { crashPoint: (step) => plan.crashPoint(step) });
        plan = new CrashPlan(at);
        isCut = false;
        try {
          replica.group([replica.incoming(changes, { batchId })]);
        } catch (error) {
          if (!(error instanceof Crash)) throw error;
          isCut = true;
        }
        replica.close();
        replica = TestReplica.open(directory);
        replica.group([replica.incoming(changes, { batchId })]);
        // The other name's time of change is a new one then, within the same group.
        const next = replica.group([replica.incoming([put('b', '3'), remove('a')])]);
        expect(next.drifted, `cut off at step ${at}`).to.deep.equal([]);
        expect([...treeOf(directory).keys()], `cut off at step ${at}`).to.deep.equal(['b', 'd', 'e']);
        replica.close();
      } finally {
        removeDirectory(directory);
      }
    }
  });

  it('goes on above all revisions that are known of, when index and log are lost (E91)', () => {
    const directory = temporaryDirectory('/dev/shm');
    const state = join(directory, '.lockstep');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'));
      replica.applyAll(put('b', '1'), remove('a'));
      replica.close();
      for (const name of readdirSync(state)) if (name !== 'staging') rmSync(join(state, name), { recursive: true });
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(replica.applyAll(put('c', '1')).revision).to.equal(3n);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('says that it cut the log where its last record is torn (E85)', () => {
    const directory = temporaryDirectory('/dev/shm');
    const logs = join(directory, '.lockstep/log');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'));
      replica.close();
      const [segment = ''] = readdirSync(logs).filter((name) => name.endsWith('.log'));
      appendFileSync(join(logs, segment), 'torn');
      replica = TestReplica.open(directory);
      expect(replica.log.warnings.join()).to.include('cut a torn tail off the log {"bytes":4}');
      expect(replica.recovery.isLossy).to.equal(false);
      replica.close();
      replica = TestReplica.open(directory);
      expect(replica.log.warnings).to.deep.equal([]);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('believes the newest of several progress markers, and removes the others', () => {
    const directory = temporaryDirectory('/dev/shm');
    const staging = join(directory, '.lockstep/staging');
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', '1'));
      replica.applyAll(remove('a'), put('b', '1'));
      const { last } = replica.core.marker;
      replica.close();
      for (const name of ['m-none', 'm-1-0-i-0', 'm-2-0-r-', 'm-1-7-r-5']) writeFileSync(join(staging, name), '');
      replica = TestReplica.open(directory);
      expect(replica.core.marker.last).to.deep.equal(last);
      expect(readdirSync(staging).filter((name) => name.startsWith('m-'))).to.have.length(1);
      expect(replica.recovery.isLossy).to.equal(false);
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('begins a new epoch when a content cannot be rebuilt, and lets the index say what the disk has', async () => {
    const directory = temporaryDirectory();
    try {
      let replica = TestReplica.open(directory);
      replica.applyAll(put('a', 'content a'));
      await replica.checkpoint();
      replica.applyAll(move('a', 'b'));
      const { epoch } = replica.core.state;
      replica.close();
      writeFileSync(join(directory, 'b'), 'broken');
      replica = TestReplica.open(directory);
      expect(replica.recovery.isLossy).to.equal(true);
      expect(replica.core.state.epoch).not.to.equal(epoch);
      expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });

  it('shortens the log by a checkpoint, and loses nothing by a crash in it (E93)', async () => {
    for (const at of [0, 1, 2, 99]) {
      const directory = temporaryDirectory();
      try {
        let plan = new CrashPlan(1_000);
        let replica = TestReplica.open(directory, { crashPoint: (step) => plan.crashPoint(step) });
        replica.applyAll(put('a', 'content a'), mkdir('d'));
        replica.applyAll(put('d/b', 'b'));
        plan = new CrashPlan(at);
        await replica.checkpoint().catch((error: unknown) => {
          if (!(error instanceof Crash)) throw error;
        });
        if (at === 99) expect(replica.core.log.sizeBytes).to.equal(0);
        const tree = treeOf(directory);
        replica.close();
        plan = new CrashPlan(1_000);
        replica = TestReplica.open(directory);
        expect(replica.core.state.revision).to.equal(2n);
        expect(replica.drifted).to.deep.equal([]);
        expect(treeOf(directory)).to.deep.equal(tree);
        expect(replica.applyAll(put('c', 'c')).revision).to.equal(3n);
        replica.close();
        replica = TestReplica.open(directory);
        expect(replica.recovery.isLossy).to.equal(false);
        replica.close();
      } finally {
        removeDirectory(directory);
      }
    }
  });

  it('keeps the answers of batches that only the log had, problems included (E109)', () => {
    const directory = temporaryDirectory();
    try {
      let plan = new CrashPlan(1_000);
      let replica = TestReplica.open(directory, { crashPoint: (step) => plan.crashPoint(step) });
      replica.applyAll(put('z', '1'));
      const batchId = Buffer.alloc(16, 9);
      plan = new CrashPlan(3);
      expect(() => replica.apply([put('a', '1'), put('no/parent', 'x')], { batchId })).to.throw(Crash);
      replica.close();
      plan = new CrashPlan(1_000);
      replica = TestReplica.open(directory);
      const answer = replica.apply([put('a', 'other')], { batchId });
      expect(answer.revision).to.equal(2n);
      expect(answer.problems.map(({ index, reason, path }) => [index, reason, path])).to.deep.equal([
        [1, 'PARENT_MISSING', p('no/parent')],
      ]);
      expect(readFileSync(join(directory, 'a'), 'utf8')).to.equal('1');
      replica.close();
    } finally {
      removeDirectory(directory);
    }
  });
});
