import { chmodSync, linkSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { LookAhead } from '../../../clients/watcher/observe/look-ahead.ts';
import type { SeenDirectory } from '../../../clients/watcher/observe/seen-directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

const path = (text: string): TreePath => text as TreePath;

describe('the look ahead', () => {
  const temporary = useTemporaryDirectory();
  let tree: string;
  let ahead: LookAhead;

  beforeEach(() => {
    tree = join(temporary.path, 'tree');
    mkdirSync(tree);
    ahead = new LookAhead(tree);
  });

  afterEach(() => ahead.close());

  /** Wants it until the thread was quicker than the claim. */
  async function seenOf(directory: string): Promise<SeenDirectory> {
    for (;;) {
      ahead.want([path(directory)]);
      await sleep(2);
      const seen = await ahead.claim(path(directory));
      if (seen !== undefined) return seen;
    }
  }

  it('sees names in byte order, each as lstat shows it', async () => {
    mkdirSync(join(tree, 'd', 'below'), { recursive: true });
    for (const name of ['b', 'a\n', 'B', 'ä']) writeFileSync(join(tree, 'd', name), name);
    linkSync(join(tree, 'd', 'b'), join(tree, 'd', 'c'));
    symlinkSync('nowhere', join(tree, 'd', 'link'));
    chmodSync(join(tree, 'd', 'B'), 0o4750);
    utimesSync(join(tree, 'd', 'b'), -1.5, -1.5);
    using root = SafeRoot.open(tree);
    const directory = root.directory(path('d'));
    const seen = await seenOf('d');
    expect(seen.names).to.deep.equal(directory.list().sort());
    for (const [index, name] of seen.names.entries()) expect(seen.statAt(index)).to.deep.equal(directory.lstat(name));
    expect((await seenOf('d/below')).names).to.deep.equal([]);
  });

  it('leaves to the scan what is not there, and what the scan begins with before it', async () => {
    for (let number = 0; number < 200; number++) mkdirSync(join(tree, `d${number}`));
    const wanted = Array.from({ length: 200 }, (_, number) => path(`d${number}`));
    ahead.want(wanted);
    // The thread has hardly begun.
    expect(await ahead.claim(path('d0'))).to.equal(undefined);
    expect(await ahead.claim(path('never wanted'))).to.equal(undefined);
    rmSync(join(tree, 'd199'), { recursive: true });
    await seenOf('d198');
    ahead.want([path('d199')]);
    expect(await ahead.claim(path('d199'))).to.equal(undefined);
    expect((await seenOf('d1')).names).to.deep.equal([]);
  });

  it('is at most so far ahead, and goes on when the scan follows', async () => {
    const [directories, files, bound] = [40, 50, 1_000];
    for (let number = 0; number < directories; number++) {
      mkdirSync(join(tree, `d${number}`));
      for (let file = 0; file < files; file++) symlinkSync('x', join(tree, `d${number}`, `${file}`));
    }
    await ahead.close();
    ahead = new LookAhead(tree, bound);
    const wanted = Array.from({ length: directories }, (_, number) => path(`d${number}`));
    ahead.want(wanted);
    while (ahead.waitingNames < bound) await sleep(2);
    await sleep(50);
    expect(ahead.waitingNames).to.be.below(bound + files);
    let seenNames = 0;
    for (const directory of wanted) seenNames += (await ahead.claim(directory))?.names.length ?? 0;
    expect(seenNames).to.be.at.least(bound);
    expect(ahead.waitingNames).to.equal(0);
  });

  it('leaves a directory with more names to the scan', async () => {
    for (const name of ['d', 'e']) mkdirSync(join(tree, name));
    for (let file = 0; file < 50; file++) symlinkSync('x', join(tree, 'd', `${file}`));
    await ahead.close();
    ahead = new LookAhead(tree, 40);
    await seenOf('e');
    ahead.want([path('d'), path('e')]);
    expect(await ahead.claim(path('d'))).to.equal(undefined);
  });

  it('ends with its owner, and everything is left to the scan from then on', async () => {
    mkdirSync(join(tree, 'd'));
    ahead.want([path('d')]);
    const claimed = ahead.claim(path('d'));
    await ahead.close();
    await claimed;
    ahead.want([path('d')]);
    expect(await ahead.claim(path('d'))).to.equal(undefined);
  });

  it('leaves everything to the scan where its thread cannot begin', async () => {
    const missing = new LookAhead(join(tree, 'missing'));
    missing.want([path('d')]);
    await sleep(50);
    expect(await missing.claim(path('d'))).to.equal(undefined);
    await missing.close();
  });
});
