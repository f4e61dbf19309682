/**
 * `sync-server audit verify`: follows the chain of each folder's audit log. One line per folder on stdout.
 */
import { ExitCode, errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type AuditVerification, auditFileIn, verifyAuditLog } from '../auth/audit-log.ts';
import type { CommandContext } from './context.ts';
import { allFolders } from './folders.ts';
import { auditOptions, resolveCommand } from './options.ts';

/** 0 when every chain holds, 1 when one does not. The digest of the newest line is for keeping where nobody can change it. */
export async function verifyAudit(
  flags: Readonly<Record<string, unknown>>,
  context: CommandContext,
): Promise<ExitCode> {
  const { values, file } = resolveCommand(auditOptions, flags, context);
  let isWhole = true;
  for (const { name, stateDirectory } of allFolders(values, file)) {
    const { lines, newestDigest, damage } = verified(stateDirectory);
    process.stdout.write(`${name}\t${lines} lines\t${damage === undefined ? newestDigest : 'damaged'}\n`);
    if (damage === undefined) continue;
    isWhole = false;
    process.stderr.write(`line ${damage.line} of ${auditFileIn(stateDirectory)} ${damage.message}\n`);
  }
  return isWhole ? ExitCode.OK : ExitCode.SOME_FAILED;
}

function verified(stateDirectory: string): AuditVerification {
  try {
    return verifyAuditLog(stateDirectory);
  } catch (error) {
    const path = auditFileIn(stateDirectory);
    if (errnoOf(error) === 'ENOENT') throw new LockstepError('USAGE', `there is no ${path}; check --dir and --state`);
    throw errnoError(`read ${path}`, error);
  }
}
