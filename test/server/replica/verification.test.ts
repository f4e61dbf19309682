/**
 * A folder held against its disk, and read, while somebody changes it.
 */
import { execFileSync } from 'node:child_process';
import {
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { ApplierService } from '../../../services/sync-server/replica/applier-service.ts';
import type { ContentApi } from '../../../services/sync-server/replica/content-api.ts';
import { readContent } from '../../../services/sync-server/replica/content-reader.ts';
import { ContentService } from '../../../services/sync-server/replica/content-service.ts';
import { readSignature } from '../../../services/sync-server/replica/content-signature.ts';
import type { VerifyItem } from '../../../services/sync-server/replica/replica.ts';
import { verifyFolder } from '../../../services/sync-server/replica/verify-folder.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  CollectedLog,
  encodeBatch,
  fileEntry,
  link,
  mkdir,
  p,
  put,
  remove,
  removeDirectory,
  settingsFor,
  symlink,
  temporaryDirectory,
} from './support.ts';

describe('a folder that is read', () => {
  let directory: string;
  let applier: ApplierService;
  let content: ContentService;
  /** Directories in which something is said to be another. */
  let drifted: TreePath[];
  const never = new AbortController().signal;

  const apply = async (...changes: Change[]): Promise<void> => {
    const lease = await applier.nextLease();
    const encoded = encodeBatch(changes);
    const { problems } = await applier.applyBatch({ lease, encoded, form: 'batch', acknowledgement: 'durable' });
    expect(problems).to.deep.equal([]);
  };
  const local = (path: string): string => join(directory, path);

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    const settings = settingsFor(directory);
    const logger = new CollectedLog();
    drifted = [];
    const onDrift = (directories: readonly TreePath[]): unknown => drifted.push(...directories);
    const events = { onInfo: () => undefined, onDrift, onTrash: () => undefined };
    applier = new ApplierService({ settings, logger, events, syncFileSystem: async () => undefined });
    content = new ContentService({ settings, logger });
  });

  afterEach(async () => {
    await content.close();
    await applier.close();
    removeDirectory(directory);
  });

  const verify = (
    path = '',
    signal = never,
    through: ContentApi = content,
    repair = false,
  ): AsyncGenerator<VerifyItem, void, void> =>
    verifyFolder(applier, through, () => 1n, { path: p(path), repair }, signal);

  /** The content worker, but for these of its methods. */
  function contentWith(own: Partial<ContentApi>): ContentApi {
    return {
      ...own,
      verifyPage: own.verifyPage ?? content.verifyPage.bind(content),
      verifyEntries: own.verifyEntries ?? content.verifyEntries.bind(content),
      closeListing: own.closeListing ?? content.closeListing.bind(content),
    } as ContentApi;
  }

  async function itemsOf(items: AsyncIterable<VerifyItem>): Promise<string[]> {
    const told: string[] = [];
    for await (const item of items) {
      if (item.type === 'mismatch' && item.kind !== 'metadata') told.push(`${item.kind} ${item.path}`);
      if (item.type === 'summary') told.push(`${item.counts.entries} entries`);
    }
    return told;
  }

  const reasonOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => 'no error',
      (error: unknown) => (error instanceof LockstepError ? error.reason : error),
    );

  it('shows every way in which an entry can be another (E98)', async () => {
    await apply(mkdir('d'), put('d/a', '1'), mkdir('empty'), put('f', '2'), put('g', '3'));
    await apply(symlink('l', 'f'), symlink('m', 'f'), put('size', '4'));
    rmSync(local('d'), { recursive: true });
    writeFileSync(local('d'), 'a file now');
    for (const name of ['f', 'l', 'm']) rmSync(local(name));
    symlinkSync('g', local('f'));
    symlinkSync('g', local('l'));
    mkdirSync(local('m'));
    writeFileSync(local('size'), 'longer');
    mkdirSync(local('extra'));
    writeFileSync(local('extra/not-looked-at'), '');
    execFileSync('mkfifo', [local('fifo')]);
    expect((await itemsOf(verify())).sort()).to.deep.equal([
      '8 entries',
      'content l',
      'content size',
      'extra extra',
      'kind d',
      'kind f',
      'kind m',
      'unreadable d',
    ]);
    expect(await itemsOf(verify('g'))).to.deep.equal(['1 entries']);
    expect(await reasonOf(itemsOf(verify('nothing')))).to.equal('ENTRY_NOT_FOUND');
  });

  describe('with names of one file', () => {
    const record = fileEntry('a', 'one');
    const apart = (name: string): void => {
      execFileSync('cp', ['-p', '--reflink=never', local(name), local('.lockstep/copy')]);
      renameSync(local('.lockstep/copy'), local(name));
    };
    beforeEach(async () => {
      await apply(mkdir('d'), put('a', 'one'), link('b', 'a', record), link('d/c', 'a', record));
      await apply(put('x', 'one'), put('d/y', 'one'), put('z', 'one'));
      expect(await itemsOf(verify())).to.deep.equal(['7 entries']);
    });

    it('shows those that are apart, and tells whoever linked them (E19)', async () => {
      apart('d/c');
      expect(await itemsOf(verify())).to.deep.equal(['links d/c', '7 entries']);
      expect(await itemsOf(verify('d/c'))).to.deep.equal(['links d/c', '1 entries']);
      expect(await itemsOf(verify('', never, content, true))).to.deep.equal(['links d/c', '7 entries']);
      expect([...new Set(drifted)].sort()).to.deep.equal(['', 'd']);
      expect(await itemsOf(verify())).to.deep.equal(['7 entries']);
      await apply(link('d/c', 'a', record));
      expect(lstatSync(local('d/c')).ino).to.equal(lstatSync(local('a')).ino);
      expect(await itemsOf(verify())).to.deep.equal(['7 entries']);
    });

    for (const [from, to] of [
      ['x', 'd/y'],
      ['d/y', 'x'],
      ['b', 'z'],
    ] as const) {
      it(`shows those that are one file and should not be: ${to}, which became ${from} (E19)`, async () => {
        unlinkSync(local(to));
        linkSync(local(from), local(to));
        const found = await itemsOf(verify());
        expect(found).to.have.lengthOf(2);
        expect(found[0]).to.match(/^links (?:x|d\/y|z)$/);
        expect(await itemsOf(verify('', never, content, true))).to.deep.equal(found);
        expect(drifted).not.to.be.empty;
        expect(await itemsOf(verify())).to.deep.equal(['7 entries']);
      });
    }

    it('has nothing against a copy of it all, links included, and finds what is wrong in that', async () => {
      const copy = temporaryDirectory('/dev/shm');
      execFileSync('cp', ['-a', ...['a', 'b', 'd', 'x', 'z'].map(local), copy]);
      for (const name of ['a', 'b', 'd', 'x', 'z']) {
        rmSync(local(name), { recursive: true });
        renameSync(join(copy, name), local(name));
      }
      removeDirectory(copy);
      expect(await itemsOf(verify())).to.deep.equal(['7 entries']);
      apart('b');
      expect((await itemsOf(verify())).filter((item) => item.startsWith('links'))).to.include('links b');
    });

    it('says nothing of a batch that was quicker', async () => {
      const late = contentWith({
        verifyPage: async (...parameters) => {
          const found = await content.verifyPage(...parameters);
          if (parameters[0] === ROOT) await apply(link('z', 'a', record), put('b', 'two'));
          return found;
        },
      });
      expect(await itemsOf(verify('', never, late))).to.deep.equal(['7 entries']);
    });
  });

  it('shows what the disk does not give out', async () => {
    await apply(put('a', '1'));
    using _ = failingCalls('readSync', 'EIO');
    expect(await itemsOf(verify())).to.deep.equal(['unreadable a', '1 entries']);
  });

  it('is looked through in parts, none of whose names belong to another one', async () => {
    await apply(...Array.from({ length: 600 }, (_, at) => put(`f${String(at).padStart(3, '0')}`, '')));
    for (const name of ['a', 'f255+', 'f300', 'z']) writeFileSync(local(name), 'x');
    expect((await itemsOf(verify())).sort()).to.deep.equal([
      '600 entries',
      'content f300',
      'extra a',
      'extra f255+',
      'extra z',
    ]);
  });

  it('names what cannot be looked at, and a directory only while it cannot be listed', async () => {
    await apply(mkdir('d'), put('d/a', '1'));
    writeFileSync(local('d/extra'), '');
    const isExtra = (_number: number, [path]: readonly unknown[]) => String(path).endsWith('/extra');
    {
      using _ = failingCalls('lstatSync', 'EACCES', isExtra);
      expect(await itemsOf(verify('d'))).to.deep.equal(['unreadable d/extra', '1 entries']);
    }
    {
      using _ = failingCalls('lstatSync', 'ENOENT', isExtra);
      expect(await itemsOf(verify('d'))).to.deep.equal(['1 entries']);
    }
    using _ = failingCalls('readdirSync', 'EIO', (number) => number === 1);
    expect((await itemsOf(verify('d'))).at(-1)).to.equal('1 entries');
  });

  describe('with a directory of very many entries', () => {
    const COUNT = 1_500;
    const name = (at: number): string => `f${String(at).padStart(4, '0')}`;
    beforeEach(() => apply(...Array.from({ length: COUNT }, (_, at) => put(name(at), ''))));

    /** What of the file system is called how often while it is verified. */
    async function callsOf(path: string): Promise<{ lists: number; looks: number; items: string[] }> {
      let [lists, looks] = [0, 0];
      using _list = failingCalls('readdirSync', 'EIO', () => ++lists < 0);
      using _look = failingCalls('lstatSync', 'EIO', () => ++looks < 0);
      return { items: await itemsOf(verify(path)), lists, looks };
    }

    it('lists it once, and not at all for one of its files', async () => {
      const all = await callsOf('');
      expect(all).to.deep.include({ lists: 1, items: [`${COUNT} entries`] });
      expect(all.looks).to.be.at.most(COUNT + 20);
      let asked = 0;
      const original = applier.verificationPage.bind(applier);
      applier.verificationPage = (...parameters) => {
        asked++;
        return original(...parameters);
      };
      const one = await callsOf(name(COUNT - 1));
      expect(one).to.deep.include({ lists: 0, items: ['1 entries'] });
      expect(one.looks).to.be.at.most(20);
      expect(asked, 'no other rows are asked for').to.equal(0);
      writeFileSync(local(name(7)), 'x');
      expect(await callsOf(name(7))).to.deep.include({ lists: 0, items: [`content ${name(7)}`, '1 entries'] });
    });

    it('looks at what it finds once more, and at nothing else', async () => {
      for (let at = 0; at < COUNT; at += 10) writeFileSync(local(name(at)), 'x');
      for (let at = 0; at < COUNT; at += 2) writeFileSync(local(`${name(at)}+`), '');
      const { lists, looks, items } = await callsOf('');
      const [wrong, extra] = [COUNT / 10, COUNT / 2];
      expect(items.filter((item) => item.startsWith('content'))).to.have.lengthOf(wrong);
      const told = items.filter((item) => item.startsWith('extra'));
      expect([told.length, new Set(told).size]).to.deep.equal([extra, extra]);
      expect(lists).to.equal(1);
      expect(looks).to.be.at.most(COUNT + wrong + 2 * extra + 50);
    });

    it('is not wrong in what comes and goes after it was listed', async () => {
      let pages = 0;
      const busy = contentWith({
        verifyPage: async (...parameters) => {
          const found = await content.verifyPage(...parameters);
          // Behind, in and before the part that was just looked at.
          if (pages++ === 0)
            await apply(remove(name(1400)), remove(name(3)), put('a', '1'), put('z', '2'), remove(name(1200)));
          if (pages === 3) await apply(put(name(3), 'again'), put(name(1300), 'other'), remove(name(20)));
          return found;
        },
      });
      const items = await itemsOf(verify('', never, busy));
      expect(pages).to.be.greaterThan(4);
      expect(items).to.deep.equal([`${COUNT - 2 + 1} entries`]);
    });

    it('keeps no listing of it when it is left', async () => {
      const opened = new Set<number>();
      const counting = contentWith({
        verifyPage: async (...parameters) => {
          const found = await content.verifyPage(...parameters);
          if (found.listing !== undefined) opened.add(found.listing);
          return found;
        },
        closeListing: async (listing) => {
          opened.delete(listing);
          await content.closeListing(listing);
          expect(await reasonOf(content.verifyPage(ROOT, { rows: [], isLast: true }, listing))).to.equal('CANCELLED');
        },
      });
      for await (const item of verify('', never, counting)) {
        expect([item.type, opened.size]).to.deep.equal(['progress', 1]);
        break;
      }
      expect(opened.size).to.equal(0);
    });
  });

  it('is not wrong where a batch was quicker', async () => {
    await apply(mkdir('d'), put('d/a', '1'), mkdir('e'), put('e/a', '1'));
    const items = verify();
    await items.next();
    // Listed as its parent's, and gone when its turn comes.
    await apply(remove('d'));
    expect(await itemsOf(items)).to.deep.equal(['3 entries']);
    rmSync(local('e/a'));
    const late = contentWith({
      verifyPage: async (...parameters) => {
        const found = await content.verifyPage(...parameters);
        if (parameters[0] === 'e') await apply(remove('e'));
        return found;
      },
    });
    expect(await itemsOf(verify('', never, late))).to.deep.equal(['2 entries']);
  });

  it('is left, without a summary, by whoever loses patience', async () => {
    await apply(mkdir('d'), put('d/a', '1'));
    const patience = new AbortController();
    const items = verify('', patience.signal);
    await items.next();
    patience.abort();
    expect(await itemsOf(items)).to.deep.equal([]);
  });

  it('gives no content that was cut short behind its back, and the empty one at once', async () => {
    await apply(put('a', Buffer.alloc(200_000, 7)), put('empty', ''));
    const lengths: number[] = [];
    for await (const { data } of readContent(applier, content, p('empty'), 0, undefined)) lengths.push(data.length);
    expect(lengths).to.deep.equal([0]);
    const cutting: ContentApi = Object.create(content, {
      openContent: {
        value: async (file: Parameters<ContentApi['openContent']>[0]) => {
          const handle = await content.openContent(file);
          truncateSync(local('a'), 10);
          return handle;
        },
      },
      readContent: {
        value: (handle: number, offset: number, length: number) => content.readContent(handle, offset, length),
      },
      closeContent: { value: (handle: number) => content.closeContent(handle) },
    });
    const parts = readContent(applier, cutting, p('a'), 0, undefined);
    expect(await reasonOf(parts.next())).to.equal('DRIFTED');
    const { digest } = fileEntry('a', Buffer.alloc(200_000, 7));
    expect(await reasonOf(readSignature(applier, content, digest, never).next())).to.equal('CONTENT_NOT_FOUND');
    rmSync(local('a'));
    await apply(put('b', Buffer.alloc(200_000, 7)));
    renameSync(local('b'), local('a'));
    expect(await reasonOf(readContent(applier, content, p('b'), 0, undefined).next())).to.equal('DRIFTED');
  });

  it('has no signature of a content that is another by the time it is read', async () => {
    await apply(put('a', Buffer.alloc(200_000, 7)));
    const changing: ContentApi = Object.create(content, {
      openContent: {
        value: async (file: Parameters<ContentApi['openContent']>[0]) => {
          const handle = await content.openContent(file);
          writeFileSync(local('a'), Buffer.alloc(200_000, 8));
          return handle;
        },
      },
      signContent: { value: (handle: number, sizeBytes: number) => content.signContent(handle, sizeBytes) },
      closeContent: { value: (handle: number) => content.closeContent(handle) },
    });
    const { digest } = fileEntry('a', Buffer.alloc(200_000, 7));
    expect(await reasonOf(readSignature(applier, changing, digest, never).next())).to.equal('CONTENT_NOT_FOUND');
  });

  it('has no signature of a content that is cut short while it is made', async () => {
    await apply(put('a', Buffer.alloc(200_000, 7)));
    const file = await applier.locate(p('a'));
    const handle = file && (await content.openContent(file));
    if (handle === undefined) throw new Error('not open');
    truncateSync(local('a'), 0);
    expect(await content.signContent(handle, 200_000)).to.equal(undefined);
    await content.closeContent(handle);
    expect(await reasonOf(content.signContent(handle, 200_000))).to.equal('CANCELLED');
  });

  it('is listed from any name on', async () => {
    await apply(mkdir('d'), put('d/a', '1'), put('d/b', '1'), symlink('d/l', 'a'));
    const names = async (path: string, after?: string) =>
      (await applier.listEntries(p(path), false, after === undefined ? undefined : p(after), 0)).map((entry) => [
        entry.path,
        entry.kind,
      ]);
    expect((await names('d')).map(([path]) => path)).to.deep.equal(['d/a']);
    expect(await names('d', 'd/a')).to.deep.equal([['d/b', 'file']]);
    expect(await applier.verificationPage(p('d/a'), '', 10)).to.equal(undefined);
    const page = await applier.verificationPage(p('d'), 'b', 10);
    expect(page?.rows.map(({ name, mode, target }) => [name, mode, target?.toString()])).to.deep.equal([['l', 0, 'a']]);
    expect((await applier.getEntry(ROOT))?.kind).to.equal('directory');
  });
});
