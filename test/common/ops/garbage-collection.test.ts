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

describe('two threads that give memory back at once', () => {
  it('do not take the means from each other', () => {
    const program = `
      import { syncBuiltinESMExports } from 'node:module';
      import { setTimeout as sleep } from 'node:timers/promises';
      import { getHeapStatistics, setFlagsFromString } from 'node:v8';
      import vm from 'node:vm';
      import { giveBackMemoryWhenIdle } from ${JSON.stringify(module)};
      const { runInNewContext } = vm;
      let looks = 0;
      vm.runInNewContext = (...of) => {
        // Flags are those of all threads.
        if (looks++ < 2) setFlagsFromString('--no-expose-gc');
        return runInNewContext(...of);
      };
      syncBuiltinESMExports();
      giveBackMemoryWhenIdle(200);
      let list = Array.from({ length: 1_500_000 }, (_, index) => ({ index }));
      const full = getHeapStatistics().total_heap_size;
      list = undefined;
      while (getHeapStatistics().total_heap_size > full / 3) await sleep(100);
      process.stdout.write(String(looks));
    `;
    const options = { encoding: 'utf8', timeout: 50_000 } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', program], options)).to.equal('3');
  });
});

describe('a heap in which little is to be had', () => {
  it('is left alone', () => {
    const program = `
      import { PerformanceObserver, performance } from 'node:perf_hooks';
      import { setTimeout as sleep } from 'node:timers/promises';
      import { giveBackMemoryWhenIdle } from ${JSON.stringify(module)};
      const { eventLoopUtilization } = performance;
      let idleLooks = 0;
      performance.eventLoopUtilization = (...times) => {
        const used = eventLoopUtilization(...times);
        if (times.length === 2 && used.utilization <= 0.005) idleLooks++;
        return used;
      };
      let marked = 0;
      new PerformanceObserver((list) => {
        marked += list.getEntries().filter(({ detail }) => detail.kind === 4).length;
      }).observe({ entryTypes: ['gc'] });
      giveBackMemoryWhenIdle(500);
      while (idleLooks < 2) await sleep(600);
      process.stdout.write(String(marked));
    `;
    const options = { encoding: 'utf8', timeout: 50_000 } as const;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', program], options)).to.equal('0');
  });
});

describe('garbage that V8 still takes for memory in use', () => {
  it('is given back, too', () => {
    const program = `
      import { setTimeout as sleep } from 'node:timers/promises';
      import { getHeapStatistics } from 'node:v8';
      import { giveBackMemoryWhenIdle } from ${JSON.stringify(module)};
      giveBackMemoryWhenIdle(200);
      // It is in the old generation, which nothing makes V8 look at.
      let list = Array.from({ length: 600_000 }, (_, index) => ({ index }));
      list = undefined;
      const { total_heap_size: full, used_heap_size: used } = getHeapStatistics();
      if (full - used > 16 * 2 ** 20) throw new Error('nothing of it is hidden');
      while (getHeapStatistics().total_heap_size > full / 2) await sleep(100);
    `;
    const flags = ['--max-semi-space-size=1', '--input-type=module'];
    execFileSync(process.execPath, [...flags, '-e', program], { encoding: 'utf8', timeout: 50_000 });
  });
});

describe('contents that pass through', () => {
  it('make V8 mark the whole heap a few times, not after every 64 MiB', () => {
    const program = `
      import { PerformanceObserver } from 'node:perf_hooks';
      import { setImmediate as turn } from 'node:timers/promises';
      import { collectYoungOften } from ${JSON.stringify(module)};
      if (process.argv[1] === 'often') collectYoungOften();
      let marked = 0;
      new PerformanceObserver((list) => {
        marked += list.getEntries().filter(({ detail }) => detail.kind === 4).length;
      }).observe({ entryTypes: ['gc'] });
      for (let count = 0; count < 8_000; count++) {
        Buffer.allocUnsafeSlow(2 ** 20).fill(1, 0, 1);
        await turn();
      }
      process.stdout.write(String(marked));
    `;
    const marked = (...words: readonly string[]): number =>
      Number(execFileSync(process.execPath, ['--input-type=module', '-e', program, ...words], { encoding: 'utf8' }));
    // A machine with other things to do marks more often in both.
    expect(marked('often')).to.be.below(marked() / 2);
  });
});
