import { mkdtempSync, readFileSync, renameSync, rmSync, mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import * as z from 'zod/mini';
import type { Setting } from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { LogFile } from '../../../common/ops/log-file.ts';
import { createLogger, setLogLevel } from '../../../common/ops/logger.ts';
import type { LogLevel } from '../../../common/ops/log-levels.ts';
import { changedSettings, reload } from '../../../common/ops/reload.ts';

const setting = (name: string, written: unknown): Setting => ({
  name,
  written,
  source: 'file',
  origin: 'f.toml:1',
  declaration: { description: '', schema: z.unknown() },
});

describe('LogFile', () => {
  let base: string;
  let path: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-log-'));
    path = join(base, 'log');
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it('appends, goes on in a file that was moved away, and under its name after reopen', () => {
    new LogFile(path).write('before\n');
    const file = new LogFile(path);
    file.write('one\n');
    renameSync(path, join(base, 'log.1'));
    file.write('two\n');
    file.reopen();
    file.write('three\n');
    file.close();
    expect(readFileSync(join(base, 'log.1'), 'utf8')).to.equal('before\none\ntwo\n');
    expect(readFileSync(path, 'utf8')).to.equal('three\n');
    expect(statSync(path).mode & 0o007).to.equal(0);
  });

  it('writes on where it wrote when it cannot be opened again', () => {
    const file = new LogFile(path);
    rmSync(path);
    mkdirSync(path);
    expect(() => file.reopen())
      .to.throw(LockstepError, 'EISDIR')
      .with.property('reason', 'USAGE');
    file.write('still\n');
    file.close();
    expect(() => new LogFile('a\0b')).to.throw(LockstepError, 'unknown error');
  });

  it('complains once of a disk that takes nothing, and throws nothing', () => {
    const complaints: string[] = [];
    const file = new LogFile('/dev/full', (sentence) => complaints.push(sentence));
    for (let count = 0; count < 3; count++) file.write('line\n');
    file.close();
    expect(complaints).to.have.lengthOf(1);
    expect(complaints[0]).to.include('/dev/full').and.include('ENOSPC');
  });
});

describe('reload', () => {
  const lines: string[] = [];
  const makeLogger = (level: LogLevel = 'info') =>
    createLogger({ name: 'test', level, format: 'json', destination: { write: (line) => lines.push(line) } });
  const last = () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown>;
  afterEach(() => lines.splice(0));

  it('changes the level of the logger and of all rooms', () => {
    const logger = makeLogger();
    const room = logger.child({ room: 'a' }).child({ room: 'b' });
    expect(setLogLevel(logger, 'debug')).to.equal(true);
    expect(room.isLevelEnabled('debug')).to.equal(true);
    expect(setLogLevel(logger, 'debug')).to.equal(false);
    // That of a room alone, too.
    expect(setLogLevel(room, 'trace')).to.equal(true);
    expect([room.level, logger.level]).to.deep.equal(['trace', 'debug']);
    setLogLevel(logger, 'silent');
    expect(room.isLevelEnabled('fatal')).to.equal(false);
  });

  it('tells what was taken over and what needs a restart, also where the log is almost silent', () => {
    const settings = [[setting('log-level', 'info'), setting('listen', ':1'), setting('http', 'off')]];
    const changed = [[setting('log-level', 'warn'), setting('listen', ':2'), setting('http', 'off')]];
    reload({
      logger: makeLogger(),
      logFile: undefined,
      settings,
      resolve: () => ({ logLevel: 'warn', settings: changed }),
    });
    expect(last()).to.deep.include({ reloaded: ['log-level'], needs_restart: ['listen'] });
    expect(last()['msg']).to.include('restart: listen');
  });

  it('opens the log file anew, or tells that it cannot', () => {
    const base = mkdtempSync(join(tmpdir(), 'lockstep-log-'));
    const path = join(base, 'log');
    const logFile = new LogFile(path);
    try {
      const logger = makeLogger();
      const again = () =>
        reload({ logger, logFile, settings: [], resolve: () => ({ logLevel: 'info', settings: [] }) });
      renameSync(path, join(base, 'log.1'));
      again();
      expect(last()).to.deep.include({ msg: 'reloaded', reloaded: ['log-file'], needs_restart: [] });
      expect(readFileSync(path, 'utf8')).to.equal('');
      rmSync(path);
      mkdirSync(path);
      again();
      expect(JSON.parse(lines.at(-2) ?? '')).to.include({ msg: 'the log file cannot be opened again' });
      expect(last()).to.deep.include({ reloaded: [] });
    } finally {
      logFile.close();
      rmSync(base, { recursive: true });
    }
  });

  it('tells what the program has taken over by itself, where it has changed', () => {
    let told: unknown;
    const destination = { write: (line: string) => (told = JSON.parse(line)) };
    const logger = createLogger({ name: 'test', level: 'info', format: 'json', destination });
    const before = [[setting('one', 1), setting('two', 2), setting('three', 3)]];
    const after = [[setting('one', 2), setting('two', 3), setting('three', 3)]];
    const resolve = () => ({ logLevel: 'info' as const, settings: after, takenOver: ['one', 'three'] });
    reload({ logger, logFile: undefined, settings: before, resolve });
    expect(told).to.deep.include({ reloaded: ['one'], needs_restart: ['two'] });
  });

  it('goes on as before when the file has become wrong', () => {
    const logger = makeLogger();
    const resolve = () => {
      throw new LockstepError('USAGE', 'unknown key "lisen" in f.toml:1');
    };
    reload({ logger, logFile: undefined, settings: [], resolve });
    expect(last()).to.include({ level: 'error' });
    expect(JSON.stringify(last())).to.include('unknown key');
    expect(logger.level).to.equal('info');
  });

  it('notices tables that came or went', () => {
    const one = [setting('dir', 'a')];
    expect(changedSettings([one], [one, one])).to.deep.equal(['tables']);
    expect(changedSettings([one, one], [one])).to.deep.equal(['tables']);
    expect(changedSettings([one], [one])).to.deep.equal([]);
  });
});
