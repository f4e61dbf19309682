/**
 * Folds what each program and each of its threads imports into a few modules, in the place of the compiled ones in dist/: finding, reading
 * and linking 400 of them took a third of a start. Needs dist/ as the compiler has made it. What `main.js` itself imports stays
 * as it is, because it has to start on a Node that is too old for the rest, and say so. See docs/decisions/0013.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

/** Of dist/: what the programs and their threads start with. */
const ENTRIES = [
  'services/sync-server/program.js',
  'services/sync-server/replica/applier-worker.js',
  'services/sync-server/replica/content-worker.js',
  'clients/watcher/cli.js',
  'clients/watcher/engine/engine-worker.js',
  'clients/watcher/observe/look-ahead-worker.js',
  'clients/watcher/observe/observer-worker.js',
  'clients/watcher/push/content-worker.js',
];
/** Packages of the CommonJS kind ask for what Node has built in by `require`. */
const REQUIRE =
  "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);";
const OWN_URL = /"lockstep-url:([^"]+)"/g;

/** A module finds files beside itself by its URL: it keeps the one that it had, wherever it is folded into. */
function keepingUrls(dist: string): Plugin {
  return {
    name: 'keeping URLs',
    setup({ onLoad }) {
      onLoad({ filter: /\.js$/ }, async ({ path }) => {
        const place = relative(dist, path);
        if (place.startsWith('..')) return undefined;
        const source = await readFile(path, 'utf8');
        return { contents: source.replaceAll('import.meta.url', JSON.stringify(`lockstep-url:${place}`)) };
      });
    },
  };
}

/**
 * With `http` Node 24 loads its client for the web, a tenth of a start (node:http's getters are read when it is loaded). Folding
 * makes what a module imports of Node an import of the whole program: `http` stays with the modules that need it, and grpc-js,
 * which asks for it in case of a proxy, gets it when there is one.
 */
const httpWhereNeeded: Plugin = {
  name: 'http where needed',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:node:)?https?$/ }, ({ path, importer, namespace }) => {
      if (namespace === 'later') return { path, external: true };
      return { path, namespace: 'later', pluginData: importer.endsWith('/http_proxy.js') };
    });
    onLoad({ filter: /./, namespace: 'later' }, ({ path, pluginData: isForProxies }) => ({
      contents: isForProxies
        ? `exports.request = (options) => require('${path}').request(options);`
        : `module.exports = require('${path}');`,
    }));
  },
};

/** zod brings the words of seventy languages along: half of its code. */
const englishOnly: Plugin = {
  name: 'english only',
  setup({ onLoad }) {
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: `export { default as en } from './en.js';`,
    }));
  },
};

/** @throws what esbuild reports */
export async function bundle(directory: string): Promise<void> {
  const dist = resolve(directory);
  const { outputFiles } = await build({
    entryPoints: ENTRIES.map((entry) => join(dist, entry)),
    outbase: dist,
    outdir: dist,
    allowOverwrite: true,
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // For a dist/ that lies elsewhere.
    nodePaths: [join(import.meta.dirname, '../node_modules')],
    keepNames: true,
    banner: { js: REQUIRE },
    plugins: [keepingUrls(dist), httpWhereNeeded, englishOnly],
    logLevel: 'warning',
  });
  for (const { path, text } of outputFiles) {
    const folded = text.replace(OWN_URL, (_, place: string) => {
      const from = relative(dirname(path), join(dist, place));
      return `new URL(${JSON.stringify(from)}, import.meta.url).href`;
    });
    await writeFile(path, folded);
  }
}

if (import.meta.main) await bundle(join(import.meta.dirname, '../dist'));
