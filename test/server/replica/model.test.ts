import fc from 'fast-check';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import type { EntryRecord, FileRecord } from '../../../common/tree/entry.ts';
import { isInside, parentOf, rebase, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import {
  fileEntry,
  FUNCTION,
  lineOf,
  linesOf,
  link,
  metadata,
  mkdir,
  move,
  p,
  put,
  remove,
  removeDirectory,
  sharedNamesOf,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

/** A step in terms of the model; the same step as a change of the protocol. */
type Step =
  | { readonly do: 'put'; readonly path: string; readonly content: string; readonly mode: number }
  /** `record` is what the model has at `existing` when the step is applied to it. */
  | { readonly do: 'link'; readonly path: string; readonly existing: string; record?: FileRecord }
  | { readonly do: 'mkdir'; readonly path: string; readonly mode: number }
  | { readonly do: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly do: 'metadata';
      readonly path: string;
      readonly kind: 'file' | 'directory' | 'symlink';
      readonly mode: number;
      readonly seconds: number;
    }
  | { readonly do: 'move'; readonly from: string; readonly to: string }
  | { readonly do: 'remove'; readonly path: string };

function changeOf(step: Step): Change {
  switch (step.do) {
    case 'put':
      return put(step.path, step.content, step.mode);
    case 'link':
      return link(step.path, step.existing, step.record ?? fileEntry('none', 'such'));
    case 'mkdir':
      return mkdir(step.path, step.mode);
    case 'symlink':
      return symlink(step.path, step.target);
    case 'metadata':
      return metadata(step.path, step.kind, step.mode, T0 + BigInt(step.seconds) * 1_000_000_000n);
    case 'move':
      return move(step.from, step.to);
    case 'remove':
      return remove(step.path);
  }
}

/** A tree as a plain map; what the protocol says about each change, as naively as it can be said. */
class Model {
  readonly entries = new Map<TreePath, EntryRecord>();
  /** Numbers of files: names of one file have the same. */
  readonly #files = new Map<TreePath, number>();
  #nextFile = 0;

  /** False when the change is one that must be refused. */
  apply(step: Step): boolean {
    switch (step.do) {
      case 'put': {
        const content = Buffer.from(step.content);
        const { mode } = step;
        return this.#set(step.path, {
          kind: 'file',
          mode,
          mtimeNs: T0,
          sizeBytes: content.length,
          digest: digestOf(FUNCTION, content),
        });
      }
      case 'link': {
        const existing = this.entries.get(p(step.existing));
        const file = this.#files.get(p(step.existing));
        if (existing?.kind !== 'file' || file === undefined || isInside(p(step.existing), p(step.path))) return false;
        step.record = existing;
        if (!this.#set(step.path, existing)) return false;
        this.#files.set(p(step.path), file);
        return true;
      }
      case 'mkdir':
        return this.#set(step.path, { kind: 'directory', mode: step.mode, mtimeNs: T0 });
      case 'symlink':
        return this.#set(step.path, { kind: 'symlink', mtimeNs: T0, target: Buffer.from(step.target) });
      case 'metadata': {
        const entry = this.entries.get(p(step.path));
        if (entry?.kind !== step.kind) return false;
        const mtimeNs = T0 + BigInt(step.seconds) * 1_000_000_000n;
        this.entries.set(
          p(step.path),
          entry.kind === 'symlink' ? { ...entry, mtimeNs } : { ...entry, mode: step.mode, mtimeNs },
        );
        this.#files.set(p(step.path), this.#nextFile++);
        return true;
      }
      case 'move':
        return this.#move(p(step.from), p(step.to));
      case 'remove':
        this.#remove(p(step.path));
        return true;
    }
  }

  #hasParent(path: TreePath): boolean {
    return parentOf(path) === ROOT || this.entries.get(parentOf(path))?.kind === 'directory';
  }

  #set(text: string, record: EntryRecord): boolean {
    const path = p(text);
    if (!this.#hasParent(path)) return false;
    if (record.kind !== 'directory' || this.entries.get(path)?.kind !== 'directory') this.#remove(path);
    this.entries.set(path, record);
    this.#files.set(path, this.#nextFile++);
    return true;
  }

  #move(from: TreePath, to: TreePath): boolean {
    if (!this.entries.has(from) || isInside(to, from) || !this.#hasParent(to)) return false;
    if (this.entries.get(to)?.kind === 'directory') return false;
    this.#remove(to);
    for (const [path, record] of [...this.entries]) {
      if (!isInside(path, from)) continue;
      this.entries.delete(path);
      this.entries.set(rebase(path, from, to), record);
      this.#files.set(rebase(path, from, to), this.#files.get(path) ?? 0);
    }
    return true;
  }

  #remove(path: TreePath): void {
    for (const other of [...this.entries.keys()]) if (isInside(other, path)) this.entries.delete(other);
  }

  /** The names of each file that has several. */
  sharedNames(): string[][] {
    const names = new Map<number, string[]>();
    for (const path of this.lines().keys()) {
      if (this.entries.get(p(path))?.kind !== 'file') continue;
      const file = this.#files.get(p(path)) ?? 0;
      names.set(file, [...(names.get(file) ?? []), path]);
    }
    return [...names.values()].filter((group) => group.length > 1);
  }

  lines(): Map<string, string> {
    return new Map(
      [...this.entries]
        .map(([path, record]): [string, string] => [path, lineOf(record)])
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
}

const name = fc.constantFrom('a', 'b', 'c', '\xff');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const mode = fc.constantFrom(0o644, 0o600, 0o755, 0o700, 0o444);
const directoryMode = fc.constantFrom(0o755, 0o700, 0o555);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('put' as const), path, content: fc.string({ maxLength: 8 }), mode }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('link' as const), path, existing: path }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('mkdir' as const), path, mode: directoryMode }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('symlink' as const), path, target: fc.constantFrom('a', '../b', '/etc') }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('metadata' as const),
      path,
      kind: fc.constantFrom('file' as const, 'directory' as const),
      mode: directoryMode,
      seconds: fc.nat(100),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('move' as const), from: path, to: path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), path }) },
);
const groups = fc.array(fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 4,
});

