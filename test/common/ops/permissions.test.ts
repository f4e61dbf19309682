import { expect } from 'chai';
import { assertPermitted } from '../../../common/ops/permissions.ts';

describe("what programs need of Node's permission model", () => {
  it('is asked for where the model is on, and not where it is off', () => {
    const model = { has: (scope: string) => scope === 'worker' };
    assertPermitted('worker', 'a thread', model);
    expect(() => assertPermitted('child', 'a command', model))
      .to.throw('a command needs --allow-child-process')
      .with.property('reason', 'USAGE');
    assertPermitted('child', 'a command');
  });
});
