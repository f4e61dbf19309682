import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { copySparsely, writeSparsely } from '../../../common/fs/sparse-file.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { allocatedBytes, onlyWithHoles, writeWithHoles } from '../../support/holes.ts';
import { useTemporaryDirectory } from './temporary.ts';

const MIB = 2 ** 20;

describe('sparse files', () => {
  onlyWithHoles();
  const temporary = useTemporaryDirectory();
  const local = (name: string) => join(temporary.path, name);

  function written(name: string, parts: readonly (readonly [data: Uint8Array, position: number])[]): boolean[] {
    const fd = openSync(local(name), 'w');
    try {
      return parts.map(([data, position]) => {
        const endsWithHole = writeSparsely(fd, data, position);
        if (endsWithHole) ftruncateSync(fd, position + data.length);
        return endsWithHole;
      });
    } finally {
      closeSync(fd);
    }
  }

  it('are written without their zeros, whatever the pieces, and say when they end with some (E20)', () => {
    const data = randomBytes(100_000);
    const content = Buffer.concat([Buffer.alloc(MIB), data, Buffer.alloc(MIB + 1), data, Buffer.alloc(MIB)]);
    const cut = MIB + 150_001;
    const ends = written('f', [
      [content.subarray(0, cut), 0],
      [content.subarray(cut, -10), cut],
      [content.subarray(-10), content.length - 10],
      [Buffer.alloc(0), content.length],
    ]);
    expect(ends).to.deep.equal([true, true, true, false]);
    expect(readFileSync(local('f')).equals(content)).to.equal(true);
    expect(allocatedBytes(local('f'))).to.be.at.most(2 * (data.length + 2 * 4096));
    expect(written('dense', [[data, 0]])).to.deep.equal([false]);
    expect(readFileSync(local('dense')).equals(data)).to.equal(true);
  });

  it('of any length take no room when there is nothing in them', () => {
    expect(written('f', [[Buffer.alloc(MIB + 17), 0]])).to.deep.equal([true]);
    expect(statSync(local('f')).size).to.equal(MIB + 17);
    expect(allocatedBytes(local('f'))).to.equal(0);
  });

  for (const sizeBytes of [0, 1, MIB, 5 * MIB, 5 * MIB + 333]) {
    it(`of ${sizeBytes} bytes are copied with their holes`, () => {
      const stretches = sizeBytes < MIB ? {} : { [MIB / 2]: randomBytes(50_000) };
      writeWithHoles(local('source'), sizeBytes, stretches);
      const [source, target] = [openSync(local('source'), 'r'), openSync(local('target'), 'w+')];
      copySparsely(source, target);
      for (const fd of [source, target]) closeSync(fd);
      expect(readFileSync(local('target')).equals(readFileSync(local('source')))).to.equal(true);
      expect(allocatedBytes(local('target'))).to.be.at.most(allocatedBytes(local('source')));
    });
  }

  it('keep their holes when a directory copies them, and stay dense when they were', () => {
    writeWithHoles(local('sparse'), 8 * MIB, { [3 * MIB]: randomBytes(4096) });
    writeFileSync(local('dense'), Buffer.alloc(MIB));
    using root = SafeRoot.open(temporary.path);
    const directory = root.directory(ROOT);
    for (const name of ['sparse', 'dense']) {
      closeSync(directory.copyFileFrom({ directory, name }, `${name} copy`));
      expect(allocatedBytes(local(`${name} copy`)), name).to.be.at.most(allocatedBytes(local(name)));
      expect(readFileSync(local(`${name} copy`)).equals(readFileSync(local(name)))).to.equal(true);
    }
  });
});
