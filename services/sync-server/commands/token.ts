/**
 * `sync-server token create|list|revoke`: works on the state directory; a running server looks there by itself.
 */
import { ExitCode, errnoError, LockstepError } from '../../../common/ops/errors.ts';
import { TokenStore, type TokenRecord } from '../auth/token-store.ts';
import type { CommandContext } from './context.ts';
import { allFolders, ensureDirectory, oneFolder } from './folders.ts';
import { resolveCommand, tokenCreateOptions, tokenOptions } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;

/** The token goes to stdout and nothing else does, so that it can be piped into a file. */
export async function createToken(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenCreateOptions, flags, context);
  const folder = oneFolder(values, file);
  ensureDirectory(folder);
  const store = new TokenStore(folder.stateDirectory);
  try {
    const { text, record } = store.create({
      folder: folder.name,
      scope: values.scope,
      label: values.label,
      expiresInMs: values.expires,
    });
    process.stdout.write(`${text}\n`);
    process.stderr.write(`token ${record.id}: ${record.scope} on "${record.folder}"; it is not shown again\n`);
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    throw errnoError(`write a token into ${folder.stateDirectory}`, error);
  }
  return ExitCode.OK;
}

export async function listTokens(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenOptions, flags, context);
  const stores = allFolders({ ...values, folder: undefined }, file).map(
    ({ stateDirectory }) => new TokenStore(stateDirectory),
  );
  const records = stores
    .flatMap((store) => store.list())
    .filter(({ folder }) => values.folder === undefined || values.folder === folder);
  process.stdout.write('id\tfolder\tscope\tstate\tcreated\texpires\tlabel\n');
  for (const record of records) process.stdout.write(`${lineOf(record)}\n`);
  return ExitCode.OK;
}

export async function revokeToken(id: string, flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(tokenOptions, flags, context);
  const folders = allFolders({ ...values, folder: undefined }, file);
  const isRevoked = folders.some(({ stateDirectory }) => new TokenStore(stateDirectory).revoke(id));
  if (!isRevoked)
    throw new LockstepError('USAGE', `there is no token ${JSON.stringify(id)}; see sync-server token list`);
  process.stderr.write(`token ${id} is revoked\n`);
  return ExitCode.OK;
}

function lineOf(record: TokenRecord): string {
  const day = (date: Date | undefined) => date?.toISOString().slice(0, 10) ?? 'never';
  const { id, folder, scope, createdAt, expiresAt, label } = record;
  return [id, folder, scope, stateOf(record), day(createdAt), day(expiresAt), label.replaceAll(/\s+/g, ' ')].join('\t');
}

function stateOf({ revokedAt, expiresAt }: TokenRecord): string {
  if (revokedAt !== undefined) return 'revoked';
  return expiresAt !== undefined && expiresAt.getTime() <= Date.now() ? 'expired' : 'valid';
}
