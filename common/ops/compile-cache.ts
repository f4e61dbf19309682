/**
 * Keeps compiled code, stripped types included, between runs: it more than halves the start of every command. Call it
 * before anything else is imported.
 */
import { enableCompileCache, getCompileCacheDir } from 'node:module';

/** Threads that are started later learn of it from the environment; without it they compile all again (0.2 s each). */
export function keepCompiledCode(): void {
  enableCompileCache();
  const directory = getCompileCacheDir();
  if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory;
}
