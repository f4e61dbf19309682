import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { levelOf, parseLogLevels } from '../../../common/ops/log-levels.ts';
import { createLogger, setLogLevel } from '../../../common/ops/logger.ts';

const AREAS = ['replica', 'rpc', 'auth', 'http'];

describe('parseLogLevels', () => {
  const good: [string, string, Record<string, string>][] = [
    ['warn', 'warn', {}],
    ['info,replica=debug,rpc=warn', 'info', { replica: 'debug', rpc: 'warn' }],
    ['rpc=silent, error', 'error', { rpc: 'silent' }],
    ['auth = trace', 'info', { auth: 'trace' }],
  ];
  for (const [text, level, areas] of good) {
    it(`reads ${text}`, () => expect(parseLogLevels(text, AREAS)).to.deep.equal({ level, areas }));
  }

  const bad: [string, string][] = [
    ['warm', 'unknown log level "warm"; did you mean "warn"?'],
    ['replcia=debug', 'unknown log area "replcia"; did you mean "replica"?'],
    ['rpc=dbug', 'unknown log level "dbug"; did you mean "debug"?'],
    ['everything=info', 'unknown log area "everything"; write replica, rpc, auth, http'],
    ['', 'unknown log level ""; write trace, debug, info, warn, error, fatal, silent'],
    ['info,', 'unknown log level ""'],
    ['constructor=info', 'unknown log area "constructor"'],
    ['rpc=info=debug', 'unknown log level "info=debug"'],
    ['info,warn', '"info,warn" has two levels for everything'],
    ['rpc=info,rpc=warn', '"rpc=info,rpc=warn" has two levels for "rpc"'],
  ];
  for (const [text, message] of bad) {
    it(`refuses ${text === '' ? 'nothing' : text}`, () => {
      expect(() => parseLogLevels(text, AREAS))
        .to.throw(LockstepError, message)
        .with.property('reason', 'USAGE');
    });
  }
});

describe('the levels of areas', () => {
  const levels = parseLogLevels('info,replica=debug,rpc=warn', AREAS);

  it('are those of the rooms that have none of their own', () => {
    expect(['replica', 'rpc', 'http', undefined].map((area) => levelOf(levels, area))).to.deep.equal([
      'debug',
      'warn',
      'info',
      'info',
    ]);
  });

  it('hold for rooms, what they make themselves, and after a change', () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => lines.push((JSON.parse(line) as { msg: string }).msg) };
    const logger = createLogger({ name: 'test', level: levels, format: 'json', destination });
    const replica = logger.child({ folder: 'f' }).child({ room: 'replica' }).child({ deeper: true });
    const rpc = logger.child({ room: 'rpc' });
    const speak = () => {
      for (const [name, one] of Object.entries({ logger, replica, rpc })) {
        for (const level of ['debug', 'info', 'warn'] as const) one[level](`${name} ${level}`);
      }
      return lines.splice(0);
    };
    const all = ['logger info', 'logger warn', 'replica debug', 'replica info', 'replica warn', 'rpc warn'];
    expect(speak()).to.deep.equal(all);
    expect(setLogLevel(logger, parseLogLevels('rpc=warn,replica=debug', AREAS))).to.equal(false);
    expect(setLogLevel(logger, parseLogLevels('warn,rpc=info', AREAS))).to.equal(true);
    expect(speak()).to.deep.equal(['logger warn', 'replica warn', 'rpc info', 'rpc warn']);
    setLogLevel(logger, 'silent');
    expect(speak()).to.deep.equal([]);
  });
});
