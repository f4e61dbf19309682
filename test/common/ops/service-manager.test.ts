/** What systemd is told, by a double of `systemd-notify` that writes it down. test/end-to-end/notifying.test.ts has whole programs. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { serviceManager } from '../../../common/ops/service-manager.ts';
import { eventually } from '../../support/eventually.ts';

describe('the service manager', () => {
  let base: string;
  let warnings: number;
  const logger = { warn: () => void warnings++ };
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-notify-'));
    warnings = 0;
  });
  /** A note of life that was under way at the end of a manager may still be written while its directory goes. */
  afterEach(() => rmSync(base, { recursive: true, maxRetries: 10 }));

  function environmentWith(lastLine: string, variables: Readonly<Record<string, string>> = {}): Record<string, string> {
    const script = `#!/bin/sh\necho "$NOTIFY_SOCKET $WATCHDOG_USEC$*" >> '${base}/notes'\n${lastLine}\n`;
    writeFileSync(join(base, 'systemd-notify'), script, { mode: 0o755 });
    return { NOTIFY_SOCKET: 'socket', ...variables, PATH: `${base}:${process.env['PATH'] ?? ''}` };
  }
  /** Whole lines: between its creation and the first of them the file is empty. */
  const notes = () =>
    existsSync(join(base, 'notes')) ? readFileSync(join(base, 'notes'), 'utf8').split('\n').slice(0, -1) : [];

  it('hears of the start, of life for the watchdog of this process, and of the end', async () => {
    const variables = { WATCHDOG_USEC: '20000', WATCHDOG_PID: String(process.pid) };
    const environment = environmentWith('exit 0', variables);
    using manager = serviceManager(logger, environment);
    expect(Object.keys(environment)).to.deep.equal(['PATH']);
    manager.ready('serving');
    await eventually('the watchdog', () => notes().filter((note) => note === 'socket WATCHDOG=1').length > 1);
    manager.stopping();
    await eventually('the end', () => notes().includes('socket STOPPING=1'));
    expect(notes()).to.include('socket READY=1 STATUS=serving');
    expect(warnings).to.equal(0);
  });

  it('leaves the watchdog of another process alone', async () => {
    const environment = environmentWith('exit 0', { WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' });
    using manager = serviceManager(logger, environment);
    manager.stopping();
    await eventually('the end', () => notes().length > 0);
    expect(notes()).to.deep.equal(['socket STOPPING=1']);
  });

  it('is a warning once where it cannot be told', async () => {
    using manager = serviceManager(logger, environmentWith('exit 1', { WATCHDOG_USEC: '10000' }));
    manager.ready('serving');
    await eventually('some failures', () => notes().length > 4);
    expect(warnings).to.equal(1);
    using missing = serviceManager(logger, { NOTIFY_SOCKET: 'socket', PATH: join(base, 'nothing') });
    missing.ready('serving');
    await eventually('its warning', () => warnings === 2);
  });
});
