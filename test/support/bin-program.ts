/**
 * The project's programs as a user starts them: from bin/, told apart by their process id, their output kept for the
 * report of a failed test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventually } from './eventually.ts';

export const REPOSITORY = resolve(import.meta.dirname, '../..');
const MAX_KEPT_CHARS = 2 ** 20;
const MAX_REPORTED_LINES = 25;
const MAX_REPORTED_LINE_CHARS = 300;
const DEADLINE_MS = 30_000;

export type BinName = 'sync-server' | 'sync-watcher';

export interface BinOptions {
  readonly arguments: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Another user to run as; needs root. */
  readonly uid?: number | undefined;
  /** A command that starts it: `prlimit` and the like. */
  readonly wrapper?: readonly string[] | undefined;
  /** Where the programs are; default: bin/ of this checkout. */
  readonly bin?: string | undefined;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly milliseconds: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class BinProgram {
  readonly name: BinName;
  readonly arguments: readonly string[];
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #output = { stdout: '', stderr: '' };
  #exit: Exit | undefined;

  constructor(name: BinName, options: BinOptions) {
    this.name = name;
    this.arguments = options.arguments;
    // What the one who runs the tests has set for himself is not what is tested.
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('LOCKSTEP_'));
    const startedMs = performance.now();
    const [command = '', ...words] = [
      ...(options.wrapper ?? []),
      join(options.bin ?? join(REPOSITORY, 'bin'), name),
      ...options.arguments,
    ];
    this.#child = spawn(command, words, {
      env: { ...Object.fromEntries(inherited), ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    this.#keep('stdout');
    this.#keep('stderr');
    this.exited = new Promise<Exit>((fulfil, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        this.#exit = { code, signal, milliseconds: performance.now() - startedMs, ...this.#output };
        fulfil(this.#exit);
      });
    });
    // Who waits for something else sees the end of the process there.
    this.exited.catch(() => undefined);
    this.pid = this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#exit === undefined;
  }

  get stdout(): string {
    return this.#output.stdout;
  }

  get stderr(): string {
    return this.#output.stderr;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals = 'SIGTERM', withinMs = DEADLINE_MS): Promise<Exit> {
    this.signal(signal);
    return this.ended(withinMs);
  }

  /** Waits for the end; what does not end is killed, and that is an error. */
  async ended(withinMs = DEADLINE_MS): Promise<Exit> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#child.kill('SIGKILL');
    }, withinMs);
    try {
      const exit = await this.exited;
      if (isLate) throw new Error(`${this.name} did not end within ${withinMs} ms\n${this.report()}`);
      return exit;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The content of its ready file, once it is there. */
  async ready(file: string, withinMs = DEADLINE_MS): Promise<Readonly<Record<string, unknown>>> {
    const look = () => {
      const content = readIfThere(file);
      return content === undefined ? undefined : (JSON.parse(content) as Record<string, unknown>);
    };
    return this.reaches('ready', look, withinMs);
  }

  /** As `eventually`, but gives up as soon as the process has ended. */
  async reaches<T>(what: string, look: () => T | undefined | false, withinMs = DEADLINE_MS): Promise<T> {
    const lookWhileRunning = (): { readonly value: T } | 'ended' | undefined => {
      const value = look();
      if (value !== undefined && value !== false) return { value };
      return this.isRunning ? undefined : 'ended';
    };
    try {
      const found = await eventually(`${this.name}: ${what}`, lookWhileRunning, withinMs);
      if (found !== 'ended') return found.value;
    } catch (error) {
      throw new Error(`${String(error)}\n${this.report()}`);
    }
    throw new Error(`${this.name} ended before it was: ${what}\n${this.report()}`);
  }

  /** What it said, for the report of a failed test. */
  report(): string {
    const how = this.#exit === undefined ? 'running' : `exit ${this.#exit.code ?? this.#exit.signal}`;
    const { stdout, stderr } = this.#output;
    const lines = [`--- ${this.name} (pid ${this.pid}, ${how}): ${this.arguments.join(' ')}`];
    if (stdout !== '') lines.push('--- stdout', stdout.slice(-4000));
    if (stderr !== '') lines.push('--- stderr', lastLinesOf(stderr));
    return lines.join('\n');
  }

  #keep(stream: 'stdout' | 'stderr'): void {
    const source = this.#child[stream];
    source?.setEncoding('utf8');
    source?.on('data', (text: string) => {
      this.#output[stream] = (this.#output[stream] + text).slice(-MAX_KEPT_CHARS);
    });
  }
}

/** Of the many lines about changes that went well only the last ones. */
function lastLinesOf(log: string): string {
  const lines = log.trimEnd().split('\n');
  const kept = lines.filter((line, at) => at >= lines.length - MAX_REPORTED_LINES || !line.includes('"level":"info"'));
  return kept
    .slice(-2 * MAX_REPORTED_LINES)
    .map((line) => line.slice(0, MAX_REPORTED_LINE_CHARS))
    .join('\n');
}

/** Runs a program to its end. */
export async function runToEnd(name: BinName, options: BinOptions, withinMs = DEADLINE_MS): Promise<Exit> {
  return new BinProgram(name, options).ended(withinMs);
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
