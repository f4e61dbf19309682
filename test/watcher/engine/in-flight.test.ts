import { expect } from 'chai';
import { InFlight, type SentChange } from '../../../clients/watcher/engine/in-flight.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';

describe('what is on its way', () => {
  let inFlight: InFlight;
  beforeEach(() => {
    inFlight = new InFlight();
  });

  function send(structural: boolean, ...moves: readonly (readonly [from: string, to: string])[]): void {
    const changes = moves.map(([from, to]) => moveOf(from as TreePath, to as TreePath));
    const batchId = Buffer.from([inFlight.changes]);
    inFlight.add({ batchId, changes, bytes: 1, rawBytes: 1, seenMs: 0, structural });
  }

  function futureOf(...directories: readonly string[]): readonly TreePath[] {
    return [...inFlight.futureOf(directories as readonly TreePath[])].sort();
  }

  it('is full of many bytes, and of many changes however small they are', () => {
    expect(inFlight.isFull(1)).to.equal(false);
    const manyMoves = Array.from({ length: 4_096 }, (_, index) => [`a/${index}`, `b/${index}`] as const);
    send(false, ...manyMoves);
    expect([inFlight.isFull(1), inFlight.isFull(2)]).to.deep.equal([true, false]);
    send(false, ...manyMoves);
    expect(inFlight.isFull(Number.MAX_SAFE_INTEGER)).to.equal(true);
  });

  it('leaves directories where they are that it does not touch', () => {
    send(false, ['a/b', 'c/b']);
    expect(futureOf('c', 'ab')).to.deep.equal(['ab', 'c']);
  });

  it('takes a directory along with the one that it is in', () => {
    send(true, ['a', 'b']);
    send(true, ['b/d', 'e']);
    expect(futureOf('a/d/c')).to.deep.equal(['a/d/c', 'b/d/c', 'e/c']);
  });

  it('takes an entry out of a directory, or out of one below it', () => {
    send(false, ['a/b/c', 'd/c'], ['a/e', 'e']);
    expect(futureOf('a/b')).to.deep.equal(['a/b', 'd']);
    expect(futureOf('a')).to.deep.equal([ROOT, 'a', 'd']);
  });

  it('takes an entry on that came out of a directory', () => {
    send(false, ['a/c', 'b/c']);
    send(true, ['b', 'd']);
    expect(futureOf('a')).to.deep.equal(['a', 'b', 'd']);
  });

  it('says nothing of what stays below the same directory', () => {
    send(false, ['a/b/c', 'a/c']);
    expect(futureOf('a')).to.deep.equal(['a']);
    expect(futureOf(ROOT)).to.deep.equal([ROOT]);
  });
});

function moveOf(from: TreePath, to: TreePath): SentChange {
  return { operation: 'move', path: to, from, contentBytes: 0, update: { type: 'move', from, to } };
}
