/**
 * Log lines as people read them.
 */
import { expect } from 'chai';
import { prettyDestination } from '../../../common/ops/pretty-log.ts';

const AT = '2026-01-02T03:04:05.678Z';

function shown(fields: Readonly<Record<string, unknown>>, colors = false): string {
  let text = '';
  const destination = prettyDestination({ write: (line: string) => (text += line) }, { colors });
  destination.write(`${JSON.stringify({ level: 'info', time: AT, name: 'server', msg: 'hello', ...fields })}\n`);
  return text;
}

describe('a pretty log line', () => {
  it('has a time of day, who speaks, and what', () => {
    expect(shown({})).to.match(/^\d\d:\d\d:05\.678 server  {2}hello\s*$/);
    expect(shown({ room: 'control' })).to.include('server/control');
    expect(shown({ time: 'never' })).to.match(/^--:--:--\.--- /);
    expect(shown({ time: { no: 'time' } })).to.match(/^--:--:--\.--- /);
    expect(shown({ time: Date.parse(AT) })).to.include(':05.678');
  });

  it('names the level when it is not the usual one, in its color', () => {
    expect(shown({ level: 'warn' })).to.include(' WARN ');
    expect(shown({ level: 'debug' })).to.include(' DEBUG ');
    expect(shown({ level: 'error' }, true)).to.include('\u001b[31mERROR');
    expect(shown({ level: 'fatal' }, true)).to.include('\u001b[31mFATAL');
    expect(shown({ level: 'debug' }, true)).to.include('\u001b[2mDEBUG');
  });

  it('shows a change with its size and time, and other fields by name', () => {
    const change = { op: 'put', path: 'a b', revision: '7', bytes: 1200, ms: 3, more: 'two words' };
    expect(shown(change)).to.match(/put {5}a b {2}more="two words" {2}rev 7 {2}1\.2 kB {2}3 ms/);
    expect(shown({ op: 'put', count: 3 })).to.match(/hello {2}op=put {2}count=3/);
  });

  it('shows an error by its reason and message, a stack below, and nothing that steers a terminal (S27)', () => {
    expect(shown({ err: { reason: 'IO', message: 'no \u001b[2J' } })).to.match(/IO no \\u\{1b\}\[2J/);
    expect(shown({ err: { reason: 'IO', message: 'hello' } })).not.to.match(/hello.*hello/);
    expect(shown({ err: { message: 'no', stack: 'Error: no\n    at a\n    at b' } })).to.match(
      /no\n {4}at a\n {4}at b/,
    );
    expect(shown({ err: { message: { odd: 1 } } })).to.include('{"odd":1}');
    expect(shown({ err: {} })).to.match(/hello\s*$/);
    expect(shown({ err: null, msg: undefined })).to.match(/server\s*$/);
  });
});
