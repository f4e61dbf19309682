/**
 * A watched directory whose file system keeps times in steps of two seconds: what is written twice in one of them has the same times
 * both times, and often the same size (E45).
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { eventually } from '../support/eventually.ts';
import { usePairs } from '../support/pair-hooks.ts';

const PRELOADED = pathToFileURL(join(import.meta.dirname, '../support/coarse-times.ts')).href;

describe('a file on a file system with coarse times', function () {
  this.timeout(60_000);
  const pairs = usePairs();
  const isThere = (path: string, content: Buffer) => {
    try {
      return readFileSync(path).equals(content);
    } catch {
      return false;
    }
  };

  for (const [what, size] of [
    ['small', 100],
    ['large', 1_000_000],
  ] as const) {
    it(`that is written again at once arrives as it is then: a ${what} one (E45)`, async () => {
      const pair = await pairs.start({ watcherEnvironment: () => ({ NODE_OPTIONS: `--import=${PRELOADED}` }) });
      for (let round = 0; round < 3; round++) {
        const [file, copy] = [join(pair.source, `${round}`), join(pair.replica, `${round}`)];
        const versions = [randomBytes(size), randomBytes(size)] as const;
        writeFileSync(file, versions[0]);
        await eventually('the first version', () => isThere(copy, versions[0]));
        writeFileSync(file, versions[1]);
        await eventually('the second version', () => isThere(copy, versions[1]));
      }
      // Nothing is looked at for ever, nor sent again.
      await pair.flush();
      const { revision } = await pair.statusWhere('in step', ({ state }) => state === 'in step');
      await pair.flush();
      expect((await pair.status())['revision']).to.equal(revision);
      await pair.statusWhere('in step', ({ state }) => state === 'in step');
    });
  }

  it('that is in step before --once ends is so however it is written afterwards (E45)', async () => {
    const pair = pairs.prepare({ environment: { NODE_OPTIONS: `--import=${PRELOADED}` } });
    await pair.startServer();
    const once = () => pair.command('watch', ...pair.watcherArguments, '--once', '--progress', 'off');
    const file = join(pair.source, 'file');
    for (let round = 0; round < 4; round++) {
      writeFileSync(file, `${round}`);
      const { code, stderr } = await once();
      expect(code, stderr).to.equal(0);
      expect(readFileSync(join(pair.replica, 'file'), 'utf8')).to.equal(`${round}`);
    }
  });
});
