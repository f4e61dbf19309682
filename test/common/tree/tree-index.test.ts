/** The tree index: what it promises beyond holding entries. */
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { bigFile, directory, file, identity, pathsOf, reasonOf, symlink, withIndex } from './entries.ts';
import { treePath } from './paths.ts';

const OPTIONS = { digestFunction: 'blake3', indexInodes: true, indexContents: true } as const;

function putAll(index: TreeIndex, ...entries: Entry[]): void {
  index.transaction(() => {
    for (const entry of entries) index.put(entry, undefined);
  });
}

describe('TreeIndex', () => {
  it('holds any name, and gives entries back exactly (E01, E06, E13)', () => {
    withIndex((index) => {
      const names = [
        '\xff\xfeA',
        '__proto__',
        'constructor',
        'n'.repeat(255),
        '\xff'.repeat(255),
        'a\nb',
        '1',
        ' ',
        '\x01',
      ];
      const entries = names.flatMap((name) => [file(name, name, -1n), directory(`d${name}`.slice(0, 255))]);
      const unique = [...new Map(entries.map((entry) => [entry.path, entry])).values()];
      putAll(index, ...unique, symlink('link', '\xff../\x01'));
      for (const entry of unique) expect(index.get(entry.path)).to.deep.equal({ ...entry, identity: undefined });
      expect(index.get(treePath('link'))).to.deep.include(symlink('link', '\xff../\x01'));
      const stored = pathsOf(index.children(ROOT));
      expect(stored).to.deep.equal(
        stored.toSorted((a, b) => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'))),
      );
    });
  });

  it('knows of no group of names where it knows of no directory', () => {
    withIndex((index) => {
      index.put(file('a'), undefined);
      expect(index.linkGroupOf(treePath('a'))).to.equal(undefined);
      expect(index.linkGroupOf(treePath('missing/a'))).to.equal(undefined);
    });
  });

  it('keeps nanoseconds, times before 1970 and inodes beyond 2^63 as Node reports them', () => {
    withIndex((index) => {
      const disk = { dev: -1n, ino: -(2n ** 63n), ctimeNs: 2n ** 63n - 1n, mtimeNs: -1n, sizeBytes: 2 ** 53 - 1 };
      const entry = file('old', 'x', -(2n ** 63n));
      index.put(entry, disk);
      expect(index.get(entry.path)).to.deep.equal({ ...entry, identity: disk });
      expect(index.childRows(ROOT)).to.deep.equal([
        { name: 'old', kind: 'file', mode: 0o644, mtimeNs: -(2n ** 63n), sizeBytes: 1, identity: disk },
      ]);
      expect(pathsOf(index.findByInode(-1n, -(2n ** 63n)))).to.deep.equal(['old']);
    });
  });

  it('has a root from the start, whose metadata can be set but which is no entry to count, move or remove', () => {
    withIndex((index) => {
      expect(index.get(ROOT)).to.deep.equal({ ...directory(''), mtimeNs: 0n, identity: undefined });
      index.put(directory('', 0o700), identity(5n));
      expect(index.get(ROOT)).to.deep.equal({ ...directory('', 0o700), identity: identity(5n) });
      expect(index.count()).to.equal(0);
      expect(pathsOf(index.walk(ROOT))).to.deep.equal([]);
      expect(reasonOf(() => index.put(file(''), undefined))).to.equal('INVALID_PATH');
      expect(reasonOf(() => index.remove(ROOT))).to.equal('INVALID_PATH');
      expect(reasonOf(() => index.move(ROOT, treePath('a')))).to.equal('MOVE_INTO_SELF');
      index.put(directory('a'), undefined);
      expect(reasonOf(() => index.move(treePath('a'), ROOT))).to.equal('TARGET_EXISTS');
    });
  });

  it('says why a change is refused, and leaves no trace of it', () => {
    withIndex((index) => {
      putAll(index, directory('d'), directory('d/e'), file('f'));
      const move = (from: string, to: string) => reasonOf(() => index.move(treePath(from), treePath(to)));
      expect(reasonOf(() => index.put(file('x/y'), undefined))).to.equal('PARENT_MISSING');
      expect(reasonOf(() => index.put(file('f/y'), undefined))).to.equal('PARENT_MISSING');
      expect(reasonOf(() => index.setIdentity(treePath('x'), undefined))).to.equal('ENTRY_NOT_FOUND');
      expect(move('d', 'd/e/d')).to.equal('MOVE_INTO_SELF');
      expect(move('d', 'f')).to.equal('TARGET_EXISTS');
      expect(move('d', 'f/d')).to.equal('PARENT_MISSING');
      expect(move('x', 'y')).to.equal('ENTRY_NOT_FOUND');
      expect(reasonOf(() => index.treeDigest(treePath('f')))).to.equal('ENTRY_NOT_FOUND');
      expect(reasonOf(() => index.recordsWithDigests(treePath('x')))).to.equal('ENTRY_NOT_FOUND');
      expect(index.remove(treePath('x'))).to.equal(0);
      expect(pathsOf(index.walk(ROOT))).to.deep.equal(['d', 'd/e', 'f']);
    });
  });

  it('finds the right place after directories moved and names were used again', () => {
    withIndex((index) => {
      putAll(index, directory('a'), directory('a/b'), file('a/b/f', 'old'));
      index.move(treePath('a'), treePath('z'));
      putAll(index, directory('a'), directory('a/b'), file('a/b/g', 'new'));
      expect(pathsOf(index.walk(ROOT))).to.deep.equal(['a', 'a/b', 'a/b/g', 'z', 'z/b', 'z/b/f']);
      index.remove(treePath('a'));
      putAll(index, directory('a'));
      expect(index.has(treePath('a/b'))).to.equal(false);
      expect(reasonOf(() => index.put(file('a/b/h'), undefined))).to.equal('PARENT_MISSING');
      index.remove(treePath('a'));
      expect(reasonOf(() => index.put(file('a/h'), undefined))).to.equal('PARENT_MISSING');
    });
  });

  it('finds it also among more directories than it keeps in memory', () => {
    withIndex((index) => {
      const names = Array.from({ length: 20_000 }, (_, number) => `d/${number}`);
      putAll(index, directory('d'), ...names.map((name) => directory(name)));
      index.put(file('d/1/f'), undefined);
      index.put(file('d/15000/f'), undefined);
      index.move(treePath('d'), treePath('e'));
      index.put(directory('d'), undefined);
      for (const name of names) {
        expect(index.has(treePath(`${name}/f`))).to.equal(false);
        expect(reasonOf(() => index.put(file(`${name}/f`), undefined))).to.equal('PARENT_MISSING');
      }
      expect(index.countSubtree(treePath('e'))).to.equal(20_003);
      const before = index.treeDigest(ROOT);
      putAll(index, ...names.map((_, number) => file(`e/${number}/g`)));
      expect(index.treeDigest(ROOT).equals(before)).to.equal(false);
      index.verify();
    });
  });

  it('moves a directory without touching what it holds (E64)', () => {
    withIndex((index) => {
      const below = Array.from({ length: 20_000 }, (_, number) => file(`many/${number}`));
      putAll(index, directory('many'), directory('other'), ...below);
      index.checkpoint();
      const before = index.treeDigest(treePath('many'));
      index.move(treePath('many'), treePath('other/renamed'));
      expect(index.countSubtree(treePath('other/renamed'))).to.equal(20_001);
      expect(index.treeDigest(treePath('other/renamed')).equals(before)).to.equal(true);
      expect(index.get(treePath('other/renamed/77'))?.path).to.equal('other/renamed/77');
    });
  });

  it('is not limited by the stack at depth 1,000 (E05)', () => {
    withIndex((index) => {
      const deep = (depth: number) => Array(depth).fill('d').join('/');
      putAll(
        index,
        ...Array.from({ length: 1_000 }, (_, depth) => directory(deep(depth + 1))),
        file(`${deep(1_000)}/f`),
      );
      const digest = index.treeDigest(ROOT);
      expect([...index.walk(ROOT)].length).to.equal(1_001);
      expect(index.countSubtree(ROOT)).to.equal(1_001);
      index.put(file(`${deep(1_000)}/f`, 'changed'), identity(9n));
      expect(index.treeDigest(ROOT).equals(digest)).to.equal(false);
      expect(pathsOf(index.findByInode(66n, 9n))).to.deep.equal([`${deep(1_000)}/f`]);
      index.move(treePath('d/d'), treePath('moved'));
      expect(index.has(`moved/${deep(998)}/f` as TreePath)).to.equal(true);
      expect(index.remove(treePath('moved'))).to.equal(1_000);
      expect(index.count()).to.equal(1);
    });
  });

  it('pages through directories and trees', () => {
    withIndex((index) => {
      putAll(
        index,
        directory('d'),
        ...Array.from({ length: 1_000 }, (_, number) => file(`d/${String(number).padStart(4, '0')}`)),
      );
      const dir = treePath('d');
      expect(pathsOf(index.children(dir, { after: '0009', limit: 2 }))).to.deep.equal(['d/0010', 'd/0011']);
      expect(index.childRows(dir, { after: '0997x' }).map((row) => row.name)).to.deep.equal(['0998', '0999']);
      expect(index.recordsWithDigests(ROOT, { limit: 1 })[0]?.treeDigest?.equals(index.treeDigest(dir))).to.equal(true);
      expect(index.children(treePath('d/0001'))).to.deep.equal([]);
      expect([...index.walk(ROOT)].length).to.equal(1_001);
      expect(pathsOf(index.walkPage(ROOT, treePath('d/0500'), 1))).to.deep.equal(['d/0501']);
      expect(pathsOf(index.walkPage(dir, treePath('c'), 1))).to.deep.equal(['d/0000']);
      expect(index.walkPage(dir, treePath('e'), 1)).to.deep.equal([]);
      expect(index.countSubtree(ROOT, 10)).to.equal(10);
      expect(index.countSubtree(dir, 1)).to.equal(1);
      expect(index.countSubtree(dir, 0)).to.equal(0);
    });
  });

  it('finds contents above 64 KiB by digest, wherever they are', () => {
    withIndex((index) => {
      putAll(index, directory('d'), bigFile('d/big', 65_537), bigFile('d/small', 65_536));
      const find = (path: string) => {
        const entry = index.get(treePath(path));
        return entry?.kind === 'file' ? index.findByDigest(entry.digest) : undefined;
      };
      expect(find('d/big')?.path).to.equal('d/big');
      expect(find('d/small')).to.equal(undefined);
      index.move(treePath('d'), treePath('e'));
      expect(find('e/big')?.path).to.equal('e/big');
      expect(index.findByDigest(digestOf('blake3', Buffer.from('else')))).to.equal(undefined);
    });
  });

  it('forgets inodes with their entries, and tells hearsay from what was seen', () => {
    withIndex((index) => {
      putAll(index, file('a'), file('b'));
      index.setIdentity(treePath('a'), identity(1n));
      index.setIdentity(treePath('b'), identity(1n));
      expect(pathsOf(index.findByInode(66n, 1n)).toSorted()).to.deep.equal(['a', 'b']);
      expect(index.findByInode(67n, 1n)).to.deep.equal([]);
      index.setIdentity(treePath('a'), undefined);
      expect(index.get(treePath('a'))?.identity).to.equal(undefined);
      index.remove(treePath('b'));
      expect(index.findByInode(66n, 1n)).to.deep.equal([]);
    });
  });

  it('finds its root by inode, and nothing below what is no directory', () => {
    withIndex((index) => {
      const root = index.get(ROOT);
      if (root === undefined) throw new Error('there is no root');
      index.put(root, identity(5n));
      putAll(index, file('f'));
      index.setIdentity(treePath('f'), identity(6n));
      expect(pathsOf(index.findByInode(66n, 5n))).to.deep.equal([ROOT]);
      index.setLaterCtimeBelow(treePath('f'), 2n ** 62n);
      index.setLaterCtimeBelow(treePath('nothing'), 2n ** 62n);
      expect(index.get(treePath('f'))?.identity).to.deep.equal(identity(6n));
      index.setLaterCtimeBelow(ROOT, 2n ** 62n);
      expect(index.get(treePath('f'))?.identity?.ctimeNs).to.equal(2n ** 62n);
    });
  });

  it('knows a directory as settled until a row in it says something else, whoever changes that', () => {
    const [sub, one] = [treePath('sub'), treePath('sub/one')];
    const everyChange: Readonly<Record<string, (index: TreeIndex) => void>> = {
      'a new name': (index) => index.put(file('sub/new'), identity(9n)),
      'another entry': (index) => index.put(file('sub/one', 'other'), identity(1n)),
      'another identity': (index) => index.put(file('sub/one'), identity(3n)),
      hearsay: (index) => index.setIdentity(one, undefined),
      'a directory in it': (index) => index.put(directory('sub/below', 0o700), identity(4n)),
      'a name removed': (index) => void index.remove(one),
      'a name moved out': (index) => index.move(one, treePath('one')),
      'a name moved in': (index) => index.move(treePath('other'), treePath('sub/other')),
      'a name in it renamed': (index) => index.move(one, treePath('sub/renamed')),
      'a later ctime': (index) => index.setLaterCtime(66n, 1n, 2_000_000_000_000_000_000n),
      'a later ctime below': (index) => index.setLaterCtimeBelow(sub, 2_000_000_000_000_000_000n),
    };
    for (const [what, change] of Object.entries(everyChange)) {
      withIndex(
        (index) => {
          putAll(index, directory('sub'), directory('sub/below'), file('other'));
          index.put(file('sub/one'), identity(1n));
          expect(index.settledLook(sub)).to.equal(undefined);
          index.settle(sub, 'first');
          index.settle(sub, 'second');
          index.settle(ROOT, 'root');
          expect([index.settledLook(sub), index.settledLook(ROOT)]).to.deep.equal(['second', 'root']);
          change(index);
          expect(index.settledLook(sub), what).to.equal(undefined);
        },
        { keepsSettled: true },
      );
    }
  });

  it('keeps a directory settled through what is no matter of the names in it', () => {
    const sub = treePath('sub');
    withIndex(
      (index, path) => {
        putAll(index, directory('sub'), file('sub/one'), directory('sub/below'), file('sub/below/two'));
        index.settle(sub, 'look');
        index.treeDigest(ROOT);
        index.put(file('sub/below/two', 'other'), identity(2n));
        index.setLinkGroup(treePath('sub/one'), 1);
        index.put(file('beside'), identity(3n));
        const before = index.changes;
        expect(() =>
          index.transaction(() => {
            index.remove(treePath('sub/one'));
            throw new Error('undone');
          }),
        ).to.throw('undone');
        expect(index.changes).to.be.above(before);
        expect(index.settledLook(sub)).to.equal('look');
        index.move(sub, treePath('moved'));
        expect(index.settledLook(treePath('moved'))).to.equal('look');
        index.close();
        const again = TreeIndex.open(path, { ...OPTIONS, keepsSettled: true });
        expect(again.settledLook(treePath('moved'))).to.equal('look');
        again.remove(treePath('moved'));
        again.put(directory('moved'), undefined);
        expect(again.settledLook(treePath('moved'))).to.equal(undefined);
        expect(again.settledLook(treePath('no/such/directory'))).to.equal(undefined);
        again.close();
      },
      { keepsSettled: true },
    );
  });

  it('has no settled directories where it was opened without, and learns of them when it is opened with', () => {
    withIndex((index, path) => {
      putAll(index, directory('sub'), file('sub/one'));
      index.settle(treePath('sub'), 'look');
      expect(index.settledLook(treePath('sub'))).to.equal(undefined);
      expect([index.hasChildren(treePath('sub')), index.hasChildren(treePath('sub/one'))]).to.deep.equal([true, false]);
      index.close();
      const later = TreeIndex.open(path, { ...OPTIONS, keepsSettled: true });
      later.settle(treePath('sub'), 'look');
      later.close();
      // Whoever opens it without still forgets what is no longer true.
      const without = TreeIndex.open(path, OPTIONS);
      without.remove(treePath('sub/one'));
      without.close();
      const last = TreeIndex.open(path, { ...OPTIONS, keepsSettled: true });
      expect(last.settledLook(treePath('sub'))).to.equal(undefined);
      last.close();
    });
  });

  it('is not used after its end', () => {
    withIndex((index) => {
      index.close();
      for (const use of [() => index.children(ROOT), () => index.put(file('f'), undefined)]) {
        expect(reasonOf(use)).to.equal('INTERNAL');
      }
    });
  });

  it('refuses lookups that it was not opened for', () => {
    withIndex(
      (index) => {
        expect(reasonOf(() => index.findByInode(1n, 1n))).to.equal('INTERNAL');
        expect(reasonOf(() => index.findByDigest(digestOf('blake3', Buffer.alloc(0))))).to.equal('INTERNAL');
      },
      { indexInodes: false, indexContents: false },
    );
  });

  it('changes its root digest with any single difference, and with nothing else', () => {
    withIndex((index) => {
      putAll(index, directory('d'), directory('d/e'), file('d/e/f', 'x'), symlink('d/l', 't'));
      const original = index.treeDigest(ROOT);
      const changes: readonly (() => void)[] = [
        () => index.put(file('d/e/f', 'y'), undefined),
        () => index.put(file('d/e/f', 'x', 1n), undefined),
        () => index.put({ ...file('d/e/f', 'x'), kind: 'directory', mode: 0o644 }, undefined),
        () => index.put({ ...directory('d/e'), mtimeNs: 0n } as Entry, undefined),
        () => index.put(directory('d/e', 0o700), undefined),
        () => index.put(symlink('d/l', 'u'), undefined),
        () => index.put(directory('d/e/g'), undefined),
        () => index.move(treePath('d/e/f'), treePath('d/e/g')),
        () => index.move(treePath('d/e'), treePath('e')),
        () => index.remove(treePath('d/l')),
        () => index.remove(treePath('d/e')),
      ];
      for (const change of changes) {
        const undo = new Error('undo');
        const attempt = () =>
          index.transaction(() => {
            change();
            expect(index.treeDigest(ROOT).equals(original), String(change)).to.equal(false);
            throw undo;
          });
        expect(attempt).to.throw(undo);
        expect(index.treeDigest(ROOT).equals(original)).to.equal(true);
      }
      index.setIdentity(treePath('d/e/f'), identity(3n));
      index.put(file('d/e/f', 'x'), identity(4n));
      index.put(directory('', 0o700), undefined);
      expect(index.treeDigest(ROOT).equals(original)).to.equal(true);
    });
  });

  it('does not take up an old digest when a directory comes where one was', () => {
    withIndex((index) => {
      putAll(index, directory('d'), file('d/f'));
      index.treeDigest(ROOT);
      index.put(file('d'), undefined);
      index.put(directory('d'), undefined);
      expect(index.treeDigest(treePath('d')).equals(digestOf('blake3', Buffer.alloc(0)))).to.equal(true);
    });
  });

  it('undoes an inner transaction alone, and keeps its counters right', () => {
    withIndex((index) => {
      index.transaction(() => {
        putAll(index, directory('a'), file('a/f', 'four'));
        const inner = () =>
          index.transaction(() => {
            index.remove(treePath('a'));
            index.put(directory('a'), undefined);
            throw new Error('inner');
          });
        expect(inner).to.throw('inner');
        index.put(file('a/g', 'five!'), undefined);
      });
      expect(pathsOf(index.walk(ROOT))).to.deep.equal(['a', 'a/f', 'a/g']);
      expect([index.count(), index.bytes()]).to.deep.equal([3, 9]);
    });
  });

  it('commits and rolls back by hand', () => {
    withIndex((index) => {
      index.begin();
      index.put(file('kept'), undefined);
      index.setMeta('revision', '1');
      index.commit();
      index.begin();
      index.put(file('undone'), undefined);
      index.setMeta('revision', '2');
      expect(reasonOf(() => index.begin())).to.equal('INTERNAL');
      index.rollback();
      index.rollback();
      expect(pathsOf(index.walk(ROOT))).to.deep.equal(['kept']);
      expect(index.getMeta('revision')).to.equal('1');
      expect(index.getMeta('epoch')).to.equal(undefined);
    });
  });

  it('tells all values of one prefix, and none of others', () => {
    withIndex((index) => {
      for (const key of ['answe', 'answer.', 'answer.0', 'answer.10', 'answer/', 'answers.1'])
        index.setMeta(key, `of ${key}`);
      expect([...index.allMeta('answer.')]).to.deep.equal([
        ['', 'of answer.'],
        ['0', 'of answer.0'],
        ['10', 'of answer.10'],
      ]);
      expect(index.allMeta('none.').size).to.equal(0);
    });
  });

  it('does not commit a transaction in which a statement failed', () => {
    withIndex((index) => {
      index.begin();
      index.put(file('half'), undefined);
      const impossible = { ...file('x'), mtimeNs: 2n ** 70n } as Entry;
      expect(() => index.put(impossible, undefined)).to.throw();
      expect(reasonOf(() => index.commit())).to.equal('INTERNAL');
      expect(index.count()).to.equal(0);
      index.put(file('next'), undefined);
      expect(pathsOf(index.walk(ROOT))).to.deep.equal(['next']);
    });
  });

  it('counts sizes beyond 2^53 without failing (E20)', () => {
    withIndex((index, path) => {
      putAll(index, ...Array.from({ length: 2_000 }, (_, number) => bigFile(`hole${number}`, 2 ** 53 - 1)));
      expect(index.bytes()).to.be.closeTo(2_000 * 2 ** 53, 2 ** 40);
      index.close();
      const again = TreeIndex.open(path, OPTIONS);
      expect(again.count()).to.equal(2_000);
      again.close();
    });
  });

  it('never uses the id of a removed directory again, also after it was opened anew', () => {
    withIndex((index, path) => {
      putAll(index, directory('a'), directory('b'));
      const walker = index.walk(ROOT);
      expect(walker.next().value?.path).to.equal('a');
      index.remove(treePath('b'));
      index.remove(treePath('a'));
      index.close();
      const again = TreeIndex.open(path, OPTIONS);
      putAll(again, directory('c'), file('c/f'));
      expect(pathsOf(again.walk(ROOT))).to.deep.equal(['c', 'c/f']);
      again.verify();
      again.close();
    });
  });
});
