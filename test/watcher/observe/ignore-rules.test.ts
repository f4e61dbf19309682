import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readIgnoreFile } from '../../../clients/watcher/observe/ignore-file.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';

function path(text: string): TreePath {
  return treePathFromLocal(Buffer.from(text));
}

describe('IgnoreRules', () => {
  it('ignores nothing when there are no rules', () => {
    const rules = new IgnoreRules([]);
    expect(rules.isEmpty).to.equal(true);
    expect(rules.isIgnored(path('a/b'), false)).to.equal(false);
    expect(rules.rulesFor(path('a')).ignoresNothing).to.equal(true);
  });

  it('ignores the reserved name at the root only, and says so once (E03)', () => {
    let reported = 0;
    const rules = new IgnoreRules([], () => reported++);
    expect(rules.isIgnored(path('.lockstep'), true)).to.equal(true);
    expect(rules.isIgnored(path('.lockstep/index'), false)).to.equal(true);
    expect(rules.rulesFor(ROOT).ignores('.lockstep', true)).to.equal(true);
    expect(rules.isIgnored(path('a/.lockstep'), true)).to.equal(false);
    expect(reported).to.equal(1);
  });

  it('lets nothing below an ignored directory in again', () => {
    const rules = new IgnoreRules(['build/', '!build/keep']);
    expect(rules.isIgnored(path('build'), true)).to.equal(true);
    expect(rules.isIgnored(path('build/keep'), false)).to.equal(true);
    expect(rules.isIgnored(path('x/build/y/z'), false)).to.equal(true);
    expect(rules.isIgnored(path('build'), false)).to.equal(false);
    expect(rules.rulesFor(path('build/sub')).ignoresAll).to.equal(true);
  });

  it('reads the patterns of a file relative to its directory, deeper files last, --exclude over all', () => {
    const rules = new IgnoreRules(['*.secret']);
    rules.reload(ROOT, Buffer.from('*.log\r\n/top\n'));
    rules.reload(path('d'), Buffer.from('!keep.log\n/own\n!*.secret\n'));
    expect(rules.isIgnored(path('a.log'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/a.log'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/keep.log'), false)).to.equal(false);
    expect(rules.isIgnored(path('top'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/top'), false)).to.equal(false);
    expect(rules.isIgnored(path('d/own'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/e/own'), false)).to.equal(false);
    expect(rules.isIgnored(path('d/a.secret'), false)).to.equal(true);
  });

  it('never ignores a rule file by itself', () => {
    const rules = new IgnoreRules([]);
    rules.reload(ROOT, Buffer.from('*.log\n'));
    expect(rules.isIgnored(path('.syncignore'), false)).to.equal(false);
  });

  it('says whether a reload changes anything (E119)', () => {
    const rules = new IgnoreRules([]);
    expect(rules.reload(ROOT, Buffer.from('a\n')).changed).to.equal(true);
    expect(rules.reload(ROOT, Buffer.from('a\n')).changed).to.equal(false);
    expect(rules.reload(ROOT, Buffer.from('b\n')).changed).to.equal(true);
    expect(rules.isIgnored(path('a'), false)).to.equal(false);
    expect(rules.reload(ROOT, undefined).changed).to.equal(true);
    expect(rules.reload(ROOT, undefined).changed).to.equal(false);
    expect(rules.isEmpty).to.equal(true);
  });

  it('keeps the last good rules of a file that cannot be read or understood (E120)', () => {
    const rules = new IgnoreRules([]);
    rules.reload(ROOT, Buffer.from('secret\n'));
    const unreadable = rules.reload(ROOT, new LockstepError('PERMISSION_DENIED', 'no'));
    expect(unreadable.changed).to.equal(false);
    expect(unreadable.problem?.reason).to.equal('PERMISSION_DENIED');
    const broken = rules.reload(ROOT, Buffer.from([0xff, 0xfe, 0x41]));
    expect(broken.problem?.message).to.contain('.syncignore');
    const huge = rules.reload(ROOT, Buffer.alloc(300 * 1024, 0x61));
    expect(huge.problem?.reason).to.equal('LIMIT_EXCEEDED');
    expect(rules.isIgnored(path('secret'), false)).to.equal(true);
    expect(rules.isIgnored(path('other'), false)).to.equal(false);
  });

  it('manages nothing below a directory whose rules were never readable (E120)', () => {
    const rules = new IgnoreRules([]);
    const unreadable = new LockstepError('PERMISSION_DENIED', 'no');
    expect(rules.reload(path('d'), unreadable).changed).to.equal(true);
    expect(rules.isIgnored(path('d/a'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/e/a'), false)).to.equal(true);
    expect(rules.isIgnored(path('d/.syncignore'), false)).to.equal(false);
    expect(rules.isIgnored(path('a'), false)).to.equal(false);
    expect(rules.reload(path('d'), Buffer.from('e\n')).changed).to.equal(true);
    expect(rules.isIgnored(path('d/a'), false)).to.equal(false);
  });

  it('forgets the rules of a removed directory', () => {
    const rules = new IgnoreRules([]);
    rules.reload(path('d/e'), Buffer.from('a\n'));
    rules.forget(path('d'));
    expect(rules.isIgnored(path('d/e/a'), false)).to.equal(false);
  });

  it('matches names as text where they are UTF-8, and byte by byte elsewhere (E01)', () => {
    const rules = new IgnoreRules(['caf?', 'r\u00e9*', '\u00ff?A']);
    expect(rules.isIgnored(path('café'), false)).to.equal(true);
    expect(rules.isIgnored(path('résumé'), false)).to.equal(true);
    expect(rules.isIgnored(treePathFromLocal(Buffer.from([0xff, 0xfe, 0x41])), false)).to.equal(true);
  });
});

describe('readIgnoreFile', () => {
  it('reads regular files only', () => {
    const directory = mkdtempSync(join(tmpdir(), 'ignore-file-'));
    const root = SafeRoot.open(directory);
    try {
      expect(readIgnoreFile(root.directory(ROOT))).to.equal(undefined);
      symlinkSync('/etc/passwd', join(directory, '.syncignore'));
      expect(readIgnoreFile(root.directory(ROOT))).to.equal(undefined);
      rmSync(join(directory, '.syncignore'));
      writeFileSync(join(directory, '.syncignore'), 'a\n');
      expect(readIgnoreFile(root.directory(ROOT))?.toString()).to.equal('a\n');
    } finally {
      root.close();
      rmSync(directory, { recursive: true });
    }
  });

  it('finds none in a directory whose place another one has taken, by paths: no rule of it can be read any more (E36)', () => {
    const base = mkdtempSync(join(tmpdir(), 'ignore-file-'));
    mkdirSync(join(base, 'd'));
    const root = SafeRoot.open(base, { way: 'paths' });
    try {
      const directory = root.directory(path('d'));
      renameSync(join(base, 'd'), join(base, 'old'));
      mkdirSync(join(base, 'd'));
      expect(readIgnoreFile(directory)).to.equal(undefined);
    } finally {
      root.close();
      rmSync(base, { recursive: true });
    }
  });
});
