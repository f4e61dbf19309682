import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { parseGitignorePattern, patternMatches } from '../../../clients/watcher/observe/gitignore-pattern.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { treePathFromLocal } from '../../../common/tree/tree-path.ts';

function matches(line: string, path: string, isDirectory = false): boolean {
  const pattern = parseGitignorePattern(line);
  return pattern !== undefined && patternMatches(pattern, path.split('/'), isDirectory);
}

describe('gitignore patterns', () => {
  const examples: readonly (readonly [pattern: string, matching: readonly string[], other: readonly string[]])[] = [
    ['*.log', ['a.log', 'd/a.log', '.log'], ['a.logs', 'log']],
    ['/a', ['a'], ['d/a']],
    ['d/a', ['d/a'], ['x/d/a', 'a']],
    ['d/*', ['d/a'], ['d/a/b', 'd']],
    ['**/a', ['a', 'x/a', 'x/y/a'], ['ab']],
    ['a/**', ['a/b', 'a/b/c'], ['a']],
    ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/x']],
    ['a**b', ['ab', 'axb'], ['a/b']],
    ['a?c', ['abc', 'aéc', 'a😀c'], ['ac', 'abbc']],
    ['[a-c]x', ['ax', 'cx'], ['dx', '-x']],
    ['[!a-c]x', ['dx', 'éx'], ['ax']],
    ['[]-]', [']', '-'], ['[', 'a']],
    ['[[:digit:]]', ['7'], ['a', ':']],
    ['\\*', ['*'], ['a']],
    ['\\#a', ['#a'], ['a']],
    ['\\!a', ['!a'], ['a']],
    ['a\\ ', ['a '], ['a']],
    ['a  ', ['a'], ['a  ']],
  ];
  for (const [pattern, matching, other] of examples) {
    it(`understands ${JSON.stringify(pattern)}`, () => {
      for (const path of matching) expect(matches(pattern, path), path).to.equal(true);
      for (const path of other) expect(matches(pattern, path), path).to.equal(false);
    });
  }

  it('takes blank lines, comments and broken brackets for no pattern', () => {
    for (const line of ['', '   ', '# a', '/', '!', '[a', 'a\\', '[[:nope:]]']) {
      expect(parseGitignorePattern(line), line).to.equal(undefined);
    }
  });

  it('matches a pattern with a final slash for directories only', () => {
    expect(matches('a/', 'a', true)).to.equal(true);
    expect(matches('a/', 'a', false)).to.equal(false);
  });

  it('stays fast whatever the pattern (S26)', () => {
    const startedAt = performance.now();
    expect(matches(`a/${'**/x/'.repeat(60)}z`, `a/${'x/'.repeat(900)}y`)).to.equal(false);
    expect(matches(`${'*a'.repeat(100)}b`, 'a'.repeat(255))).to.equal(false);
    expect(matches(`${'*[ab]?'.repeat(80)}c`, 'a'.repeat(255))).to.equal(false);
    expect(performance.now() - startedAt).to.be.lessThan(1000);
  });

  // git's `?` and brackets take one byte, ours one character: so the names here are ASCII.
  it('agrees with git on patterns and names of all sorts', function () {
    this.timeout(20_000);
    const characters = ['a', 'b', '*', '**', '?', '/', '!', '[ab]', '[!a]', '[^b-]', '\\', '\\*', ' ', '.', '-', 'é'];
    const piece = fc.constantFrom(...characters);
    const patterns = fc.sample(fc.array(piece, { minLength: 1, maxLength: 7 }), { numRuns: 120, seed: 7 });
    const files = ['a', 'b', 'ab', '.a', '-', '*', 'a b', 'd/a', 'd/b/a', 'aa/b', 'aa/a/b', 'aa/a/a/ab', 'b a/!b'];
    const directory = mkdtempSync(join(tmpdir(), 'ignore-git-'));
    try {
      execFileSync('git', ['init', '-q', directory]);
      const asked: { readonly pattern: string; readonly file: string }[] = [];
      patterns.forEach((pieces, index) => {
        const pattern = pieces.join('');
        for (const file of files) {
          const path = join(directory, `p${index}`, file);
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, '');
          asked.push({ pattern, file });
        }
        writeFileSync(join(directory, `p${index}`, '.gitignore'), `${pattern}\n`);
      });
      const input = asked.map(({ file }, index) => `p${Math.floor(index / files.length)}/${file}\0`).join('');
      const answer = checkIgnore(directory, input);
      const differing: string[] = [];
      asked.forEach(({ pattern, file }, index) => {
        const rules = new IgnoreRules([pattern]);
        const own = rules.isIgnored(treePathFromLocal(Buffer.from(file)), false);
        const gits = answer.has(`p${Math.floor(index / files.length)}/${file}`);
        if (own !== gits) differing.push(`${JSON.stringify(pattern)} on ${JSON.stringify(file)}: git says ${gits}`);
      });
      expect(differing).to.deep.equal([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** The paths that git ignores. It exits with 1 when there are none. */
function checkIgnore(directory: string, input: string): Set<string> {
  const options = { cwd: directory, input, maxBuffer: 1 << 26 };
  const output = execFileSync('git', ['check-ignore', '--no-index', '-z', '--stdin'], options);
  return new Set(output.toString().split('\0'));
}
