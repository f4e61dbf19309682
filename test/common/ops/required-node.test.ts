/**
 * Which Node is new enough: what package.json says, scripts/node says, and the programs say.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { isNewEnough } from '../../../common/ops/required-node.ts';

describe('the required Node', () => {
  it('is the one of package.json', () => {
    const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as {
      readonly engines: { readonly node: string };
    };
    const [major = 0, minor = 0, patch = 0] = manifest.engines.node.replace('>=', '').split('.').map(Number);
    expect(isNewEnough(`${major}.${minor}.${patch}`)).to.equal(true);
    expect(isNewEnough(`${major}.${minor}.${patch - 1}`)).to.equal(false);
  });

  const versions: readonly (readonly [string, boolean])[] = [
    ['24.18.1', true],
    ['24.18.0', false],
    ['24.19.0', true],
    ['24.9.9', false],
    ['25.0.0', true],
    ['26.0.0-nightly', true],
    ['20.20.2', false],
    ['9.99.99', false],
    ['', false],
  ];
  for (const [version, expected] of versions) {
    it(`${version === '' ? 'no version' : version} is ${expected ? '' : 'not '}new enough`, () => {
      expect(isNewEnough(version)).to.equal(expected);
    });
  }
});
