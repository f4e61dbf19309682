/**
 * The processes that the benchmark starts. Each has an owner that stops it; whatever happens, none is left behind: the
 * registry ends the rest by their ids.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface ProcessOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to this process' environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Takes what the process prints; is appended to. */
  readonly logFile: string;
}

const TAIL_BYTES = 4_000;

export class RunningProcess {
  readonly name: string;
  readonly pid: number;
  /** The exit status; 128 and more after a signal. Never rejects. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  readonly #logFile: string;
  #isRunning = true;

  constructor(options: ProcessOptions) {
    const output = openSync(options.logFile, 'a');
    // A group of its own: Ctrl-C comes to us alone, and what the process itself started can be ended with it.
    this.#child = spawn(options.command, options.args, {
      env: { ...process.env, ...options.environment },
      stdio: ['ignore', output, output],
      detached: true,
    });
    closeSync(output);
    this.name = options.name;
    this.#logFile = options.logFile;
    this.exited = new Promise((resolve) => {
      this.#child.on('error', () => resolve(127));
      this.#child.on('exit', (code) => resolve(code ?? 128));
    });
    // A program that cannot be started has no id; signals to it go nowhere.
    this.pid = this.#child.pid ?? 0;
    void this.exited.then(() => {
      this.#isRunning = false;
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** The end of what it printed. */
  output(): string {
    return readFileSync(this.#logFile, 'utf8').slice(-TAIL_BYTES).trim();
  }

  /** Throws with what it printed when it has ended. */
  mustRun(): void {
    if (!this.#isRunning) throw new Error(`${this.name} has ended: ${this.output()}`);
  }

  /** Asks it to end, and after `patienceMs` makes it end. */
  async stop(patienceMs = 15_000): Promise<number> {
    if (this.#isRunning) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.killNow(), patienceMs);
    const status = await this.exited;
    clearTimeout(timer);
    return status;
  }

  /** Ends it and what it started, without asking. */
  killNow(): void {
    if (this.pid === 0) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // All of the group have ended already.
    }
  }
}

/** All processes of this benchmark that still run. */
export class ProcessRegistry {
  readonly #running = new Set<RunningProcess>();

  start(options: ProcessOptions): RunningProcess {
    const started = new RunningProcess(options);
    this.#running.add(started);
    void started.exited.then(() => this.#running.delete(started));
    return started;
  }

  /** Starts it, waits for its end, and throws with what it printed when that was not with status 0. */
  async run(options: ProcessOptions): Promise<void> {
    const started = this.start(options);
    const status = await started.exited;
    if (status !== 0) throw new Error(`${options.name} ended with status ${status}: ${started.output()}`);
  }

  /** Synchronous, so that it also works while this process exits. */
  killAll(): void {
    for (const running of this.#running) running.killNow();
  }
}
