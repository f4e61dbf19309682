/**
 * What `main.ts` starts once the Node is new enough: the command line, with the kind of replica that this server has.
 */
import type { ExitCode } from '../../common/ops/errors.ts';
import { runCli } from './cli.ts';
import type { OpenFolder } from './server.ts';

/** Most commands open none. */
const openFolder: OpenFolder = async (...folder) => (await import('./open-folder.ts')).openFolder(...folder);

/** @returns the exit status */
export function run(): Promise<ExitCode> {
  return runCli(process.argv, { environment: process.env, openFolder });
}
