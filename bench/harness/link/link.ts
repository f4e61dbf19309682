/**
 * The benchmark's end of a link process.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { LineShape } from './delay-line.ts';
import type { LinkAnswer, LinkRequest, LinkSettings, LinkTotals } from './messages.ts';

export class Link {
  /** On 127.0.0.1: where to connect to instead of the target. */
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** With `shape` null the link only counts. The process ends with `close`, and with this process at the latest. */
  static async open(targetPort: number, shape: LineShape | null): Promise<Link> {
    const settings: LinkSettings = { targetPort, shape };
    const child = fork(join(import.meta.dirname, 'link-process.ts'), [JSON.stringify(settings)], {
      // Its profile is of no interest, and Ctrl-C comes to us alone.
      env: { ...process.env, NODE_OPTIONS: '' },
      detached: true,
    });
    const answer = await nextAnswer(child);
    if (answer.kind !== 'listening') throw new Error(`the link process begins with ${answer.kind}`);
    return new Link(child, answer.port);
  }

  totals(): Promise<LinkTotals> {
    return this.#ask('totals');
  }

  /** Begins to count anew; resolves with what was counted so far. */
  reset(): Promise<LinkTotals> {
    return this.#ask('reset');
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  async #ask(request: LinkRequest): Promise<LinkTotals> {
    const answered = nextAnswer(this.#child);
    this.#child.send(request);
    const answer = await answered;
    if (answer.kind !== 'totals') throw new Error(`the link process answers ${answer.kind}`);
    return answer.totals;
  }
}

async function nextAnswer(child: ChildProcess): Promise<LinkAnswer> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('the link process has ended'));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      // Both ends of the channel are ours.
      resolve(message as LinkAnswer);
    });
  });
}
