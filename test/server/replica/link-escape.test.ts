import { symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.ts';
import { ApplierService } from '../../../services/sync-server/replica/applier-service.ts';
import { escapeOf } from '../../../services/sync-server/replica/link-escape.ts';
import {
  CollectedLog,
  fileEntry,
  mkdir,
  move,
  p,
  put,
  removeDirectory,
  settingsFor,
  symlink,
  temporaryDirectory,
  TestReplica,
} from './support.ts';

describe('links that lead out of the folder (S07)', () => {
  let directory: string;
  let replica: TestReplica | undefined;
  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
  });
  afterEach(() => {
    replica?.close();
    replica = undefined;
    removeDirectory(directory);
  });

  const strict = (): TestReplica => (replica = TestReplica.open(directory, {}, { refusesEscapingLinks: true }));
  const problemsOf = (...changes: Parameters<TestReplica['applyAll']>): readonly string[] =>
    (replica ?? strict()).apply(changes).problems.map(({ path, kind, reason }) => `${path} ${kind} ${reason}`);

  const STAY: readonly (readonly [path: string, target: string])[] = [
    ['l', 'a'],
    ['l', './a//b/.'],
    ['l', 'nowhere'],
    ['l', 'l'],
    ['d/l', '..'],
    ['d/l', '../a'],
    ['d/e/l', '../../a'],
    ['d/e/l', './.././../a'],
    ['l', '...'],
    ['l', '..a'],
    ['l', '.lockstep-not'],
  ];
  const ESCAPE: readonly (readonly [path: string, target: string])[] = [
    ['l', '/etc/passwd'],
    ['l', '/'],
    ['l', '..'],
    ['l', '../'],
    ['l', './..'],
    ['l', '../beside'],
    ['d/l', '../..'],
    ['d/l', '../../replica'],
    ['d/e/l', '../../../x'],
    // The name in front may be a link to somewhere further up.
    ['l', 'a/..'],
    ['l', 'a/../..'],
    ['d/e/l', '../a/../x'],
    ['l', '.lockstep/tokens'],
    ['d/l', '../.lockstep'],
  ];
  for (const [path, target] of STAY) {
    it(`are not: ${path} -> ${target}`, () => expect(escapeOf(p(path), Buffer.from(target))).to.equal(undefined));
  }
  for (const [path, target] of ESCAPE) {
    it(`are: ${path} -> ${target}`, () => expect(escapeOf(p(path), Buffer.from(target))).to.be.a('string'));
  }

  it('are others on Windows: by a drive, and by another case of the name of the server', () => {
    const reasonOf = (target: string, system: NodeJS.Platform) => escapeOf(p('l'), Buffer.from(target), system);
    expect(reasonOf('C:/Windows', 'linux')).to.equal(undefined);
    expect(reasonOf('C:/Windows', 'win32')).to.equal('it is absolute');
    expect(reasonOf('.Lockstep/tokens', 'linux')).to.equal(undefined);
    expect(reasonOf('.Lockstep/tokens', 'win32')).to.match(/server's own directory$/);
  });

  it('are taken where nobody refuses them', () => {
    replica = TestReplica.open(directory);
    replica.applyAll(symlink('l', '/etc'), mkdir('d'), symlink('d/l', '../..'), move('d/l', 'm'));
  });

  it('are refused one by one, and nothing else with them', () => {
    const problems = problemsOf(symlink('out', '/etc'), put('a', '1'), mkdir('d'), symlink('d/in', '../a'));
    expect(problems).to.deep.equal(['out invalid LINK_ESCAPES']);
    expect(replica?.indexEntries().map(({ path }) => path)).to.deep.equal(['a', 'd', 'd/in']);
  });

  it('are refused when a link is moved up, and when its directory is', () => {
    strict().applyAll(mkdir('d'), mkdir('d/e'), mkdir('d/e/f'), put('a', '1'), symlink('d/e/f/l', '../../../a'));
    expect(problemsOf(move('d/e/f/l', 'd/l'))).to.deep.equal(['d/l invalid LINK_ESCAPES']);
    expect(problemsOf(move('d/e', 'e'))).to.deep.equal(['e/f/l invalid LINK_ESCAPES']);
    expect(
      problemsOf(move('d/e', 'd/x'), move('d/x', 'd/e'), mkdir('b'), mkdir('b/c'), move('d/e', 'b/c/e')),
    ).to.deep.equal([]);
    expect(replica?.core.index.has(p('b/c/e/f/l'))).to.equal(true);
    expect(problemsOf(move('b/c', 'c'))).to.deep.equal([]);
    expect(replica?.core.index.has(p('c/e/f/l'))).to.equal(true);
    expect(replica?.lookThrough()).to.deep.equal([]);
  });

  it('are not looked for in a directory of very many entries, which comes as new entries then', () => {
    strict().applyAll(mkdir('d'), mkdir('d/e'));
    const { index } = strict().core;
    index.transaction(() => {
      for (let at = 0; at <= 50_000; at++) index.put(fileEntry(`d/e/${at}`, ''), undefined);
    });
    expect(problemsOf(move('d/e', 'e'))).to.deep.equal(['d/e invalid LINK_ESCAPES']);
    expect(index.has(p('d/e/50000'))).to.equal(true);
  }).timeout(20_000);

  it('are replayed from the log when they were taken before they were refused', () => {
    replica = TestReplica.open(directory);
    replica.applyAll(symlink('l', '/etc'));
    replica.close();
    strict();
    expect(replica.recovery).to.include({ isLossy: false });
    expect(replica.core.index.has(p('l'))).to.equal(true);
  });

  it('that are there from before are told of at the start', async () => {
    symlinkSync('/etc', join(directory, 'old'));
    symlinkSync('old', join(directory, 'fine'));
    const logger = new CollectedLog();
    const ignore = (): void => undefined;
    const open = (): ApplierService =>
      new ApplierService({
        settings: settingsFor(directory, { refusesEscapingLinks: true }),
        logger,
        events: { onInfo: ignore, onDrift: ignore, onTrash: ignore },
        syncFileSystem: async () => undefined,
      });
    const service = open();
    const told = await eventually('it is told', () => logger.warnings.find((line) => line.includes('lead out')));
    expect(told).to.include('"count":1').and.to.include('["old"]');
    await service.close();
    logger.warnings.length = 0;
    unlinkSync(join(directory, 'old'));
    const again = open();
    expect(await again.getEntry(p('fine'))).to.include({ kind: 'symlink' });
    await again.close();
    expect(logger.warnings.filter((line) => line.includes('lead out'))).to.deep.equal([]);
  });
});
