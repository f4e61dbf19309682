/**
 * Which folders a command is about: the one of `--dir`, or those of the file's `[[folder]]` tables.
 */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as z from 'zod/mini';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { isWithin, replicaAround } from '../../../common/fs/nesting.ts';
import { assertOwnersExist } from '../../../common/fs/ownership.ts';
import { type ConfigurationFile, fileOrigin, rejectUnknownKeys } from '../../../common/ops/configuration.ts';
import { tableOrigin, tablesOf } from '../../../common/ops/configuration-tables.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { fromLaunchDirectory } from '../../../common/ops/launch-directory.ts';
import { RESERVED_NAME } from '../../../common/tree/tree-path.ts';
import { MAX_FOLDER_CHARS } from '../rpc/limits.ts';
import type { FolderSetup } from '../server.ts';

export const DEFAULT_FOLDER = 'default';

/** The key by which a folder says for itself what `--refuse-escaping-links` says for all. */
export const REFUSE_LINKS = 'refuse-escaping-links';
const folderTable = z.strictObject({
  name: z.string(),
  dir: z.string().check(z.minLength(1)),
  state: z.optional(z.string().check(z.minLength(1))),
  [REFUSE_LINKS]: z.optional(z.boolean()),
  owner: z.optional(z.boolean()),
});
const TABLE_KEYS = ['name', 'dir', 'state', REFUSE_LINKS, 'owner'];
const WHAT_TABLES_HAVE = `; a [[folder]] has name, dir and, if wanted, state, ${REFUSE_LINKS} and owner`;

export interface FolderValues {
  readonly dir: string | undefined;
  readonly state: string | undefined;
  readonly folder: string | undefined;
  /** For folders that say nothing of their own; of commands that serve. */
  readonly refuseEscapingLinks?: boolean | undefined;
  readonly owner?: boolean | undefined;
}

/** All folders of this server. @throws LockstepError USAGE */
export function allFolders(values: FolderValues, file: ConfigurationFile | undefined): readonly FolderSetup[] {
  const tables = folderKeyOf(file);
  if (typeof tables === 'string' || tables === undefined) {
    if (values.dir === undefined) throw new LockstepError('USAGE', 'tell which directory to keep in step: --dir DIR');
    const name = values.folder ?? tables ?? DEFAULT_FOLDER;
    return [folderSetup(name, values.dir, values.state, values)];
  }
  if (values.dir !== undefined || values.state !== undefined || values.folder !== undefined) {
    const message = `${file?.path} has [[folder]] tables: give dir, state and name there, not beside them`;
    throw new LockstepError('USAGE', message);
  }
  const folders = tables.map(({ name, dir, state, [REFUSE_LINKS]: refuses, owner }) =>
    folderSetup(name, dir, state, {
      refuseEscapingLinks: refuses ?? values.refuseEscapingLinks,
      owner: owner ?? values.owner,
    }),
  );
  requireDistinct(folders, 'name', ({ name }) => name);
  requireDistinct(folders, 'dir', ({ directory }) => directory);
  requireDistinct(folders, 'state', ({ stateDirectory }) => stateDirectory);
  for (const folder of folders) requireApart(folder, folders);
  return folders;
}

/** The one folder that `--folder` names, or the only one. @throws LockstepError USAGE */
export function oneFolder(values: FolderValues, file: ConfigurationFile | undefined): FolderSetup {
  const hasTables = typeof folderKeyOf(file) === 'object';
  const folders = allFolders(hasTables ? { ...values, folder: undefined } : values, file);
  const [first] = folders;
  if (values.folder === undefined && folders.length === 1 && first !== undefined) return first;
  const names = folders.map(({ name }) => name).join(', ');
  if (values.folder === undefined) throw new LockstepError('USAGE', `tell which folder with --folder: ${names}`);
  const found = folders.find(({ name }) => name === values.folder);
  if (found !== undefined) return found;
  throw new LockstepError('USAGE', `there is no folder "${values.folder}"; there are: ${names}`);
}

