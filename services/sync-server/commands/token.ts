/**
 * `sync-server token create|list|rotate|revoke`: works on the state directory; a running server looks there by itself.
 */
import { ExitCode, errnoError, LockstepError } from '../../../common/ops/errors.ts';
import { userInfo } from 'node:os';
import { formatDuration } from '../../../common/ops/units.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { type Audited, AuditLog } from '../auth/audit-log.ts';
import type { Scope } from '../auth/token.ts';
import { type CreatedToken, type TokenRecord, TokenStore } from '../auth/token-store.ts';
import { makeStateDirectory } from '../replica/state-files.ts';
import type { FolderSetup } from '../server.ts';
import type { CommandContext } from './context.ts';
import { allFolders, ensureDirectory, oneFolder } from './folders.ts';
import { resolveCommand, tokenCreateOptions, tokenOptions, tokenRotateOptions } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;

export interface TokenWish {
  readonly scope: Scope;
  readonly label: string;
  /** How long it is valid, in milliseconds. */
  readonly expires: number | undefined;
}

/** The token goes to stdout and nothing else does, so that it can be piped into a file. */
export async function createToken(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenCreateOptions, flags, context);
  const { text, record } = issueToken(oneFolder(values, file), values);
  process.stdout.write(`${text}\n`);
  process.stderr.write(`token ${record.id}: ${record.scope} on "${record.folder}"; it is not shown again\n`);
  return ExitCode.OK;
}

/** Makes a token and notes that in the audit log. @throws LockstepError */
export function issueToken(folder: FolderSetup, { scope, label, expires }: TokenWish): CreatedToken {
  ensureDirectory(folder);
  makeStateDirectory(folder.stateDirectory);
  const store = new TokenStore(folder.stateDirectory);
  try {
    const created = store.create({ folder: folder.name, scope, label, expiresInMs: expires });
    const details = { token: created.record.id, scope, label };
    writeAudit(folder.stateDirectory, { folder: folder.name, what: 'token-created', details });
    return created;
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    throw errnoError(`write a token into ${folder.stateDirectory}`, error);
  }
}

export async function listTokens(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenOptions, flags, context);
  const stores = allFolders({ ...values, folder: undefined }, file).map(
    ({ stateDirectory }) => new TokenStore(stateDirectory),
  );
  const records = stores
    .flatMap((store) => store.list())
    .filter(({ folder }) => values.folder === undefined || values.folder === folder);
  process.stdout.write('id\tfolder\tscope\tstate\tcreated\texpires\tlast used\tlabel\n');
  for (const record of records) process.stdout.write(`${lineOf(record)}\n`);
  return ExitCode.OK;
}

export async function revokeToken(id: string, flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenOptions, flags, context);
  const folders = allFolders({ ...values, folder: undefined }, file);
  const holder = folders.find(({ stateDirectory }) => new TokenStore(stateDirectory).revoke(id));
  if (holder === undefined) throw unknownToken(id);
  writeAudit(holder.stateDirectory, { folder: holder.name, what: 'token-revoked', details: { token: id } });
  process.stderr.write(`token ${id} is revoked\n`);
  return ExitCode.OK;
}

/** As `token create`; the old token ends by itself when the overlap is over. */
export async function rotateToken(id: string, flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenRotateOptions, flags, context);
  for (const { name, stateDirectory } of allFolders({ ...values, folder: undefined }, file)) {
    const created = new TokenStore(stateDirectory).rotate(id, values.overlap);
    if (created === undefined) continue;
    const { text, record } = created;
    const details = { token: record.id, scope: record.scope, label: record.label, replaces: id };
    writeAudit(stateDirectory, { folder: name, what: 'token-created', details });
    process.stdout.write(`${text}\n`);
    const until = formatDuration(values.overlap);
    process.stderr.write(`token ${record.id} replaces ${id}, which ends in ${until}; it is not shown again\n`);
    return ExitCode.OK;
  }
  throw unknownToken(id);
}

function unknownToken(id: string): LockstepError {
  return new LockstepError('USAGE', `there is no token ${JSON.stringify(id)}; see sync-server token list`);
}

interface TokenEvent {
  readonly folder: string;
  readonly what: Audited;
  readonly details: Readonly<Record<string, string>>;
}

/** After the deed: a token that could not be noted would otherwise be noted and not made. @throws LockstepError */
function writeAudit(stateDirectory: string, event: TokenEvent): void {
  const log = new AuditLog(stateDirectory);
  try {
    log.append({ who: `uid:${userInfo().uid}`, from: 'local', result: 'ok', ...event });
  } catch (error) {
    throw errnoError(`write the audit log in ${stateDirectory}`, error);
  } finally {
    log.close();
  }
}

function lineOf(record: TokenRecord): string {
  const { id, folder, scope, createdAt, expiresAt, lastUsedAt, label } = record;
  const day = (date: Date | undefined) => date?.toISOString().slice(0, 10) ?? 'never';
  const used = lastUsedAt === undefined ? 'never' : `${lastUsedAt.toISOString().slice(0, 16)}Z`;
  const words = [
    id,
    folder,
    scope,
    stateOf(record),
    day(createdAt),
    day(expiresAt),
    used,
    label.replaceAll(/\s+/g, ' '),
  ];
  return words.map(displayText).join('\t');
}

function stateOf({ revokedAt, expiresAt }: TokenRecord): string {
  if (revokedAt !== undefined) return 'revoked';
  return expiresAt !== undefined && expiresAt.getTime() <= Date.now() ? 'expired' : 'valid';
}
