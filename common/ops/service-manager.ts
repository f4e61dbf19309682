/**
 * Tells systemd how the program fares (sd_notify(3)): that it is ready, that it stops, and, where a watchdog waits for that, that the
 * main thread still turns. Node has no unix datagram sockets, so `systemd-notify`, which is wherever systemd is, says it. Where
 * nobody asked to be told (NOTIFY_SOCKET), nothing happens.
 */
import { spawn } from 'node:child_process';
import type { Logger } from './logger.ts';
import { assertPermitted } from './permissions.ts';

const COMMAND = 'systemd-notify';

/** What systemd passes on. Taken out of the environment: commands that the program starts have nothing to tell it. */
const VARIABLES = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'] as const;

export interface ServiceManager {
  /** `status` is shown by `systemctl status`. */
  ready(status: string): void;
  stopping(): void;
  [Symbol.dispose](): void;
}

/** The watchdog is told from now on, twice as often as it asks for. @throws LockstepError USAGE where Node must not start commands */
export function serviceManager(
  logger: Pick<Logger, 'warn'>,
  environment: Record<string, string | undefined> = process.env,
): ServiceManager {
  const [socket = '', watchdogUs = '', watchdogPid = ''] = VARIABLES.map((name) => environment[name]);
  for (const name of VARIABLES) delete environment[name];
  if (socket === '') return { ready: () => {}, stopping: () => {}, [Symbol.dispose]: () => {} };

  assertPermitted('child', `telling systemd by ${COMMAND}`);
  let isFailing = false;
  const onFailure = (reason: string): void => {
    if (!isFailing) logger.warn({ reason }, `${COMMAND} cannot tell systemd how this program fares`);
    isFailing = true;
  };
  const tell = (...assignments: readonly string[]): void => {
    const child = spawn(COMMAND, assignments, { stdio: 'ignore', env: { ...environment, NOTIFY_SOCKET: socket } });
    child.on('error', (error) => onFailure(error.message));
    child.on('exit', (code) => {
      if (code === 0) isFailing = false;
      else onFailure(`status ${code}`);
    });
    // Nobody waits for it at the end.
    child.unref();
  };

  const periodUs = watchdogPid === '' || watchdogPid === String(process.pid) ? Number(watchdogUs) : 0;
  const timer = periodUs > 0 ? setInterval(() => tell('WATCHDOG=1'), periodUs / 2000).unref() : undefined;
  return {
    ready: (status) => tell('READY=1', `STATUS=${status}`),
    stopping: () => tell('STOPPING=1'),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
