/**
 * Entry point of sync-watcher. Compiled code is cached first of all: it halves the start of every command.
 */
import { enableCompileCache } from 'node:module';

enableCompileCache();
const { runCli } = await import('./cli.ts');
process.exitCode = await runCli(process.argv, process.env);
