/**
 * Guards the house's one rule of layout: imports point downwards only. Prints each import that does not, with its
 * place, and exits with status 1. The rules are the table below; docs/architecture.md explains them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

/** No file matching `from` may import one matching `to`, not even its types. */
interface ArrowRule {
  readonly from: RegExp;
  readonly to: RegExp;
  readonly why: string;
}

const ARROWS: readonly ArrowRule[] = [
  { from: /^(common|services|clients)\//, to: /^library\//, why: 'the programs do not know what embeds them' },
  { from: /^common\//, to: /^(services|clients)\//, why: 'common/ knows neither server nor watcher' },
  { from: /^services\//, to: /^clients\//, why: 'the server does not know the watcher' },
  { from: /^clients\//, to: /^services\//, why: 'the watcher does not know the server' },
  {
    from: /^services\/sync-server\/rpc\//,
    to: /^services\/sync-server\/replica\/(?!replica\.ts$)/,
    why: 'the RPCs know the replica only through replica/replica.ts',
  },
  {
    from: /^common\/(content|tree)\/(?!index-)/,
    to: /^common\/(fs|rpc)\//,
    why: 'content/ and tree/ are pure (the index excepted)',
  },
];

/** What the pure rooms may not reach, directly or through anything they import; types do not count. */
const PURE_ROOMS = /^(clients\/watcher\/plan|common\/content)\//;
const EFFECTS =
  /^((node:)?(fs|fs\/promises|net|tls|dgram|dns|http|https|http2|child_process|worker_threads|cluster)|node:sqlite|@grpc\/grpc-js)$/;

export interface Import {
  /** Path from the project's root for relative imports, else the module's name. */
  readonly target: string;
  readonly isTypeOnly: boolean;
  readonly line: number;
}

/** The imports, re-exports, dynamic imports and worker URLs of a source text. */
export function importsOf(path: string, text: string): readonly Import[] {
  const found: Import[] = [];
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
  const patterns = [
    /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?'([^']+)'/gm,
    /\bimport()\(\s*'([^']+)'\s*\)/g,
    /\bnew URL()\(\s*'(\.[^']+)'\s*,\s*import\.meta\.url/g,
  ];
  for (const pattern of patterns) {
    for (const match of code.matchAll(pattern)) {
      const [whole, typeKeyword, specifier = ''] = match;
      const line = code.slice(0, match.index + whole.lastIndexOf(specifier)).split('\n').length;
      const isRelative = specifier.startsWith('.');
      const target = isRelative ? posix.normalize(posix.join(posix.dirname(path), specifier)) : specifier;
      found.push({ target, isTypeOnly: (typeKeyword ?? '') !== '' || hasOnlyTypes(whole), line });
    }
  }
  return found;
}

/** `import { type A, type B } from …` loads nothing that matters. */
function hasOnlyTypes(statement: string): boolean {
  const names = /\{([^}]*)\}/
    .exec(statement)?.[1]
    ?.split(',')
    .map((name) => name.trim());
  return names?.some((name) => name !== '') === true && names.every((name) => name === '' || name.startsWith('type '));
}

/** Every import that breaks a rule, as "file:line: what, and why not". `files` maps paths to source texts. */
export function violationsOf(files: ReadonlyMap<string, string>): readonly string[] {
  const violations: string[] = [];
  const imports = new Map([...files].map(([path, text]) => [path, importsOf(path, text)]));
  for (const [path, targets] of imports) {
    for (const { target, line } of targets) {
      for (const { from, to, why } of ARROWS) {
        if (from.test(path) && to.test(target)) violations.push(`${path}:${line}: imports ${target}: ${why}`);
      }
    }
    if (PURE_ROOMS.test(path)) violations.push(...effectsReachedFrom(path, imports));
  }
  return violations;
}

function effectsReachedFrom(start: string, imports: ReadonlyMap<string, readonly Import[]>): readonly string[] {
  const violations: string[] = [];
  const seen = new Set([start]);
  const pending = [{ path: start, chain: '', line: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const { target, isTypeOnly, line } of imports.get(next.path) ?? []) {
      if (isTypeOnly || seen.has(target)) continue;
      seen.add(target);
      const place = next.line === 0 ? line : next.line;
      const chain = `${next.chain} -> ${target}`;
      if (EFFECTS.test(target)) violations.push(`${start}:${place}: a pure room reaches${chain.slice(3)}`);
      pending.push({ path: target, chain, line: place });
    }
  }
  return violations;
}

function readSources(root: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const room of ['common', 'services', 'clients', 'library']) {
    for (const entry of readdirSync(join(root, room), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const path = join(entry.parentPath, entry.name);
      files.set(path.slice(root.length + 1).replaceAll('\\', '/'), readFileSync(path, 'utf8'));
    }
  }
  return files;
}

if (import.meta.main) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const files = readSources(root);
  const violations = violationsOf(files);
  for (const violation of violations) console.error(violation);
  if (violations.length > 0) process.exit(1);
  console.log(`${files.size} files, all imports point downwards`);
}
