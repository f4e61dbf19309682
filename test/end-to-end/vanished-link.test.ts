import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { usePairs } from '../support/pair-hooks.ts';

describe('a second name of a file', () => {
  const pairs = usePairs();

  it('that is written through and gone before the server has answered for it leaves nothing behind (E19)', async () => {
    let proxy: FaultProxy | undefined;
    const pair = await pairs.start({
      proxy: async (port) => {
        proxy = await FaultProxy.start(port);
        return proxy;
      },
      prepare: ({ source }) => writeFileSync(join(source, 'first'), 'old'),
    });
    await pair.inStep();
    proxy?.partition();
    linkSync(join(pair.source, 'first'), join(pair.source, 'second'));
    await eventually('the link is on its way', async () => Number((await pair.status())['pendingChanges']) > 0);
    writeFileSync(join(pair.source, 'second'), 'written through the second name');
    rmSync(join(pair.source, 'second'));
    proxy?.cut();
    proxy?.heal();
    await pair.inStep();
  });
});
