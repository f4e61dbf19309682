import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';

const module = join(import.meta.dirname, '../../../common/ops/garbage-collection.ts');

describe('memory of a thread that has nothing to do', () => {
  it('is given back after much work', () => {
    const program = `
      import { setTimeout as sleep } from 'node:timers/promises';
      import { getHeapStatistics } from 'node:v8';
      import { giveBackMemoryWhenIdle } from ${JSON.stringify(module)};
      giveBackMemoryWhenIdle(200);
      let list = Array.from({ length: 1_500_000 }, (_, index) => ({ index }));
      const full = getHeapStatistics().total_heap_size;
      list = undefined;
      while (getHeapStatistics().total_heap_size > full / 3) await sleep(100);
      process.stdout.write(String(globalThis.gc));
    `;
    const options = { encoding: 'utf8', timeout: 50_000 } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', program], options)).to.equal('undefined');
  });
});
