/**
 * Run by overflow.test.ts in a user namespace that has 40 inotify watches: both event sources have to notice, to poll
 * the rest, and to recover when the limit is raised. Exits with 1 when they do not.
 */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChangeSource } from '../../../clients/watcher/observe/change-source.ts';
import { ChokidarSource } from '../../../clients/watcher/observe/chokidar-source.ts';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { NativeSource } from '../../../clients/watcher/observe/native-source.ts';
import { TurnGatherer } from '../../../clients/watcher/observe/turn-gatherer.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { until } from './observing.ts';

const DIRECTORIES = 60;
const LIMIT_FILE = '/proc/sys/user/max_inotify_watches';

const base = process.argv[2] ?? '';
for (const Source of [NativeSource, ChokidarSource]) {
  writeFileSync(LIMIT_FILE, '40');
  const directory = join(base, Source.name);
  for (let n = 0; n < DIRECTORIES; n++) mkdirSync(join(directory, `d${n}`), { recursive: true });
  using root = SafeRoot.open(directory);
  const seen = new Set<string>();
  let degraded: string | undefined;
  const gatherer = new TurnGatherer((turn) => {
    gatherer.onTurnTaken();
    const dirty = new DirtySet();
    dirty.addBatch(turn.hints);
    for (const { dir } of dirty.takeAll().directories) seen.add(dir);
    if (turn.degraded !== undefined) degraded = turn.degraded ?? undefined;
  }, 16_384);
  const source: ChangeSource = new Source({ root, rules: new IgnoreRules([]), events: gatherer, pollIntervalMs: 50 });
  await source.start();
  await until(() => degraded !== undefined, 'degraded mode');
  process.stdout.write(`${source.kind}: ${degraded}\n`);
  for (let n = 0; n < DIRECTORIES; n++) appendFileSync(join(directory, `d${n}`, 'f'), 'x');
  await until(() => seen.size >= DIRECTORIES, 'hints at all directories');
  writeFileSync(LIMIT_FILE, '1000');
  await until(() => degraded === undefined && source.blindness === undefined, 'recovery');
  await source.close();
  gatherer.close();
}
