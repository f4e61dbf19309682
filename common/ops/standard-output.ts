/**
 * What a program does when its standard output cannot be written: the reader of a pipe has gone, or the disk is full.
 */
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
