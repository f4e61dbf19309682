/**
 * Verification of a folder, or a part of it: directory by directory, rows from the applier, contents read by the content
 * worker, so that batches go on being applied meanwhile.
 */
import { displayPath, joinPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ApplierApi, RepairRequest, VerificationPage } from './applier-api.ts';
import type { ContentApi, LinkedFile, Mismatch } from './content-api.ts';
import type { LinkFinding } from './link-check.ts';
import type { VerifyCounts, VerifyItem, VerifyOptions } from './replica.ts';

/** Of which one is looked for. */
const ROWS_OF_ONE = 64;
/** With each page the directory is listed once. */
const PAGE_ROWS = 4096;

/** Ends early, without a summary, when the signal aborts. @throws ENTRY_NOT_FOUND */
export async function* verifyFolder(
  applier: ApplierApi,
  content: ContentApi,
  headRevision: () => bigint,
  { path, repair, bytesPerSecond }: VerifyOptions,
  signal: AbortSignal,
): AsyncGenerator<VerifyItem, void, void> {
  const entry = await applier.getEntry(path);
  if (entry === undefined) throw new LockstepError('ENTRY_NOT_FOUND', `there is no ${displayPath(path)}`, { path });
  const counts = { entries: 0, contentBytes: 0, mismatches: 0 };
  const snapshot = (): VerifyCounts => ({ ...counts, revision: headRevision() });
  const firstNames = new Map<string, TreePath>();
  // A single file is a page of its own.
  const pending: { readonly directory: TreePath; readonly only: string | undefined }[] = [
    entry.kind === 'directory'
      ? { directory: path, only: undefined }
      : { directory: parentOf(path), only: nameOf(path) },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { directory, only } = next;
    // Of names that begin as this one those before it may be passed over with it.
    for (let after = only?.slice(0, -1) ?? '', isLast = false; !isLast && !signal.aborted; ) {
      const page = await applier.verificationPage(directory, after, only === undefined ? PAGE_ROWS : ROWS_OF_ONE);
      if (page === undefined) break;
      isLast = page.isLast || (only !== undefined && page.rows.some(({ name }) => name >= only));
      const looked = only === undefined ? page : onlyRow(page, only);
      // Of one file's page, the names before it are as little asked about as those behind it.
      const findings = await content.verifyPage(directory, only ?? after, looked, bytesPerSecond);
      counts.entries += looked.rows.length;
      counts.contentBytes += findings.contentBytes;
      const broken = await brokenLinks(applier, findings.linked, firstNames);
      const mismatches = [
        ...(await confirmed(applier, content, directory, after, findings.mismatches)),
        ...broken.map(
          ({ path: name, message }): Mismatch => ({ type: 'mismatch', kind: 'links', path: name, message }),
        ),
      ];
      counts.mismatches += mismatches.length;
      yield* mismatches;
      if (repair && mismatches.length > 0)
        await applier.repair([
          ...mismatches.map(({ path: wrong, kind }) => ({ path: wrong, what: repairOf(kind) })),
          // Which of the two is the one that was changed is not known.
          ...broken.map(({ other }) => ({ path: other, what: 'links' as const })),
        ]);
      for (const row of looked.rows)
        if (row.kind === 'directory') pending.push({ directory: joinPath(directory, row.name), only: undefined });
      after = page.rows.at(-1)?.name ?? after;
      yield { type: 'progress', counts: snapshot() };
    }
    if (signal.aborted) return;
  }
  yield { type: 'summary', counts: snapshot() };
}

function onlyRow(page: VerificationPage, name: string): VerificationPage {
  // Not the last page: names that are not in the index are not asked about.
  return { rows: page.rows.filter((row) => row.name === name), isLast: false };
}

/** `firstNames`: of the files that have several, the first name that was come by; of inodes. */
async function brokenLinks(
  applier: ApplierApi,
  linked: readonly LinkedFile[],
  firstNames: Map<string, TreePath>,
): Promise<readonly LinkFinding[]> {
  if (linked.length === 0) return [];
  const questions = linked.map(({ path, sharedInode }) => {
    const other = sharedInode === undefined ? undefined : firstNames.get(sharedInode);
    if (sharedInode !== undefined && other === undefined) firstNames.set(sharedInode, path);
    return { path, other };
  });
  return applier.brokenLinks(questions);
}

function repairOf(kind: Mismatch['kind']): RepairRequest['what'] {
  return kind === 'content' || kind === 'links' || kind === 'metadata' ? kind : 'entry';
}

/** Looks at what was found once more: a batch may have been applied between reading the index and the disk. */
async function confirmed(
  applier: ApplierApi,
  content: ContentApi,
  directory: TreePath,
  after: string,
  found: readonly Mismatch[],
): Promise<readonly Mismatch[]> {
  if (found.length === 0) return [];
  const page = await applier.verificationPage(directory, after, PAGE_ROWS);
  if (page === undefined) return [];
  const suspects = new Set(found.map(({ path }) => path));
  const rows = page.rows.filter((row) => suspects.has(joinPath(directory, row.name)));
  const known = new Set(page.rows.map((row) => joinPath(directory, row.name)));
  const again = await content.verifyPage(directory, after, { rows, isLast: true });
  return again.mismatches.filter(({ path, kind }) => suspects.has(path) && (kind !== 'extra' || !known.has(path)));
}
