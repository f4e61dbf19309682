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
const DIST_PLACE = 'dist-as-seen-from-here';
/** Packages of the CommonJS kind ask for what Node has built in by `require`. */
const BEFORE_ALL = `import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);
const lockstepUrlOf = (place) => new URL('${DIST_PLACE}' + place, import.meta.url).href;`;

/** A module finds files beside itself by its URL: it keeps the one that it had, wherever it is folded into. */
function keepingUrls(dist: string): Plugin {
  return {
    name: 'keeping URLs',
    setup({ onLoad }) {
      onLoad({ filter: /\.js$/ }, async ({ path }) => {
        const place = relative(dist, path);
        if (place.startsWith('..')) return undefined;
        const source = await readFile(path, 'utf8');
        return { contents: source.replaceAll('import.meta.url', `lockstepUrlOf(${JSON.stringify(place)})`) };
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
    // V8 keeps the text of a module, and twice as much for each character where one is no Latin-1, as in a comment.
    minifyWhitespace: true,
    // Of an error that nobody has caught Node prints the line.
    lineLimit: 160,
    // By its form for Node all of its twenty functions come along.
    alias: { 'hash-wasm': 'hash-wasm/dist/index.esm.js' },
    banner: { js: BEFORE_ALL },
    plugins: [keepingUrls(dist), httpWhereNeeded],
    logLevel: 'warning',
  });
  for (const { path, text } of outputFiles) {
    await writeFile(path, text.replace(DIST_PLACE, `${relative(dirname(path), dist)}/`));
  }
}

if (import.meta.main) await bundle(join(import.meta.dirname, '../dist'));
