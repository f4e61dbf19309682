/**
 * Where did the time go? The functions with most time of their own, from the CPU profiles that Node left.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';

/** The part of the format of the DevTools protocol (Profiler.Profile) that is read here. */
const profileSchema = z.object({
  nodes: z.array(
    z.object({
      id: z.number(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.number() }),
    }),
  ),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
});
export type CpuProfile = z.infer<typeof profileSchema>;

export interface FunctionTime {
  readonly name: string;
  readonly seconds: number;
}

/** Time of its own by function, most first; microseconds become seconds. */
export function selfTimes(profile: CpuProfile): readonly FunctionTime[] {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const place = url === '' ? '' : ` ${basename(url)}:${lineNumber + 1}`;
      return [id, `${functionName || '(anonymous)'}${place}`];
    }),
  );
  const seconds = new Map<string, number>();
  for (const [index, id] of profile.samples.entries()) {
    const name = names.get(id) ?? '(unknown)';
    seconds.set(name, (seconds.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0) / 1e6);
  }
  return [...seconds].map(([name, time]) => ({ name, seconds: time })).sort((a, b) => b.seconds - a.seconds);
}

const SHOWN = 14;

/** Lines to print: each thread of each process with its busiest functions. */
export function summarizeProfiles(directory: string): readonly string[] {
  const lines: string[] = [];
  for (const side of ['watcher', 'server']) {
    const sideDirectory = join(directory, side);
    const files = existsSync(sideDirectory) ? readdirSync(sideDirectory).sort() : [];
    for (const file of files) {
      const profile = profileSchema.parse(JSON.parse(readFileSync(join(sideDirectory, file), 'utf8')));
      const times = selfTimes(profile);
      const total = times.reduce((sum, { seconds }) => sum + seconds, 0);
      lines.push(`${side} ${file}: ${total.toFixed(2)} s`);
      for (const { name, seconds } of times.slice(0, SHOWN))
        lines.push(`  ${seconds.toFixed(3).padStart(8)} s  ${name}`);
    }
  }
  return lines;
}