/** Makes the replica's directory, with its parents, where it is missing. @throws LockstepError USAGE, also inside of another replica (E11) */
export function ensureDirectory({ directory }: FolderSetup): void {
  try {
    makeDirectories(directory);
    if (!statSync(directory).isDirectory()) throw notDirectory(directory);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    const around = replicaAround(dirname(realpathSync(directory)));
    if (around !== undefined) {
      throw new LockstepError(
        'USAGE',
        `${directory} lies inside ${around}, which is a server's replica; give another --dir`,
      );
    }
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    throw directoryError(directory, error);
  }
}

function directoryError(directory: string, error: unknown): LockstepError {
  switch (errnoOf(error)) {
    case 'EEXIST':
    case 'ENOTDIR':
      return notDirectory(directory);
    case 'EACCES':
    case 'EPERM':
      return new LockstepError(
        'USAGE',
        `no permission to read and write ${directory}; change its owner or mode, or give another --dir`,
      );
    case 'EROFS':
      return new LockstepError('USAGE', `${directory} is on a read-only file system; give another --dir`);
    default:
      return new LockstepError(
        'USAGE',
        `cannot use the directory ${directory} (${errnoOf(error)}); give another --dir`,
      );
  }
}

function notDirectory(directory: string): LockstepError {
  return new LockstepError(
    'USAGE',
    `${directory} is, or lies below, something that is not a directory; give another --dir`,
  );
}

/** The one folder's name, or a table for each. */
function folderKeyOf(file: ConfigurationFile | undefined): string | readonly z.infer<typeof folderTable>[] | undefined {
  const value = file?.content['folder'];
  if (typeof value === 'string') return value;
  if (file === undefined || value === undefined) return undefined;
  if (typeof value !== 'object') {
    const message = `folder in ${fileOrigin(file, 'folder')} must be a text, or tables, each headed [[folder]]`;
    throw new LockstepError('USAGE', message);
  }
  return (tablesOf(file, 'folder') ?? []).map((table) => {
    rejectUnknownKeys(table, TABLE_KEYS, WHAT_TABLES_HAVE);
    const result = folderTable.safeParse(table.content);
    if (result.success) return result.data;
    const key = String(result.error.issues[0]?.path[0] ?? '');
    const place = Object.hasOwn(table.content, key) ? fileOrigin(table, key) : tableOrigin(table);
    const kind = key === REFUSE_LINKS || key === 'owner' ? 'true or false' : 'a text';
    throw new LockstepError('USAGE', `${place}: ${key} must be ${kind}${WHAT_TABLES_HAVE}`);
  });
}

function folderSetup(
  name: string,
  dir: string,
  state: string | undefined,
  { refuseEscapingLinks = false, owner = false }: Pick<FolderValues, 'refuseEscapingLinks' | 'owner'>,
): FolderSetup {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (name === '' || name.length > MAX_FOLDER_CHARS || /[\u0000-\u001f\u007f]/.test(name)) {
    throw new LockstepError('USAGE', `a folder's name has 1 to ${MAX_FOLDER_CHARS} printable characters`);
  }
  const directory = fromLaunchDirectory(dir);
  const stateDirectory = state === undefined ? join(directory, RESERVED_NAME) : fromLaunchDirectory(state);
  if (owner) assertOwnersExist();
  const given = owner ? { keepsOwners: true } : {};
  return { name, directory, stateDirectory, refusesEscapingLinks: refuseEscapingLinks, ...given };
}

function requireDistinct(folders: readonly FolderSetup[], key: string, of: (folder: FolderSetup) => string): void {
  const seen = new Set<string>();
  for (const folder of folders) {
    const value = of(folder);
    if (seen.has(value)) throw new LockstepError('USAGE', `two folders have the same ${key}: ${value}`);
    seen.add(value);
  }
}

/** What lies in a replica and is not of its tree is removed there. @throws LockstepError USAGE */
function requireApart({ name, directory }: FolderSetup, folders: readonly FolderSetup[]): void {
  for (const other of folders) {
    if (other.name === name) continue;
    const inside = [other.directory, other.stateDirectory].find((path) => isWithin(path, directory));
    if (inside === undefined) continue;
    const message = `${inside} of folder "${other.name}" lies inside ${directory}, the directory of folder "${name}"`;
    throw new LockstepError('USAGE', `${message}; give each a place of its own`);
  }
}
