/**
 * Termination by signal: the first SIGINT or SIGTERM asks for a clean stop, the second one insists (E116). On Windows Ctrl-C is a
 * SIGINT, Ctrl-Break a SIGBREAK, and nobody can send a SIGTERM.
 */
import { describeError, ExitCode } from './errors.ts';

export type TerminationSignal = 'SIGINT' | 'SIGTERM' | 'SIGBREAK';

/**
 * Calls the handler at the first of these signals, once. The handler stops the program's work and sets
 * `process.exitCode`; the process ends when nothing is left to do. A second signal ends it at once with 128 and its number.
 * A handler that fails ends the process with status 1, because nothing else would.
 * @returns a function that takes the listeners down again.
 */
export function onTermination(handler: (signal: TerminationSignal) => Promise<void>): () => void {
  let stopping = false;
  const onSignal = (signal: TerminationSignal) => {
    if (stopping) process.exit(ExitCode[signal]);
    stopping = true;
    handler(signal).catch((error: unknown) => {
      process.stderr.write(`cannot stop cleanly: ${describeError(error)}\n`);
      process.exit(ExitCode.SOME_FAILED);
    });
  };
  const signals: readonly TerminationSignal[] = ['SIGINT', 'SIGTERM', 'SIGBREAK'];
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
}
