import { expect } from 'chai';
import fc from 'fast-check';
import type { Difference, Observed } from '../../../clients/watcher/plan/difference.ts';
import type { PlannedChange } from '../../../clients/watcher/plan/plan.ts';
import { planChanges } from '../../../clients/watcher/plan/planner.ts';
import { digestOf } from '../../../common/content/digest.ts';
import type { EntryRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import {
  compareTreePaths,
  isInside,
  joinPath,
  parentOf,
  rebase,
  ROOT,
  type TreePath,
} from '../../../common/tree/tree-path.ts';

/** A tree in which every entry has an inode number, like a disk's. */
type Node = { readonly kind: 'file' | 'directory' | 'symlink'; readonly ino: bigint; readonly version: number };
type Tree = Map<TreePath, Node>;

const NAMES = ['a', 'b', 'c'];
const SMALL = 64;

describe('planner', () => {
  it('leads from any tree to any other that renames, edits, flips and deletions made of it (E18, E60, E61, E62, E67, E69)', () => {
    fc.assert(
      fc.property(
        fc.array(mutation(), { maxLength: 24, size: 'max' }),
        fc.array(mutation(), { maxLength: 24, size: 'max' }),
        fc.boolean(),
        (first, second, large) => {
          const disk: Tree = new Map();
          const world = new World(disk, large);
          for (const step of first) world.mutate(step);
          world.sync();
          for (const step of second) world.mutate(step);
          const rounds = world.sync();
          expect(rounds).to.be.lessThan(40);
          expect(world.differences()).to.deep.equal([]);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('plans nothing when nothing differs', () => {
    const world = new World(new Map(), false);
    for (const step of [0, 1, 2]) world.mutate({ type: 'mkdir', path: NAMES[step] as TreePath, to: ROOT });
    world.sync();
    expect(planChanges([], OPTIONS).changes).to.deep.equal([]);
    expect(world.differences()).to.deep.equal([]);
  });

  it('renames a directory in one operation, whatever it holds (E64)', () => {
    const world = new World(new Map(), true);
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    for (const name of NAMES) world.mutate({ type: 'write', path: `a/${name}` as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'b' as TreePath });
    expect(planChanges(world.differences(), OPTIONS).changes).to.deep.equal([{ type: 'move', from: 'a', to: 'b' }]);
  });

  it('sends small files that were swapped, so that neither path is ever empty (E61, E82)', () => {
    const types = swapOfFiles(false);
    expect(types).to.deep.equal(['put', 'put']);
  });

  it('swaps large files by renames, through a name aside (E61)', () => {
    expect(swapOfFiles(true).filter((type) => type === 'move')).to.have.length(3);
  });

  it('plans metadata for another owner, where owners are carried', () => {
    const ann = { uid: 1, gid: 1, user: '', group: '' };
    const identity = { dev: 1n, ino: 1n, ctimeNs: 1n, mtimeNs: 1n, sizeBytes: 0 };
    const [path, target] = ['a' as TreePath, Buffer.from('x')];
    const entries = [
      { kind: 'directory', mode: 0o755, mtimeNs: 1n },
      { kind: 'symlink', mtimeNs: 1n, target },
    ] as const;
    for (const record of entries) {
      const planned = (before: object, now: object) =>
        planChanges(
          [{ path, before: { path, identity, ...record, ...before }, now: { ...record, identity, ...now } }],
          OPTIONS,
        );
      const [change] = planned({}, { owner: ann }).changes;
      expect(change).to.deep.equal({ type: 'metadata', path, now: { ...record, identity, owner: ann } });
      const bob = { ...ann, gid: 2 };
      expect(planned({ owner: bob }, { owner: ann }).changes[0]).to.deep.include({ type: 'metadata', path });
      expect(planned({ owner: ann }, { owner: { ...ann } })).to.have.property('changes').that.is.empty;
      expect(planned({ owner: ann }, {}), 'not carried').to.have.property('changes').that.is.empty;
    }
  });

  it('makes directories before what they hold, and deletes after what they held was rescued', () => {
    const world = new World(new Map(), true);
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    world.mutate({ type: 'write', path: 'a/a' as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'mkdir', path: 'b' as TreePath, to: ROOT });
    world.mutate({ type: 'rename', path: 'a/a' as TreePath, to: 'b/c' as TreePath });
    world.mutate({ type: 'delete', path: 'a' as TreePath, to: ROOT });
    const types = planChanges(world.differences(), OPTIONS).changes.map((change) => change.type);
    expect(types).to.deep.equal(['mkdir', 'move', 'put', 'delete']);
  });

  it('makes a directory once for all renames that lead into it', () => {
    const world = new World(new Map(), false);
    for (const name of ['a', 'b']) world.mutate({ type: 'mkdir', path: name as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'mkdir', path: 'c' as TreePath, to: ROOT });
    for (const name of ['a', 'b']) {
      world.mutate({ type: 'rename', path: name as TreePath, to: `c/${name}` as TreePath });
    }
    const types = planChanges(world.differences(), OPTIONS).changes.map((change) => change.type);
    expect(types).to.deep.equal(['mkdir', 'move', 'move']);
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('renames a directory that came out of another one before that other one', () => {
    const world = new World(new Map(), false);
    for (const path of ['a', 'a/a']) world.mutate({ type: 'mkdir', path: path as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'a/a' as TreePath, to: 'b' as TreePath });
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'c' as TreePath });
    expect(planChanges(world.differences(), OPTIONS).changes).to.deep.equal([{ type: 'move', from: 'a/a', to: 'b' }]);
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('puts a directory aside that goes into one of its own name (E64)', () => {
    const world = new World(new Map(), true);
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'b' as TreePath });
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    world.mutate({ type: 'rename', path: 'b' as TreePath, to: 'a/a' as TreePath });
    const { changes } = planChanges(world.differences(), OPTIONS);
    const moves = changes.map((change) => (change.type === 'move' ? [change.from, change.to.replace(/\d+/, '')] : []));
    expect(moves).to.deep.equal([['a', 'aside-']]);
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('rescues a file that was renamed out of a directory before another one takes its place (E64)', () => {
    const world = new World(new Map(), true);
    for (const path of ['a', 'b'] as TreePath[]) world.mutate({ type: 'mkdir', path, to: ROOT });
    world.mutate({ type: 'write', path: 'b/c' as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'b/c' as TreePath, to: 'c' as TreePath });
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'b' as TreePath });
    const { changes, lookAgain } = planChanges(world.differences(), OPTIONS);
    expect(changes.map((change) => (change.type === 'move' ? change.from : change.type))).to.deep.equal(['b/c']);
    expect(lookAgain).to.include('c');
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('renames nothing into a directory that is to be renamed itself (E64)', () => {
    const world = new World(new Map(), true);
    for (const path of ['a', 'b', 'c', 'c/a'] as TreePath[]) world.mutate({ type: 'mkdir', path, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'c/a/a' as TreePath });
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    world.mutate({ type: 'rename', path: 'b' as TreePath, to: 'a/b' as TreePath });
    const moves = planChanges(world.differences(), OPTIONS).changes.filter(({ type }) => type === 'move');
    expect(moves).to.deep.equal([{ type: 'move', from: 'a', to: 'c/a/a' }]);
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('lets a file that was renamed step aside before a directory takes its path', () => {
    const world = new World(new Map(), true);
    world.mutate({ type: 'write', path: 'a' as TreePath, to: ROOT });
    world.mutate({ type: 'mkdir', path: 'b' as TreePath, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'c' as TreePath });
    world.mutate({ type: 'mkdir', path: 'a' as TreePath, to: ROOT });
    world.mutate({ type: 'rename', path: 'b' as TreePath, to: 'a/b' as TreePath });
    const { changes, lookAgain } = planChanges(world.differences(), OPTIONS);
    expect(changes.map((change) => (change.type === 'move' ? change.from : change.type))).to.deep.equal(['a']);
    expect(lookAgain).to.include('c');
    world.sync();
    expect(world.differences()).to.deep.equal([]);
  });

  it('frees a path for a directory that another one of the renamed files goes into (E60, E61)', () => {
    const world = new World(new Map(), true);
    for (const path of ['a', 'b'] as TreePath[]) world.mutate({ type: 'write', path, to: ROOT });
    world.sync();
    world.mutate({ type: 'rename', path: 'b' as TreePath, to: 'c' as TreePath });
    world.mutate({ type: 'mkdir', path: 'b' as TreePath, to: ROOT });
    world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'b/a' as TreePath });
    world.mutate({ type: 'rename', path: 'c' as TreePath, to: 'a' as TreePath });
    const { changes } = planChanges(world.differences(), OPTIONS);
    const steps = changes.map((change) =>
      change.type === 'move'
        ? `${change.from} > ${change.to}`.replace(/aside-\d+/, 'aside')
        : `${change.type} ${change.path}`,
    );
    expect(steps.slice(0, 4)).to.deep.equal(['b > aside', 'mkdir b', 'a > b/a', 'aside > a']);
    expect(world.sync()).to.equal(1);
  });

  it('sends what takes the old path of a large file right behind its rename, so that the path is never empty (E61)', () => {
    const [log, rotated, first] = ['log', 'rotated', '0-first'] as TreePath[];
    const before = indexed(log!, { kind: 'file', ino: 1n, version: 1 }, true);
    const written = observed({ kind: 'file', ino: 2n, version: 1 }, false);
    const differences: Difference[] = [
      { path: first!, before: undefined, now: observed({ kind: 'file', ino: 3n, version: 1 }, false) },
      { path: log!, before, now: written },
      {
        path: rotated!,
        before: undefined,
        now: observed({ kind: 'file', ino: 1n, version: 1 }, true),
        movedFrom: before,
      },
    ];
    const { changes } = planChanges(differences, OPTIONS);
    expect(changes.map((change) => `${change.type} ${change.type === 'move' ? change.to : change.path}`)).to.deep.equal(
      ['move rotated', 'put log', 'put 0-first', 'put rotated'],
    );
  });

  it('sends nothing for what is on another inode and otherwise the same', () => {
    const differences = (['symlink', 'directory'] as const).map((kind) => ({
      path: kind as string as TreePath,
      before: indexed(kind as string as TreePath, { kind, ino: 1n, version: 1 }, false),
      now: observed({ kind, ino: 2n, version: 1 }, false),
    }));
    const { changes, refreshed } = planChanges(differences, OPTIONS);
    expect(changes).to.deep.equal([]);
    expect(refreshed).to.deep.equal(differences);
  });
});

function swapOfFiles(large: boolean): string[] {
  const world = new World(new Map(), large);
  world.mutate({ type: 'write', path: 'a' as TreePath, to: ROOT });
  world.mutate({ type: 'write', path: 'b' as TreePath, to: ROOT });
  world.sync();
  world.mutate({ type: 'rename', path: 'a' as TreePath, to: 'c' as TreePath });
  world.mutate({ type: 'rename', path: 'b' as TreePath, to: 'a' as TreePath });
  world.mutate({ type: 'rename', path: 'c' as TreePath, to: 'b' as TreePath });
  return planChanges(world.differences(), OPTIONS).changes.map((change) => change.type);
}

let asides = 0;
const OPTIONS = {
  smallFileBytes: SMALL,
  asideName: (directory: TreePath) => joinPath(directory, `aside-${asides++}`),
};

interface Mutation {
  readonly type: 'write' | 'mkdir' | 'symlink' | 'touch' | 'delete' | 'rename';
  readonly path: TreePath;
  readonly to: TreePath;
}

function mutation(): fc.Arbitrary<Mutation> {
  const path = fc
    .array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 })
    .map((names) => names.join('/') as TreePath);
  const types = ['write', 'mkdir', 'mkdir', 'symlink', 'touch', 'delete', 'rename', 'rename', 'rename'] as const;
  return fc.record({ type: fc.constantFrom(...types), path, to: path });
}

/** A disk, and what a server has of it; changes are applied to the server as the protocol says. */
class World {
  readonly #disk: Tree;
  readonly #large: boolean;
  readonly #server: Tree = new Map();
  #nextIno = 1n;
  #nextVersion = 1;

  constructor(disk: Tree, large: boolean) {
    this.#disk = disk;
    this.#large = large;
  }

  mutate({ type, path, to }: Mutation): void {
    const node = this.#disk.get(path);
    const parent = parentOf(path);
    const hasParent = parent === ROOT || this.#disk.get(parent)?.kind === 'directory';
    if (type === 'write' && hasParent && node?.kind !== 'directory') {
      this.#disk.set(path, {
        kind: 'file',
        ino: node?.kind === 'file' ? node.ino : this.#nextIno++,
        version: this.#nextVersion++,
      });
    } else if ((type === 'mkdir' || type === 'symlink') && hasParent && node === undefined) {
      const kind = type === 'mkdir' ? 'directory' : 'symlink';
      this.#disk.set(path, { kind, ino: this.#nextIno++, version: this.#nextVersion++ });
    } else if (type === 'touch' && node !== undefined) {
      this.#disk.set(path, { ...node, version: this.#nextVersion++ });
    } else if (type === 'delete') {
      removeSubtree(this.#disk, path);
    } else if (type === 'rename' && node !== undefined && !isInside(to, path)) {
      const toParent = parentOf(to);
      if (toParent !== ROOT && this.#disk.get(toParent)?.kind !== 'directory') return;
      if (isInside(path, to)) return;
      removeSubtree(this.#disk, to);
      moveSubtree(this.#disk, path, to);
    }
  }

  /** Plans and applies until nothing differs; returns how many rounds that took. */
  sync(): number {
    for (let round = 0; round < 50; round++) {
      const differences = this.differences();
      if (differences.length === 0) return round;
      const plan = planChanges(differences, OPTIONS);
      for (const change of plan.changes) this.#apply(change);
      for (const { path } of plan.refreshed) this.#copyIdentity(path);
      if (plan.changes.length === 0 && plan.refreshed.length === 0) throw new Error('a plan without any step');
    }
    return 50;
  }

  differences(): Difference[] {
    const paths = [...new Set([...this.#disk.keys(), ...this.#server.keys()])].sort(compareTreePaths);
    const found: Difference[] = [];
    for (const path of paths) {
      const now = this.#disk.get(path);
      const before = this.#server.get(path);
      if (now !== undefined && before !== undefined && sameNode(now, before)) continue;
      if (now === undefined && !this.#isTopmostMissing(path)) continue;
      const difference = {
        path,
        before: before === undefined ? undefined : indexed(path, before, this.#large),
        now: now === undefined ? undefined : observed(now, this.#large),
      };
      const source = now === undefined || now.ino === before?.ino ? undefined : this.#sourceOf(path, now);
      found.push(source === undefined ? difference : { ...difference, movedFrom: source });
    }
    return found;
  }

  #isTopmostMissing(path: TreePath): boolean {
    const parent = parentOf(path);
    return parent === ROOT || this.#disk.has(parent);
  }

  #sourceOf(path: TreePath, now: Node): IndexedEntry | undefined {
    for (const [from, node] of this.#server) {
      if (from === path || node.ino !== now.ino || node.kind !== now.kind) continue;
      if (this.#disk.get(from)?.ino === now.ino) continue;
      if (now.kind !== 'directory' && node.version !== now.version) continue;
      return indexed(from, node, this.#large);
    }
    return undefined;
  }

  #apply(change: PlannedChange): void {
    if (change.type === 'delete') return removeSubtree(this.#server, change.path);
    if (change.type === 'move') {
      this.#assertParent(change.to);
      if (!this.#server.has(change.from)) throw new Error(`nothing to move at ${change.from}`);
      if (this.#server.get(change.to)?.kind === 'directory')
        throw new Error(`a directory is in the way at ${change.to}`);
      if (isInside(change.to, change.from)) throw new Error(`${change.from} moved into itself`);
      const [moved, wanted] = [this.#server.get(change.from), this.#disk.get(change.to)];
      if (wanted !== undefined && moved?.kind !== wanted.kind)
        throw new Error(`${change.to} becomes what it never was`);
      removeSubtree(this.#server, change.to);
      return moveSubtree(this.#server, change.from, change.to);
    }
    this.#assertParent(change.path);
    if (change.type === 'metadata' && !this.#server.has(change.path)) throw new Error(`no entry at ${change.path}`);
    if (change.type !== 'metadata' && change.type !== 'mkdir') removeSubtree(this.#server, change.path);
    else if (this.#server.get(change.path)?.kind !== 'directory') removeSubtree(this.#server, change.path);
    this.#copyIdentity(change.path);
  }

  #copyIdentity(path: TreePath): void {
    const node = this.#disk.get(path);
    if (node !== undefined) this.#server.set(path, node);
  }

  #assertParent(path: TreePath): void {
    const parent = parentOf(path);
    if (parent !== ROOT && this.#server.get(parent)?.kind !== 'directory')
      throw new Error(`no directory above ${path}`);
  }
}

function removeSubtree(tree: Tree, path: TreePath): void {
  for (const key of [...tree.keys()]) if (isInside(key, path)) tree.delete(key);
}

function moveSubtree(tree: Tree, from: TreePath, to: TreePath): void {
  for (const [key, node] of [...tree]) {
    if (!isInside(key, from)) continue;
    tree.delete(key);
    tree.set(rebase(key, from, to), node);
  }
}

function sameNode(a: Node, b: Node): boolean {
  return a.kind === b.kind && a.ino === b.ino && a.version === b.version;
}

const DIGEST = (version: number) => digestOf('blake3', Buffer.from(String(version)));

function recordOf(node: Node, large: boolean): EntryRecord {
  const mtimeNs = BigInt(node.version);
  if (node.kind === 'file') {
    return { kind: 'file', mode: 0o644, mtimeNs, sizeBytes: large ? SMALL + 1 : 1, digest: DIGEST(node.version) };
  }
  if (node.kind === 'symlink') return { kind: 'symlink', mtimeNs, target: Buffer.from('x') };
  return { kind: 'directory', mode: 0o755, mtimeNs };
}

function indexed(path: TreePath, node: Node, large: boolean): IndexedEntry {
  return { path, ...recordOf(node, large), identity: identityOf(node) };
}

function observed(node: Node, large: boolean): Observed {
  const record = recordOf(node, large);
  const identity = identityOf(node);
  if (record.kind === 'file') {
    return { kind: 'file', mode: record.mode, mtimeNs: record.mtimeNs, sizeBytes: record.sizeBytes, identity };
  }
  return { ...record, identity };
}

function identityOf(node: Node) {
  const time = BigInt(node.version);
  return { dev: 1n, ino: node.ino, ctimeNs: time, mtimeNs: time, sizeBytes: 1 };
}