class Crash extends Error {}

describe('the applier against a naive model', () => {
  it('ends with the same tree on the disk and in the index, whatever the changes (E19, E61, E69)', function () {
    this.timeout(120_000);
    fc.assert(
      fc.property(groups, (batches) => {
        const directory = temporaryDirectory('/dev/shm');
        const replica = TestReplica.open(directory);
        const model = new Model();
        try {
          for (const group of batches) {
            const refused = group.map((steps) =>
              [...steps.entries()].flatMap(([at, one]) => (model.apply(one) ? [] : [at])),
            );
            const { results } = replica.group(group.map((steps) => replica.incoming(steps.map(changeOf))));
            for (const [index, result] of results.entries()) {
              if (result.outcome !== 'applied') throw new Error('refused');
              expect(result.answer.problems.map((problem) => problem.index)).to.deep.equal(refused[index]);
              expect(
                result.answer.problems.every(({ kind }) => kind === 'invalid' || kind === 'content-needed'),
              ).to.equal(true);
            }
            expect(treeOf(directory)).to.deep.equal(model.lines());
            expect(sharedNamesOf(directory)).to.deep.equal(model.sharedNames());
            expect(linesOf(replica.indexEntries())).to.deep.equal(model.lines());
          }
          expect(replica.lookThrough()).to.deep.equal([]);
          replica.core.index.verify();
        } finally {
          replica.close();
          removeDirectory(directory);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('ends with the same tree after a crash anywhere, when what was not acknowledged is sent again (F01, F11)', function () {
    this.timeout(120_000);
    fc.assert(
      fc.property(groups, fc.nat(60), fc.nat(12), (anything, crashAt, crashAgainAt) => {
        const directory = temporaryDirectory('/dev/shm');
        const model = new Model();
        // A batch of which nothing was accepted is not remembered, and might be accepted later: only valid steps.
        const batches = anything.map((group) => group.map((steps) => steps.filter((one) => model.apply(one))));
        let countdown = Number.POSITIVE_INFINITY;
        const crashPoint = (): void => {
          if (countdown-- <= 0) throw new Crash();
        };
        try {
          let acknowledged = 0;
          const ids = batches.map((group, g) => group.map((_, b) => Buffer.alloc(16, 1 + g * 16 + b)));
          const send = (from: number, steps: number): void => {
            const replica = TestReplica.open(directory, { crashPoint });
            try {
              countdown = steps;
              for (const [g, group] of batches.entries()) {
                if (g < from) continue;
                const incoming = group.map((one, b) =>
                  replica.incoming(one.map(changeOf), { batchId: ids[g]?.[b] ?? Buffer.alloc(16) }),
                );
                replica.group(incoming);
                acknowledged = g + 1;
              }
            } finally {
              replica.close();
            }
          };
          try {
            send(0, crashAt);
          } catch (error) {
            if (!(error instanceof Crash)) throw error;
            countdown = crashAgainAt;
            try {
              TestReplica.open(directory, { crashPoint }).close();
            } catch (again) {
              if (!(again instanceof Crash)) throw again;
            }
            countdown = Number.POSITIVE_INFINITY;
            send(acknowledged, Number.POSITIVE_INFINITY);
          }
          expect(treeOf(directory)).to.deep.equal(model.lines());
          expect(sharedNamesOf(directory)).to.deep.equal(model.sharedNames());
          countdown = Number.POSITIVE_INFINITY;
          const replica = TestReplica.open(directory);
          expect(linesOf(replica.indexEntries())).to.deep.equal(model.lines());
          expect(replica.recovery.isLossy, replica.log.warnings.join('\n')).to.equal(false);
          replica.core.index.verify();
          replica.close();
        } finally {
          removeDirectory(directory);
        }
      }),
      { numRuns: 100 },
    );
  });
});
