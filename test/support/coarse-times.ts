/**
 * Loaded before a program (`--import`): its file system keeps times in steps of two seconds, and says that it is FAT.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const STEP_NS = 2_000_000_000n;
const FAT = 0x4d44n;

type Call = (...parameters: unknown[]) => unknown;

function change(name: 'lstatSync' | 'fstatSync' | 'statSync' | 'statfsSync', coarsen: (result: object) => void): void {
  const original = fs[name] as Call;
  Reflect.set(fs, name, (...parameters: unknown[]): unknown => {
    const result = original(...parameters);
    if (typeof result === 'object' && result !== null) coarsen(result);
    return result;
  });
}

for (const name of ['lstatSync', 'fstatSync', 'statSync'] as const) {
  change(name, (stats) => {
    for (const time of ['mtimeNs', 'ctimeNs', 'birthtimeNs']) {
      const ns: unknown = Reflect.get(stats, time);
      if (typeof ns === 'bigint') Reflect.set(stats, time, ns - (ns % STEP_NS));
    }
  });
}
change('statfsSync', (stats) => {
  if (typeof Reflect.get(stats, 'type') === 'bigint') Reflect.set(stats, 'type', FAT);
});
syncBuiltinESMExports();
