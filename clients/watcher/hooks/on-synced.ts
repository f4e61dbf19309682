/**
 * `--on-synced`: a command of the user's that runs when changes have arrived at the server: some time after the last of them, never
 * twice at a time, and once more when changes came while it ran. Looks at the model's events; knows neither engine nor
 * connection.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { describeError, printable } from '../../../common/ops/errors.ts';
import { launchDirectory } from '../../../common/ops/launch-directory.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { formatDuration } from '../../../common/ops/units.ts';
import type { WatcherEvent, WatcherSnapshot } from '../status/watcher-model.ts';

/** Changes that follow each other closer than this are one. */
const DEBOUNCE_MS = 500;
/** However many follow each other, it does not wait longer. */
const MAX_DELAY_MS = 10_000;
/** The end of what it said, for the log. */
const MAX_OUTPUT_CHARS = 2000;
const LAST_WORDS_MS = 200;
/** From being told to end to being ended. */
const KILL_AFTER_MS = 5_000;
/** What no child needs to know. */
const SECRETS: ReadonlySet<string> = new Set(['LOCKSTEP_TOKEN', 'LOCKSTEP_JOIN']);

export type HookResult = 'ok' | 'failed' | 'timeout';

export interface OnSyncedOptions {
  /** For `/bin/sh -c`. */
  readonly command: string;
  /** The watched directory. */
  readonly directory: string;
  /** Wait for durable, not only for applied. */
  readonly durable: boolean;
  readonly logger: Logger;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** After which a run is ended, with all that it has started; undefined: never. */
  readonly timeoutMs: number | undefined;
  /** Hears how each run ended: one sentence, empty when it went well. */
  readonly onEnd: (failure: string, result: HookResult) => void;
  readonly debounceMs?: number | undefined;
  readonly maxDelayMs?: number | undefined;
  readonly killAfterMs?: number | undefined;
}

export class OnSynced {
  readonly #options: OnSyncedOptions;
  /** Changes were acknowledged since the last start. */
  #isDue = false;
  /** The first of them, by the monotonic clock. */
  #dueSinceMs = 0;
  /** In step now, up to this revision. */
  #revision: bigint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #child: ChildProcess | undefined;
  #ended: Promise<void> | undefined;
  /** Until what was told to end is ended. */
  #kill: { readonly pid: number; readonly timer: NodeJS.Timeout } | undefined;
  #isClosed = false;

  constructor(options: OnSyncedOptions) {
    this.#options = options;
  }

