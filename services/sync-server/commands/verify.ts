/**
 * `sync-server verify`: holds a replica that no server serves against its index. One line per difference on stdout.
 */
import { statSync } from 'node:fs';
import { ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { formatBytes } from '../../../common/ops/units.ts';
import { displayPath, ROOT } from '../../../common/tree/tree-path.ts';
import { DEFAULT_LIMITS } from '../rpc/limits.ts';
import type { CommandContext } from './context.ts';
import { oneFolder } from './folders.ts';
import { resolveCommand, verifyOptions } from './options.ts';

/** 0 when there is no difference, 1 when there is one, repaired or not. */
export async function verify(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(verifyOptions, flags, context);
  const folder = oneFolder(values, file);
  if (statSync(folder.directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new LockstepError('USAGE', `there is no directory ${folder.directory}; give the replica's with --dir`);
  }
  const logger = createLogger({ name: 'server', level: values.logLevel, format: values.logFormat });
  const replica = await context.openFolder(folder, { limits: DEFAULT_LIMITS, logger, purpose: 'verify' });
  let mismatches = 0;
  try {
    for await (const item of replica.verify({ path: ROOT, repair: values.repair }, new AbortController().signal)) {
      if (item.type === 'mismatch') {
        process.stdout.write(`${item.kind}\t${displayPath(item.path)}\t${item.message}\n`);
      } else if (item.type === 'summary') {
        const { entries, contentBytes } = item.counts;
        mismatches = item.counts.mismatches;
        const found = mismatches === 0 ? 'no difference' : `${mismatches} differences`;
        const done = values.repair && mismatches > 0 ? '; the index now says what the disk has' : '';
        process.stderr.write(`${found} in ${entries} entries, ${formatBytes(contentBytes)} read${done}\n`);
      }
    }
  } finally {
    await replica.close();
  }
  return mismatches === 0 ? ExitCode.OK : ExitCode.SOME_FAILED;
}
