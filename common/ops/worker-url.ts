/**
 * Where a worker thread's module is: bundlers and compilers rewrite imports, but not the URLs that threads start from.
 */

/** `path` is relative to `base` (`import.meta.url`) and ends in `.ts`; in a compiled tree the `.js` beside it is meant. */
export function workerUrl(path: `${string}.ts`, base: string): URL {
  return new URL(base.endsWith('.ts') ? path : path.replace(/\.ts$/, '.js'), base);
}
