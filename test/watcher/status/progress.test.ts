import { expect } from 'chai';
import { packChanges } from '../../../clients/watcher/engine/packed-changes.ts';
import { ChangeLog } from '../../../clients/watcher/status/change-log.ts';
import { Progress, progressKind } from '../../../clients/watcher/status/progress.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { eventually } from '../../support/eventually.ts';
import { snapshot } from '../../support/watcher-snapshot.ts';

function logLines(): { readonly lines: Record<string, unknown>[]; readonly logger: ReturnType<typeof createLogger> } {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => lines.push(JSON.parse(line)) };
  return { lines, logger: createLogger({ name: 'test', format: 'json', destination }) };
}

describe('Progress', () => {
  it('chooses by what it writes to', () => {
    expect(progressKind('auto', true)).to.equal('line');
    expect(progressKind('auto', false)).to.equal('plain');
    expect(progressKind('json', true)).to.equal('json');
  });

  it('keeps one living line, no longer than the terminal, and gives way to log lines', () => {
    let screen = '';
    const terminal = { columns: 20, write: (text: string) => void (screen += text) };
    const progress = new Progress('line', { logger: logLines().logger, writeLine: () => {}, terminal }, () => 0);
    progress.see({ type: 'state', snapshot: snapshot('paused', {}, 'because somebody wanted it') });
    expect(screen).to.equal('\r\u001b[Kpaused · because s…');
    progress.clear();
    progress.redraw();
    progress.close();
    expect(screen.endsWith('\r\u001b[Kpaused · because s…\n')).to.equal(true);
  });

  it('writes JSON lines', () => {
    const lines: string[] = [];
    const terminal = { columns: 80, write: () => {} };
    const progress = new Progress('json', {
      logger: logLines().logger,
      writeLine: (line) => lines.push(line),
      terminal,
    });
    progress.see({ type: 'state', snapshot: snapshot('in-step', { revision: 3n }) });
    expect(JSON.parse(lines[0] ?? '')).to.include({ state: 'in-step', revision: '3' });
    progress.close();
  });

  it('says anew how long the last change is ago, though nothing happens', async () => {
    let screen = '';
    const terminal = { columns: 80, write: (text: string) => void (screen += text) };
    let wallMs = 900_999;
    const sinks = { logger: logLines().logger, writeLine: () => {}, terminal };
    const progress = new Progress(
      'line',
      sinks,
      () => 0,
      () => wallMs,
    );
    progress.see({ type: 'state', snapshot: { ...snapshot('in-step'), lastChangeMs: 900_000 } });
    expect(screen).to.include('last change just now');
    wallMs = 902_000;
    await eventually('a new text', () => screen.includes('last change 2 s ago') || undefined);
    progress.close();
  });

  it('is silent in plain lines about work that is done at once', () => {
    const { lines, logger } = logLines();
    const terminal = { columns: 80, write: () => {} };
    const progress = new Progress('plain', { logger, writeLine: () => {}, terminal });
    for (let revision = 1n; revision < 5n; revision++) {
      progress.see({ type: 'state', snapshot: snapshot('syncing', { pendingChanges: 1 }) });
      progress.see({ type: 'state', snapshot: snapshot('in-step', { revision }) });
    }
    progress.see({ type: 'state', snapshot: snapshot('paused', {}, 'by request') });
    progress.close();
    expect(lines.map(({ msg }) => msg)).to.deep.equal(['in step · rev 1 · 0 entries', 'paused · by request']);
  });
});

describe('ChangeLog', () => {
  it('writes a line per change until nobody could read them, then counts', () => {
    const { lines, logger } = logLines();
    const log = new ChangeLog(logger, () => 0);
    for (let batch = 0; batch < 10; batch++) {
      const changes = Array.from({ length: 100 }, (_, at) => {
        const path = `f\n${batch * 100 + at}` as TreePath;
        return { operation: 'put', path, from: undefined, contentBytes: 10 } as const;
      });
      log.write(packChanges(changes, 1n, 1));
    }
    log.close();
    expect(lines).to.have.length(201);
    expect(lines[0]).to.include({ op: 'put', path: 'f\\x0a0', revision: '1', bytes: 10, ms: 1 });
    expect(lines[200]?.['msg']).to.equal('… and 800 more changes, 8 kB');
  });
});
