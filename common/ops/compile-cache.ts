/**
 * Keeps compiled code, stripped types included, between runs: it more than halves the start of every command. Call it
 * before anything else is imported.
 */
// The whole module, not its names: one that an old Node does not have would hide what required-node.ts has to say.
import module from 'node:module';

/** Threads that are started later learn of it from the environment; without it they compile all again (0.2 s each). */
export function keepCompiledCode(): void {
  module.enableCompileCache();
  const directory = module.getCompileCacheDir();
  if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory;
}

/**
 * Writes down now what this thread has compiled, not when it ends: kept code is good only under the settings of V8 that were in
 * force when it was written down, and those change when contents pass through (garbage-collection.ts).
 */
export function saveCompiledCode(): void {
  module.flushCompileCache();
}
