import { expect } from 'chai';
import { packChanges } from '../../../clients/watcher/engine/packed-changes.ts';
import { ChangeLog } from '../../../clients/watcher/status/change-log.ts';
import { Progress, progressKind, progressText } from '../../../clients/watcher/status/progress.ts';
import { type WatcherPhase, type WatcherSnapshot } from '../../../clients/watcher/status/watcher-model.ts';
import type { EngineStatus } from '../../../clients/watcher/engine/messages.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { engineStatus } from '../../support/engine-double.ts';

function snapshot(phase: WatcherPhase, engine: Partial<EngineStatus> = {}, reason = ''): WatcherSnapshot {
  const nothing = {
    sinceMs: 0,
    lastChangeMs: 0,
    guardHolds: 0,
    onSyncedFailure: '',
    hookRuns: { ok: 0, failed: 0, timeout: 0 },
  };
  return { phase, reason, ...nothing, engine: engineStatus(engine) };
}

function logLines(): { readonly lines: Record<string, unknown>[]; readonly logger: ReturnType<typeof createLogger> } {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => lines.push(JSON.parse(line)) };
  return { lines, logger: createLogger({ name: 'test', format: 'json', destination }) };
}

describe('progressText', () => {
  it('says in one line where things stand', () => {
    expect(progressText(snapshot('in-step', { revision: 42n, entries: 7 }), 0)).to.equal(
      'in step · rev 42 · 7 entries',
    );
    const busy = snapshot('syncing', {
      scannedEntries: 1200,
      pendingChanges: 5,
      pendingBytes: 2000,
      sentContentBytes: 1e6,
    });
    expect(progressText(busy, 3.4e6)).to.equal('syncing · 1200 entries · 5 to go · 2 kB to go · 1 MB sent · 3.4 MB/s');
    expect(progressText(snapshot('offline', { pendingChanges: 1 }, 'not connected'), 0)).to.equal(
      'offline · 1 change waits · not connected',
    );
  });
});

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
    progress.see({ type: 'state', snapshot: snapshot('in-step', { revision: 123456789n, entries: 1000 }) });
    expect(screen).to.equal('\r\u001b[Kin step · rev 1234…');
    progress.clear();
    progress.redraw();
    progress.close();
    expect(screen.endsWith('\r\u001b[Kin step · rev 1234…\n')).to.equal(true);
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
