import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { createLogger, type LogFormat, logChange } from '../../../common/ops/logger.ts';
import type { LogLevel } from '../../../common/ops/log-levels.ts';

const newLogger = (format: LogFormat, level: LogLevel = 'info') => {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { lines, logger: createLogger({ name: 'watcher', format, level, destination }) };
};

const loggerModule = fileURLToPath(new URL('../../../common/ops/logger.ts', import.meta.url));

describe('the log', () => {
  it('has a change on one readable line', () => {
    const { lines, logger } = newLogger('pretty');
    logChange(logger, { op: 'put', path: 'docs/a.txt', revision: 42n, bytes: 1234, ms: 3 });
    expect(lines).to.have.length(1);
    expect(lines[0]).to.match(/^\d\d:\d\d:\d\d\.\d{3} watcher {2}put {5}docs\/a\.txt {2}rev 42 {2}1\.2 kB {2}3 ms\n$/);
  });

  it('has a change as JSON with the same fields everywhere', () => {
    const { lines, logger } = newLogger('json');
    logChange(logger, { op: 'move', path: 'b', revision: 2n ** 60n, bytes: 0, ms: 1.5 });
    const { time, ...line } = JSON.parse(lines[0] ?? '');
    expect(Date.parse(time)).to.be.a('number').and.not.NaN;
    expect(line).to.deep.equal({
      level: 'info',
      name: 'watcher',
      op: 'move',
      path: 'b',
      revision: '1152921504606846976',
      bytes: 0,
      ms: 1.5,
      msg: 'move b',
    });
  });

  it('shows level, room, message, fields and error for people', () => {
    const { lines, logger } = newLogger('pretty');
    const err = new LockstepError('NO_SPACE', 'disk full');
    logger.child({ room: 'session' }).warn({ attempt: 3, what: 'a b', err }, 'trying again');
    expect(lines[0]?.slice(13)).to.equal(
      'watcher/session WARN  trying again  attempt=3  what="a b"  NO_SPACE disk full\n',
    );
  });

  it('shows the stack of a defect, and only of a defect', () => {
    const { lines, logger } = newLogger('json');
    logger.error({ err: new LockstepError('LEASE_HELD', 'held') }, 'x');
    logger.error({ err: new LockstepError('INTERNAL', 'broken') }, 'x');
    logger.error({ err: new TypeError('x.y') }, 'x');
    const stacks = lines.map((line) => typeof JSON.parse(line).err.stack);
    expect(stacks).to.deep.equal(['undefined', 'string', 'string']);
  });

  it('shows what was thrown though it is no error', () => {
    const { lines, logger } = newLogger('json');
    logger.error({ err: 'out of order' }, 'x');
    expect(JSON.parse(lines[0] ?? '').err).to.deep.equal({ message: 'out of order' });
  });

  it('is for people, and in colours, on a terminal, unless somebody wants none (https://no-color.org)', () => {
    const before = { ...process.env };
    const lineWith = (environment: Record<string, string>) => {
      for (const name of ['NO_COLOR', 'TERM']) delete process.env[name];
      Object.assign(process.env, environment);
      const lines: string[] = [];
      const destination = { write: (line: string) => void lines.push(line) };
      createLogger({ name: 'watcher', destination, onTerminal: true }).info('here');
      return lines[0];
    };
    try {
      expect(lineWith({ NO_COLOR: '', TERM: 'xterm' }))
        .to.include('\u001b[')
        .and.include('here');
      expect(lineWith({ NO_COLOR: '1' })).to.match(/^[\d:.]+ watcher .*here\n$/);
      expect(lineWith({ TERM: 'dumb' })).to.match(/^[\d:.]+ watcher .*here\n$/);
    } finally {
      for (const name of ['NO_COLOR', 'TERM']) delete process.env[name];
      Object.assign(process.env, before);
    }
  });

  it('keeps tokens out, in fields and in texts (S41)', () => {
    for (const format of ['json', 'pretty'] as const) {
      const { lines, logger } = newLogger(format);
      logger.info({ token: 'hunter2', metadata: { authorization: 'Bearer hunter2' } }, 'sent Bearer hunter2');
      expect(lines.join()).to.include('[redacted]').and.not.include('hunter2');
    }
  });

  it('shows what a peer said without a character that could steer a terminal, wherever it stands (S27)', () => {
    const hostile = 'a\u001b]0;x\u0007\u007f\u0085\u009b31m\u202eb\u2028\nc';
    for (const format of ['json', 'pretty'] as const) {
      const { lines, logger } = newLogger(format);
      logger.info({ epoch: hostile, list: [hostile], [hostile]: 1 }, hostile);
      logger.error({ err: new LockstepError('IO', hostile, { details: { holder: hostile } }) }, 'failed');
      logger.error({ err: new Error(hostile) }, 'failed');
      logChange(logger, { op: 'put', path: hostile });
      const text = lines.join('');
      expect(text.replaceAll('\n', '')).not.to.match(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/);
      if (format === 'json') expect(JSON.parse(lines[0] ?? '')).to.include({ epoch: hostile, msg: hostile });
    }
  });

  it('is quiet below its level', () => {
    const { lines, logger } = newLogger('json', 'warn');
    logChange(logger, { op: 'put', path: 'a' });
    logger.info('no');
    expect(lines).to.deep.equal([]);
  });

  it('writes the last line before an exit, as JSON and without colours where stderr is no terminal', () => {
    for (const format of ['undefined', '"pretty"']) {
      const script = `
        const { createLogger } = await import(${JSON.stringify(loggerModule)});
        const logger = createLogger({ name: 'server', format: ${format} });
        for (let index = 0; index < 1000; index++) logger.info({ index }, 'line');
        logger.error('the last words');
        process.exit(3);`;
      const { status, stderr, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
      });
      expect([status, stdout]).to.deep.equal([3, '']);
      const lines = stderr.trimEnd().split('\n');
      expect(lines).to.have.length(1001);
      expect(lines.at(-1)).to.include('the last words').and.not.include('\u001b');
      if (format === 'undefined') expect(JSON.parse(lines.at(-1) ?? '')).to.include({ level: 'error', name: 'server' });
    }
  });
});
