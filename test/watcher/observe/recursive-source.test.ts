import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ChangeEvents } from '../../../clients/watcher/observe/change-source.ts';
import { RecursiveSource } from '../../../clients/watcher/observe/recursive-source.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { until } from './observing.ts';

describe('the change source of Windows', () => {
  let directory: string;
  let root: SafeRoot;
  let source: RecursiveSource;
  let hints: string[];
  let overflows: string[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'recursive-'));
    hints = [];
    overflows = [];
    const events: ChangeEvents = {
      onRawEvent: () => {},
      onHint: (dir, name) => hints.push(name === undefined ? `${dir}/*` : dir === '' ? name : `${dir}/${name}`),
      onTreeHint: () => {},
      beforeTurnEnd: (task) => task(),
      onOverflow: ({ reason }) => overflows.push(reason),
      onDegraded: () => {},
    };
    root = SafeRoot.open(directory);
    source = new RecursiveSource({ root, events });
  });

  afterEach(async () => {
    await source.close();
    root.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const untilHinted = (path: string) => until(() => hints.includes(path), `a hint at ${path}`);

  it('hears of all that happens below the root, also in directories that come later', async () => {
    mkdirSync(join(directory, 'd/e'), { recursive: true });
    writeFileSync(join(directory, 'd/e/old'), '');
    await source.start();
    appendFileSync(join(directory, 'd/e/old'), 'x');
    await untilHinted('d/e/old');
    writeFileSync(join(directory, 'new'), '');
    await untilHinted('new');
    renameSync(join(directory, 'd/e'), join(directory, 'moved'));
    await untilHinted('d/e');
    await untilHinted('moved');
    source.watchDirectories();
    source.forgetDirectories();
    hints.splice(0);
    await until(() => {
      appendFileSync(join(directory, 'moved/old'), 'x');
      return hints.includes('moved/old');
    }, 'a hint in what was moved');
    unlinkSync(join(directory, 'new'));
    await untilHinted('new');
    expect(overflows).to.deep.equal([]);
  });

  it('takes the separators of Windows, and has a directory looked through for a name that is no text', () => {
    source.onEvent('d\\e\\ü');
    source.onEvent('top');
    source.onEvent('d\\\ufffd\\f');
    source.onEvent('\ufffd');
    source.onEvent('');
    const name = Buffer.from('ü').toString('latin1');
    expect(hints).to.deep.equal([`d/e/${name}`, 'top', 'd/*', '/*', '']);
  });

  it('has everything looked at when the system dropped events', () => {
    source.onEvent(undefined);
    expect(overflows).to.deep.equal(['overflow']);
  });

  it('lets no flush believe that it has heard of everything', () => {
    expect(source.blindness).to.be.a('string');
  });
});
