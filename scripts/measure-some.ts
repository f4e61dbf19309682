/**
 * Loaded by each of the processes that the whole suite is run in: with NODE_V8_COVERAGE in the environment only what the tests of
 * measured-tests.ts start is measured as well.
 */
import { relative, resolve } from 'node:path';
import type { Context } from 'mocha';
import { MEASURED_TESTS } from './measured-tests.ts';

const root = resolve(import.meta.dirname, '..');
const { NODE_V8_COVERAGE: data } = process.env;

/** Once for each file. */
function beforeAll(this: Context): void {
  const [suite] = this.test?.parent?.suites ?? [];
  const file = relative(root, suite?.file ?? '');
  const isMeasured = MEASURED_TESTS.some((directory) => file.startsWith(`${directory}/`));
  if (isMeasured) Object.assign(process.env, { NODE_V8_COVERAGE: data, NODE_DISABLE_COMPILE_CACHE: '1' });
  else for (const name of ['NODE_V8_COVERAGE', 'NODE_DISABLE_COMPILE_CACHE']) delete process.env[name];
}

export const mochaHooks = data === undefined || data === '' ? {} : { beforeAll };
