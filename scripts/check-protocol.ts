/**
 * Holds the generated code against the protocol: generates anew into a temporary directory and compares byte by byte,
 * then lints and checks the format of our own proto files. Prints what differs and exits with status 1.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');

function filesOf(directory: string): ReadonlySet<string> {
  if (!existsSync(directory)) return new Set();
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return new Set(files.map((entry) => relative(directory, join(entry.parentPath, entry.name))));
}

/** What the generated tree at `actual` has too little, too much or different, one line each. */
export function differencesOf(expected: string, actual: string): readonly string[] {
  const wanted = filesOf(expected);
  const present = filesOf(actual);
  const differences: string[] = [];
  for (const file of [...wanted].sort()) {
    if (!present.has(file)) differences.push(`${file} is missing`);
    else if (!readFileSync(join(expected, file)).equals(readFileSync(join(actual, file)))) {
      differences.push(`${file} differs`);
    }
  }
  for (const file of [...present].sort()) if (!wanted.has(file)) differences.push(`${file} is not generated any more`);
  return differences;
}

function run(program: string, args: readonly string[]): { readonly ok: boolean; readonly output: string } {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (result.error) throw result.error;
  return { ok: result.status === 0, output: `${result.stdout}${result.stderr}`.trim() };
}

/** Complaints about gen/, each with the way to mend it. */
function checkGenerated(): readonly string[] {
  const directory = mkdtempSync(join(tmpdir(), 'lockstep-protocol-'));
  try {
    const fresh = join(directory, 'gen');
    const generated = run(join(root, 'scripts/generate.sh'), [fresh]);
    if (!generated.ok) return [`cannot generate: ${generated.output}`];
    return differencesOf(fresh, join(root, 'gen')).map((line) => `gen/${line}; run "make proto"`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function checkProto(): readonly string[] {
  const lint = run(process.execPath, [buf, 'lint']);
  const format = run(process.execPath, [buf, 'format', '--path', 'proto/lockstep', '--diff', '--exit-code']);
  return [...(lint.ok ? [] : [lint.output]), ...(format.ok ? [] : [format.output])];
}

if (import.meta.main) {
  const complaints = [...checkGenerated(), ...checkProto()];
  for (const complaint of complaints) console.error(complaint);
  if (complaints.length > 0) process.exit(1);
  console.log('the generated code matches the protocol');
}
