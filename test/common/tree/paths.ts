/** Paths for the tests of this room: by hand, and arbitrary ones. */
import fc from 'fast-check';
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** A path written down in a test, in TreePath form. */
export function treePath(text: string): TreePath {
  return text as TreePath;
}

/** One component: any bytes but NUL and `/`, rich in UTF-8 fragments, escapes and names that confuse programs. */
export const nameText: fc.Arbitrary<string> = fc
  .oneof(
    fc.uint8Array({ minLength: 1, maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 6 }).map((text) => Buffer.from(text).toString('latin1')),
    fc
      .array(fc.constantFrom('\xe2', '\x82', '\xac', '\xed', '\xa0', '\xf0', '\x90', '\x80', '%', '%41', 'a', '-'), {
        minLength: 1,
        maxLength: 6,
      })
      .map((parts) => parts.join('')),
    fc.constantFrom('__proto__', 'constructor', '0', 'a', 'b', 'a-', '...', '-rf', 'CON', 'C:', '\\', ' ', '\n'),
    fc.constant('n'.repeat(255)),
  )
  .map((text) => text.replaceAll(/[\0/]/g, '_'))
  .filter((name) => name !== '.' && name !== '..');

/** A path of one to five components. */
export const treePathText: fc.Arbitrary<TreePath> = fc
  .array(nameText, { minLength: 1, maxLength: 5 })
  .map((names) => treePath(names.join('/')));
