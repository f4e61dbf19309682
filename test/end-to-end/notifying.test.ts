/** What both programs tell systemd. A double of `systemd-notify` writes down what it is to say, and to whom. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { serviceManager } from '../../common/ops/service-manager.ts';
import type { BinProgram } from '../support/bin-program.ts';
import { eventually } from '../support/eventually.ts';
import type { Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

const SOCKET = '/run/systemd/notify';

describe('under systemd', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  function prepared(variables: Readonly<Record<string, string>>): { readonly pair: Pair; said(): readonly string[] } {
    const environment: Record<string, string> = { NOTIFY_SOCKET: SOCKET, ...variables };
    const pair = pairs.prepare({ environment, prepare: ({ source }) => put(source, 'f') });
    const [commands, notes] = [join(pair.base, 'commands'), join(pair.base, 'notes')];
    mkdirSync(commands);
    const double = join(commands, 'systemd-notify');
    writeFileSync(double, `#!/bin/sh\necho "$PPID $NOTIFY_SOCKET $*" >> '${notes}'\n`);
    chmodSync(double, 0o755);
    environment['PATH'] = `${commands}:${process.env['PATH'] ?? ''}`;
    return { pair, said: () => (existsSync(notes) ? readFileSync(notes, 'utf8').trim().split('\n') : []) };
  }

  const reaches = (program: BinProgram, said: () => readonly string[], wanted: string, count = 1) =>
    program.reaches(`${count} times ${wanted}`, () => said().filter((line) => line === wanted).length >= count);

  it('both say when they are ready, that they are alive, and that they stop', async () => {
    const { pair, said } = prepared({ WATCHDOG_USEC: '200000' });
    await pair.startServer();
    await pair.startWatcher();
    const statuses = [
      [pair.server, 'serving default'],
      [pair.watcher, 'watching 1 directory'],
    ] as const;
    for (const [program, status] of statuses) {
      const by = `${program.pid} ${SOCKET}`;
      await reaches(program, said, `${by} READY=1 STATUS=${status}`);
      await reaches(program, said, `${by} WATCHDOG=1`, 3);
      expect(said()).not.to.include(`${by} STOPPING=1`);
    }
    for (const program of [pair.watcher, pair.server]) {
      const { pid } = program;
      expect((await program.end('SIGTERM')).code).to.equal(0);
      await eventually('its word', () => said().includes(`${pid} ${SOCKET} STOPPING=1`));
    }
  });

  it('neither speaks for the watchdog of another process, or where nobody listens', async () => {
    const other = prepared({ WATCHDOG_USEC: '100000', WATCHDOG_PID: '1' });
    await other.pair.startServer();
    await reaches(other.pair.server, other.said, `${other.pair.server.pid} ${SOCKET} READY=1 STATUS=serving default`);
    await other.pair.startWatcher();
    expect(other.said().filter((line) => line.endsWith('WATCHDOG=1'))).to.deep.equal([]);
    const nobody = prepared({ WATCHDOG_USEC: '100000', NOTIFY_SOCKET: '' });
    await nobody.pair.startServer();
    await nobody.pair.startWatcher();
    expect(nobody.said()).to.deep.equal([]);
  });

  it('a missing systemd-notify is a warning, once', async () => {
    const { pair } = prepared({ WATCHDOG_USEC: '100000' });
    writeFileSync(join(pair.base, 'commands/systemd-notify'), '#!/bin/sh\nexit 1\n');
    await pair.startServer();
    const warning = 'systemd-notify cannot tell systemd how this program fares';
    await pair.server.reaches('the warning', () => pair.server.stderr.includes(warning));
    await pair.startWatcher();
    expect(pair.server.stderr.split(warning)).to.have.length(2);
  });
});

describe('what a program starts', () => {
  it('has nothing to tell systemd', () => {
    const environment: Record<string, string> = { NOTIFY_SOCKET: '', WATCHDOG_USEC: '1', WATCHDOG_PID: '1', HOME: '/' };
    using _manager = serviceManager({ warn: () => {} }, environment);
    expect(environment).to.deep.equal({ HOME: '/' });
  });
});
