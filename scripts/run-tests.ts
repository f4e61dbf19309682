/**
 * Runs the test suite, or the files and directories named, and ends with the line `N passed, N failed`. `--jobs N`: so many
 * files at a time; by default two of the whole suite, whose tests mostly wait. With NODE_V8_COVERAGE in the environment the whole suite
 * runs one after the other and measures only what the tests of measured-tests.ts start, because the others would take almost
 * half as long again; what is named is measured.
 * Exit status 0 when nothing failed, else 1.
 */
import { existsSync, globSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import Mocha from 'mocha';
import { MEASURED_TESTS } from './measured-tests.ts';

const root = resolve(import.meta.dirname, '..');
/** Run by their own targets: they take a budget, not a fixed time. */
const WITH_OWN_TARGET = ['test/torture/', 'test/fuzz/', 'test/soak/'];

function filesOf(selection: readonly string[]): string[] {
  if (selection.length === 0) {
    const all = globSync('test/**/*.test.ts', { cwd: root });
    return all.filter((file) => !WITH_OWN_TARGET.some((prefix) => file.startsWith(prefix)));
  }
  return selection.flatMap((name) => {
    if (!existsSync(join(root, name))) throw new Error(`there is no ${name}`);
    return statSync(join(root, name)).isDirectory() ? globSync(`${name}/**/*.test.ts`, { cwd: root }) : [name];
  });
}

/** Sets the environment of the processes that a test starts, while it runs. */
function measureSome(runner: Mocha.Runner, data: string): void {
  runner.on('suite', ({ file }) => {
    if (file === undefined) return;
    const isMeasured = MEASURED_TESTS.some((directory) => relative(root, file).startsWith(`${directory}/`));
    if (isMeasured) Object.assign(process.env, { NODE_V8_COVERAGE: data, NODE_DISABLE_COMPILE_CACHE: '1' });
    else for (const name of ['NODE_V8_COVERAGE', 'NODE_DISABLE_COMPILE_CACHE']) delete process.env[name];
  });
}

const { values, positionals } = parseArgs({ options: { jobs: { type: 'string' } }, allowPositionals: true });
const { NODE_V8_COVERAGE: data = '' } = process.env;
const isWhole = positionals.length === 0;
const jobs = Number(values.jobs ?? (isWhole && data === '' && availableParallelism() > 1 ? 2 : 1));
const reporter = process.env['MOCHA_REPORTER'] ?? 'spec';
const mocha = new Mocha({ timeout: 60_000, slow: 2_000, reporter, parallel: jobs > 1, jobs });
for (const file of filesOf(positionals).sort()) mocha.addFile(join(root, relative(root, join(root, file))));
// With several, each loads what it runs.
if (jobs <= 1) await mocha.loadFilesAsync();
const runner = mocha.run((failures) => {
  const passes = runner.stats?.passes ?? 0;
  console.log(`${passes} passed, ${failures} failed`);
  // A test that left a handle open must not keep the suite from ending.
  process.exit(failures === 0 && passes > 0 ? 0 : 1);
});
if (data !== '' && isWhole) measureSome(runner, data);
