import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import type { Observer } from '../../../clients/watcher/observe/observer.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { isInside, joinPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { Observing } from './observing.ts';

/** What a follower of hints believes of the tree: it looks only where it is told to. */
class Follower {
  readonly known = new Map<TreePath, Stat>();
  readonly #root: SafeRoot;
  readonly #observer: Observer;

  constructor(root: SafeRoot, observer: Observer) {
    this.#root = root;
    this.#observer = observer;
    this.list(ROOT);
  }

  follow(dirty: DirtySet): void {
    this.#root.forgetAll();
    const { everything, directories } = dirty.takeAll();
    if (everything !== undefined) {
      this.known.clear();
      this.list(ROOT);
      return;
    }
    for (const { dir, scope, names } of directories) {
      if (scope === 'names') for (const name of names.keys()) this.#look(dir, name);
      else this.list(dir, scope === 'subtree');
    }
  }

  list(dir: TreePath, isAnother = false): void {
    let names: string[];
    try {
      const directory = this.#root.tryDirectory(dir);
      if (directory === undefined) return;
      names = directory.list();
    } catch {
      return; // It was removed in between; the parent's hint says so.
    }
    const gone = [...this.known.keys()].filter((path) => path !== dir && isInside(path, dir));
    const present = new Set(names.map((name) => joinPath(dir, name)));
    for (const path of gone) {
      if (!path.slice(dir === ROOT ? 0 : dir.length + 1).includes('/') && !present.has(path)) this.#drop(path);
    }
    for (const name of names) this.#look(dir, name, isAnother);
  }

  #look(dir: TreePath, name: string, isAnother = false): void {
    const path = joinPath(dir, name);
    const before = this.known.get(path);
    let now: Stat | undefined;
    try {
      now = name === '' ? undefined : this.#root.tryDirectory(dir)?.lstat(name);
    } catch {
      now = undefined;
    }
    if (before !== undefined && (now === undefined || before.ino !== now.ino || before.kind !== now.kind)) {
      this.#drop(path);
    }
    if (now === undefined) return;
    const isNew = this.known.get(path) === undefined;
    this.known.set(path, now);
    if (now.kind !== 'directory' || !(isNew || isAnother)) return;
    this.#root.forgetAll();
    expect(this.#observer.watchDirectoriesSync([path], 5000)).to.equal(true);
    this.list(path, true);
  }

  #drop(path: TreePath): void {
    for (const below of [...this.known.keys()]) if (isInside(below, path)) this.known.delete(below);
  }
}

/** A small generator, so that a failing run can be repeated. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe('Following hints', function () {
  this.timeout(60_000);
  let observing: Observing;
  beforeEach(() => {
    observing = new Observing();
  });
  afterEach(() => observing.close());

  for (const source of ['native', 'chokidar'] as const) {
    it(`ends with what a scan finds, whatever happened to the directories (${source}; E25, E30, E31, E41, E61)`, async () => {
      const seed = Math.floor(Math.random() * 2 ** 31);
      const random = randomFrom(seed);
      const base = observing.directory;
      for (let n = 0; n < 5; n++) mkdirSync(join(base, `d${n}`, `d${n}`), { recursive: true });
      const observer = await observing.start(source);
      using root = SafeRoot.open(base);
      const follower = new Follower(root, observer);
      for (let round = 0; round < 40; round++) {
        for (let step = 0; step < 15; step++) disturb(base, random, `${round}.${step}`);
        const { scanNeeded } = await observer.cookie();
        expect(scanNeeded, String([...observing.degraded, ...observing.failures])).to.equal(false);
        follower.follow(observing.take());
        // What came up while following: announcements, and what the observer saw when it looked again.
        await observer.cookie();
        follower.follow(observing.take());
        expect([...follower.known.keys()].sort(), `seed ${seed}, round ${round}`).to.deep.equal(allPaths(base));
        for (const [path, { sizeBytes, kind }] of follower.known) {
          const size = root.directory(ROOT) && readSize(root, path);
          if (kind === 'file') expect(sizeBytes, `seed ${seed}, round ${round}: ${path}`).to.equal(size);
        }
      }
    });
  }
});

function readSize(root: SafeRoot, path: TreePath): number | undefined {
  root.forgetAll();
  const slash = path.lastIndexOf('/');
  return root.directory(path.slice(0, Math.max(0, slash)) as TreePath).lstat(path.slice(slash + 1))?.sizeBytes;
}

/** One random change. What is not possible at the moment is left out. */
function disturb(base: string, random: (below: number) => number, mark: string): void {
  const directories = ['', ...allPaths(base).filter((path) => nameIsDirectory(path))];
  const pick = (): string => directories[random(directories.length)] ?? '';
  const name = `${'df'[random(2)]}${random(5)}`;
  const target = join(base, pick(), name);
  try {
    switch (random(6)) {
      case 0:
      case 1:
        if (name.startsWith('f')) writeFileSync(target, mark.repeat(1 + random(5)));
        else mkdirSync(join(target, 'd0', 'd1'), { recursive: true });
        return;
      case 2:
        return rmSync(target, { recursive: true });
      case 3:
        if (name.startsWith('d')) {
          rmSync(target, { recursive: true });
          mkdirSync(target);
          writeFileSync(join(target, 'f0'), mark);
        }
        return;
      default: {
        const from = pick();
        if (from === '') return;
        const to = join(base, pick(), `d${random(5)}`);
        renameSync(join(base, from), to);
        writeFileSync(join(to, 'f1'), mark);
      }
    }
  } catch {
    // ENOENT, ENOTEMPTY, EINVAL: this change was not possible.
  }
}

function nameIsDirectory(path: string): boolean {
  return path.slice(path.lastIndexOf('/') + 1).startsWith('d');
}

function allPaths(base: string): string[] {
  return readdirSync(base, { recursive: true, encoding: 'utf8' }).sort();
}
