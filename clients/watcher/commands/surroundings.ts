/**
 * What a process that watches says, and where: log lines and the living line on standard error, JSON and plans on standard
 * output. One directory has the terminal to itself; several share it line by line, each line with its directory.
 */
import { errnoOf } from '../../../common/ops/errors.ts';
import { LogFile } from '../../../common/ops/log-file.ts';
import { createLogger, isOnTerminal, type Logger } from '../../../common/ops/logger.ts';
import { endWithoutOutput, writeNow } from '../../../common/ops/standard-output.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { Progress, progressKind } from '../status/progress.ts';
import type { WatcherSurroundings } from '../watcher.ts';
import type { WatchOptions } from './configuration.ts';

const STDOUT = 1;
const STDERR = 2;

export type Voice = Pick<WatcherSurroundings, 'logger' | 'progress' | 'writeLine' | 'complain'>;

type Values = Pick<WatchOptions['values'], 'logLevel' | 'logFormat' | 'logFile' | 'progress'>;

export class Surroundings {
  readonly logger: Logger;
  readonly logFile: LogFile | undefined;
  readonly #values: Values;
  /** The one that may have a living line. */
  #living: Progress | undefined;
  #missesProgress = false;

  constructor(values: Values) {
    this.#values = values;
    this.logFile = values.logFile === undefined ? undefined : new LogFile(values.logFile);
    this.logger = createLogger({
      name: 'watcher',
      level: values.logLevel,
      format: values.logFormat,
      destination: this.logFile ?? { write: (line) => this.#beside(() => writeNow(STDERR, line)) },
      onTerminal: isOnTerminal(this.logFile),
    });
  }

  /** The voice of one directory: named where there are several. */
  voiceOf(directory: string, isOnlyOne: boolean): Voice {
    const dir = displayText(directory);
    const logger = isOnlyOne ? this.logger : this.logger.child({ dir });
    const { progress: asked, logLevel } = this.#values;
    const kind = progressKind(asked, isOnlyOne && isOnTerminal() && logLevel.level !== 'silent');
    const progress = new Progress(kind, {
      logger,
      fields: isOnlyOne ? {} : { dir: directory },
      writeLine: (line) => writeNow(STDOUT, `${line}\n`, (error) => this.#missProgress(error)),
      terminal: {
        get columns() {
          // A terminal that does not know its width says 0.
          return process.stderr.columns || Number.POSITIVE_INFINITY;
        },
        write: (text) => writeNow(STDERR, text),
      },
    });
    if (isOnlyOne) this.#living = progress;
    const prefix = isOnlyOne ? '' : `${dir}: `;
    return {
      logger,
      progress,
      writeLine: (line) => this.#beside(() => writeNow(STDOUT, `${prefix}${line}\n`, endOfPlan)),
      complain: (sentence) => this.#beside(() => writeNow(STDERR, `sync-watcher: ${prefix}${sentence}\n`)),
    };
  }

  /** The work goes on without it; said once. Who reads no more knows that. */
  #missProgress(error: unknown): void {
    const errno = errnoOf(error) ?? String(error);
    if (this.#missesProgress || errno === 'EPIPE') return;
    this.#missesProgress = true;
    const sentence = `the progress cannot be written to standard output: ${errno}; the work goes on without it`;
    this.#beside(() => writeNow(STDERR, `sync-watcher: ${sentence}\n`));
  }

  /** Lines and the living one share a terminal: whoever writes a line lifts the living one first. */
  #beside(write: () => void): void {
    this.#living?.clear();
    write();
    this.#living?.redraw();
  }
}

/** A plan of which lines are lost is none, unlike the work of a watcher that nobody looks at. */
const endOfPlan = (error: unknown) => endWithoutOutput('sync-watcher', error);