  /** For `WatcherModel.subscribe`. */
  readonly see = (event: WatcherEvent): void => {
    if (event.type === 'changes') {
      if (!this.#isDue) this.#dueSinceMs = performance.now();
      this.#isDue = true;
      this.#schedule();
    } else if (event.type !== 'problem') {
      const isNews = (this.#revision === undefined) !== (this.#reached(event.snapshot) === undefined);
      this.#revision = this.#reached(event.snapshot);
      if (isNews) this.#schedule();
    }
  };

  /**
   * Runs what is due, and waits for what runs, so many milliseconds; then it is told to end. Nothing starts afterwards.
   */
  async close(graceMs: number): Promise<void> {
    if (this.#isDue && this.#revision !== undefined) {
      await this.#within(graceMs);
      this.#start();
    }
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#within(graceMs);
    this.#killNow();
  }

  #reached({ phase, engine }: WatcherSnapshot): bigint | undefined {
    if (phase !== 'in-step') return undefined;
    if (!this.#options.durable) return engine.revision;
    return engine.durableRevision >= engine.revision ? engine.durableRevision : undefined;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isDue || this.#revision === undefined || this.#child !== undefined || this.#isClosed) return;
    const { debounceMs = DEBOUNCE_MS, maxDelayMs = MAX_DELAY_MS } = this.#options;
    const latestMs = this.#dueSinceMs + maxDelayMs - performance.now();
    this.#timer = setTimeout(() => this.#start(), Math.max(0, Math.min(debounceMs, latestMs)));
  }

  #start(): void {
    if (this.#child !== undefined || this.#revision === undefined || this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    this.#ended = this.#run(String(this.#revision));
  }

  async #run(revision: string): Promise<void> {
    const { command, directory, logger, environment, onEnd, timeoutMs } = this.#options;
    const inherited = Object.entries(environment).filter(([name]) => !SECRETS.has(name));
    const startedMs = performance.now();
    let output = '';
    let isTooLate = false;
    let limit: NodeJS.Timeout | undefined;
    const end = await new Promise<string>((resolve) => {
      const child = spawn(command, {
        // /bin/sh, on Windows cmd.exe.
        shell: true,
        cwd: launchDirectory(),
        env: { ...Object.fromEntries(inherited), LOCKSTEP_REVISION: revision, LOCKSTEP_DIR: directory },
        stdio: ['ignore', 'pipe', 'pipe'],
        // A group of its own: Ctrl-C is for the watcher, and whoever ends the command ends what it has started. On Windows that would
        // be a window of its own; there what it has started is known by its parents.
        detached: process.platform !== 'win32',
        windowsHide: true,
      });
      this.#child = child;
      if (timeoutMs !== undefined) {
        limit = setTimeout(
          () => {
            isTooLate = true;
            this.#tellToEnd(child.pid, timeoutMs);
          },
          Math.min(timeoutMs, MAX_TIMER_MS),
        );
      }
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output = (output + text).slice(-MAX_OUTPUT_CHARS);
        });
      }
      child.once('error', (error) => resolve(`cannot be started: ${describeError(error)}`));
      child.once('exit', (code, signal) => {
        const done = () => {
          for (const stream of [child.stdout, child.stderr]) stream.destroy();
          resolve(code === 0 ? '' : signal === null ? `ended with status ${code}` : `was ended by ${signal}`);
        };
        // Its last words may still be on their way; what it left running in the background may hold its output open for ever.
        child.once('close', done);
        setTimeout(done, LAST_WORDS_MS);
      });
    });
    clearTimeout(limit);
    this.#child = undefined;
    const failure =
      isTooLate && timeoutMs !== undefined
        ? `took longer than ${formatDuration(timeoutMs)} and ${end || 'ended'}`
        : end;
    const fields = { revision, ms: Math.round(performance.now() - startedMs), output: printable(output.trim()) };
    if (failure === '') logger.debug(fields, 'the --on-synced command has run');
    else logger.error(fields, `the --on-synced command ${failure}`);
    const result = isTooLate ? 'timeout' : failure === '' ? 'ok' : 'failed';
    onEnd(failure === '' ? '' : `the command ${failure}, at revision ${revision}`, result);
    if (this.#isDue) this.#schedule();
  }

  async #within(graceMs: number): Promise<void> {
    if (this.#child === undefined) return;
    const timer = setTimeout(() => this.#end(), Math.min(graceMs, MAX_TIMER_MS));
    try {
      await this.#ended;
    } finally {
      clearTimeout(timer);
    }
  }

  #end(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    this.#options.logger.warn({ pid }, 'the --on-synced command takes too long to wait for it; it is ended');
    endGroup(pid, 'SIGKILL');
  }

  /** First politely; what of its group does not listen is ended a little later, even when the command itself is gone. */
  #tellToEnd(pid: number | undefined, timeoutMs: number): void {
    if (pid === undefined) return;
    const what = `the --on-synced command has run for ${formatDuration(timeoutMs)}; it is told to end`;
    this.#options.logger.warn({ pid }, what);
    endGroup(pid, 'SIGTERM');
    this.#killNow();
    const timer = setTimeout(() => this.#killNow(), this.#options.killAfterMs ?? KILL_AFTER_MS);
    this.#kill = { pid, timer };
  }

  #killNow(): void {
    if (this.#kill === undefined) return;
    clearTimeout(this.#kill.timer);
    endGroup(this.#kill.pid, 'SIGKILL');
    this.#kill = undefined;
  }
}

/** On Windows there is nothing polite: it is ended at once, with all that it has started. */
function endGroup(pid: number, signal: NodeJS.Signals): void {
  if (process.platform === 'win32') {
    spawn('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore', windowsHide: true }).on('error', () => {
      // It has ended in this moment, or will be ended with the watcher.
    });
    return;
  }
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended in this moment.
  }
}

const MAX_TIMER_MS = 2 ** 31 - 1;
