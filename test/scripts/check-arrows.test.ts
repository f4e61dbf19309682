import { expect } from 'chai';
import { importsOf, violationsOf } from '../../scripts/check-arrows.ts';

const check = (files: Record<string, string>) => violationsOf(new Map(Object.entries(files)));

describe('the check of import arrows', () => {
  it('lets imports point downwards', () => {
    const files = {
      'clients/watcher/watcher.ts': "import { a } from '../../common/ops/a.ts';\nimport './plan/plan.ts';",
      'clients/watcher/plan/plan.ts':
        "import type { Stats } from 'node:fs';\nimport { b } from '../../../common/ops/b.ts';",
      'services/sync-server/rpc/get.ts': "import type { Replica } from '../replica/replica.ts';",
      'common/ops/a.ts': "import { readFileSync } from 'node:fs';",
      'common/ops/b.ts': "import { join } from 'node:path';",
    };
    expect(check(files)).to.deep.equal([]);
  });

  it('names file, line and rule of an import that points up or across', () => {
    const files = {
      'common/fs/a.ts': "// first line\nimport { x } from '../../services/sync-server/x.ts';",
      'services/sync-server/a.ts': "export * from '../../clients/watcher/x.ts';",
      'clients/watcher/a.ts': "const x = await import('../../services/sync-server/x.ts');",
      'services/sync-server/rpc/a.ts': "import type {\n  Log,\n} from '../replica/log.ts';",
      'common/tree/a.ts': "new Worker(new URL('../fs/worker.ts', import.meta.url));",
    };
    expect(check(files)).to.deep.equal([
      'common/fs/a.ts:2: imports services/sync-server/x.ts: common/ knows neither server nor watcher',
      'services/sync-server/a.ts:1: imports clients/watcher/x.ts: the server does not know the watcher',
      'clients/watcher/a.ts:1: imports services/sync-server/x.ts: the watcher does not know the server',
      'services/sync-server/rpc/a.ts:3: imports services/sync-server/replica/log.ts: the RPCs know the replica only through replica/replica.ts',
      'common/tree/a.ts:1: imports common/fs/worker.ts: content/ and tree/ are pure (the index excepted)',
    ]);
  });

  it('follows what a pure room imports down to an effect, and names the chain', () => {
    const files = {
      'clients/watcher/plan/plan.ts': "import { a } from '../../../common/ops/a.ts';",
      'common/ops/a.ts': "import { b } from './b.ts';",
      'common/ops/b.ts': "import { readFileSync } from 'node:fs';",
      'common/content/c.ts': "import { Worker } from 'node:worker_threads';",
    };
    expect(check(files)).to.deep.equal([
      'clients/watcher/plan/plan.ts:1: a pure room reaches common/ops/a.ts -> common/ops/b.ts -> node:fs',
      'common/content/c.ts:1: a pure room reaches node:worker_threads',
    ]);
  });

  it('is not misled by comments and knows type imports', () => {
    const text = "/* import '../../x.ts' */\n// import '../y.ts';\nimport { type A, type B } from './z.ts';";
    expect(importsOf('common/ops/a.ts', text)).to.deep.equal([
      { target: 'common/ops/z.ts', isTypeOnly: true, line: 3 },
    ]);
  });
});
