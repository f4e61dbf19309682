/**
 * Programs of this project as processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';

export interface Finished {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class ServerProgram {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  stdout = '';
  stderr = '';

  /** `script` is a TypeScript file, run by the Node that runs the test; the environment has no LOCKSTEP_ variables but these. */
  constructor(script: string, parameters: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('LOCKSTEP_'));
    this.process = spawn(process.execPath, [script, ...parameters], {
      env: { ...Object.fromEntries(inherited), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process.stdout?.on('data', (data: Buffer) => {
      this.stdout += data.toString();
    });
    this.process.stderr?.on('data', (data: Buffer) => {
      this.stderr += data.toString();
    });
    this.finished = once(this.process, 'close').then(([exitCode, signal]) => ({
      exitCode: exitCode as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** What the ready file says, once it is there. @throws when the program ends before */
  async ready(readyFile: string): Promise<Record<string, unknown>> {
    let isOver = false;
    void this.finished.then(() => {
      isOver = true;
    });
    while (!existsSync(readyFile)) {
      if (isOver) throw new Error(`the program ended before it was ready: ${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return JSON.parse(readFileSync(readyFile, 'utf8')) as Record<string, unknown>;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    this.process.kill(signal);
    return this.finished;
  }
}
