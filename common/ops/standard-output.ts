/**
 * What a program does when its standard output cannot be written: the reader of a pipe has gone, or the disk is full.
 */
import { writeSync } from 'node:fs';
import { errnoOf, ExitCode } from './errors.ts';

/** 128 + 13, as shells report a program that SIGPIPE has ended. Node ignores that signal. */
const EXIT_CODE_OF_SIGPIPE = 141;

/** From now on errors of standard output end the process, in the words of this program; those of standard error do not. */
export function watchStandardOutput(program: string): void {
  process.stdout.on('error', (error) => {
    // A command with a listener of its own has something to close first.
    if (process.stdout.listenerCount('error') === 1) endWithoutOutput(program, error);
  });
  // There is nobody left to tell.
  process.stderr.on('error', () => undefined);
}

/** Ends the process: silently when nobody reads any more, otherwise with one sentence. Whatever was printed is not all. */
export function endWithoutOutput(program: string, error: unknown): never {
  const errno = errnoOf(error);
  if (errno === 'EPIPE') process.exit(EXIT_CODE_OF_SIGPIPE);
  process.stderr.write(`${program}: cannot write to standard output: ${errno ?? String(error)}\n`);
  process.exit(ExitCode.SOME_FAILED);
}

/** Synchronous, so that the last line before an exit is not lost. A line that cannot be written is left out. */
export function writeNow(fd: number, text: string, onLost?: (error: unknown) => void): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      // A pipe whose reader is slow says "again"; one whose reader is gone has nobody who could miss the line.
      if (errnoOf(error) === 'EAGAIN') continue;
      onLost?.(error);
      return;
    }
  }
}
