/**
 * Verification of a folder, or a part of it: directory by directory, rows from the applier, contents read by the content
 * worker, so that batches go on being applied meanwhile.
 */
import { displayPath, joinPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ApplierApi, RepairRequest, VerificationPage, VerificationRow } from './applier-api.ts';
import type { ContentApi, Findings, LinkedFile, Mismatch } from './content-api.ts';
import type { LinkFinding } from './link-check.ts';
import type { VerifyCounts, VerifyItem, VerifyOptions } from './replica.ts';

const PAGE_ROWS = 256;
/** After the last page: there may be names that no page had. */
const NO_MORE_ROWS: VerificationPage = { rows: [], isLast: true };

/** Ends early, without a summary, when the signal aborts. @throws ENTRY_NOT_FOUND */
export async function* verifyFolder(
  applier: ApplierApi,
  content: ContentApi,
  headRevision: () => bigint,
  options: VerifyOptions,
  signal: AbortSignal,
): AsyncGenerator<VerifyItem, void, void> {
  const { path } = options;
  const entry = await applier.getEntry(path);
  if (entry === undefined) throw new LockstepError('ENTRY_NOT_FOUND', `there is no ${displayPath(path)}`, { path });
  const verification = new Verification(applier, content, headRevision, options);
  if (entry.kind === 'directory') yield* verification.tree(path, signal);
  else yield* verification.entry(path);
  if (!signal.aborted) yield { type: 'summary', counts: verification.counts };
}

class Verification {
  readonly #applier: ApplierApi;
  readonly #content: ContentApi;
  readonly #headRevision: () => bigint;
  readonly #options: VerifyOptions;
  /** Of the files that have several, the first name that was come by; of inodes. */
  readonly #firstNames = new Map<string, TreePath>();
  readonly #counts = { entries: 0, contentBytes: 0, mismatches: 0 };

  constructor(applier: ApplierApi, content: ContentApi, headRevision: () => bigint, options: VerifyOptions) {
    this.#applier = applier;
    this.#content = content;
    this.#headRevision = headRevision;
    this.#options = options;
  }

  get counts(): VerifyCounts {
    return { ...this.#counts, revision: this.#headRevision() };
  }

  /** One that is no directory. What is beside it is not asked for, however much that is. */
  async *entry(path: TreePath): AsyncGenerator<VerifyItem, void, void> {
    const parent = parentOf(path);
    const rows = (await this.#applier.verificationRows(parent, [nameOf(path)])) ?? [];
    const findings = await this.#content.verifyEntries(parent, rows, [], this.#options.bytesPerSecond);
    yield* this.#settle(parent, rows, findings);
  }

  async *tree(path: TreePath, signal: AbortSignal): AsyncGenerator<VerifyItem, void, void> {
    const pending = [path];
    for (let next = pending.pop(); next !== undefined && !signal.aborted; next = pending.pop())
      yield* this.#directory(next, pending, signal);
  }

  async *#directory(
    directory: TreePath,
    pending: TreePath[],
    signal: AbortSignal,
  ): AsyncGenerator<VerifyItem, void, void> {
    let listing: number | undefined;
    try {
      for (let after = '', isLast = false; (!isLast || listing !== undefined) && !signal.aborted; ) {
        const page: VerificationPage | undefined = isLast
          ? NO_MORE_ROWS
          : await this.#applier.verificationPage(directory, after, PAGE_ROWS);
        if (page === undefined) return;
        const findings = await this.#content.verifyPage(directory, page, listing, this.#options.bytesPerSecond);
        ({ listing } = findings);
        ({ isLast } = page);
        yield* this.#settle(directory, page.rows, findings);
        for (const row of page.rows) if (row.kind === 'directory') pending.push(joinPath(directory, row.name));
        after = page.rows.at(-1)?.name ?? after;
      }
    } finally {
      if (listing !== undefined) await this.#content.closeListing(listing);
    }
  }

  /** Counts and tells what was found, and has it repaired where that is wanted. */
  async *#settle(
    directory: TreePath,
    rows: readonly VerificationRow[],
    findings: Findings,
  ): AsyncGenerator<VerifyItem, void, void> {
    this.#counts.entries += rows.length;
    this.#counts.contentBytes += findings.contentBytes;
    const broken = await this.#brokenLinks(findings.linked);
    const mismatches = [
      ...(await this.#confirmed(directory, findings.mismatches)),
      ...broken.map(({ path: name, message }): Mismatch => ({ type: 'mismatch', kind: 'links', path: name, message })),
    ];
    this.#counts.mismatches += mismatches.length;
    yield* mismatches;
    if (this.#options.repair && mismatches.length > 0)
      await this.#applier.repair([
        ...mismatches.map(({ path: wrong, kind }) => ({ path: wrong, what: repairOf(kind) })),
        // Which of the two is the one that was changed is not known.
        ...broken.map(({ other }) => ({ path: other, what: 'links' as const })),
      ]);
    yield { type: 'progress', counts: this.counts };
  }

  async #brokenLinks(linked: readonly LinkedFile[]): Promise<readonly LinkFinding[]> {
    if (linked.length === 0) return [];
    const questions = linked.map(({ path, sharedInode }) => {
      const other = sharedInode === undefined ? undefined : this.#firstNames.get(sharedInode);
      if (sharedInode !== undefined && other === undefined) this.#firstNames.set(sharedInode, path);
      return { path, other };
    });
    return this.#applier.brokenLinks(questions);
  }

  /**
   * Looks at what was found once more, and at nothing else: a batch may have been applied between reading the index and the disk, or
   * since the directory was listed.
   */
  async #confirmed(directory: TreePath, found: readonly Mismatch[]): Promise<readonly Mismatch[]> {
    if (found.length === 0) return [];
    const names = found.flatMap(({ path }) => (path === directory ? [] : [nameOf(path)]));
    const rows = await this.#applier.verificationRows(directory, names);
    if (rows === undefined) return [];
    const known = new Set(rows.map(({ name }) => name));
    const extra = names.filter((name) => !known.has(name));
    const again = await this.#content.verifyEntries(directory, rows, extra);
    if (names.length === found.length) return again.mismatches;
    return [...(await this.#unlisted(directory)), ...again.mismatches];
  }

  /** Whether the directory still cannot be listed. */
  async #unlisted(directory: TreePath): Promise<readonly Mismatch[]> {
    const { mismatches, listing } = await this.#content.verifyPage(directory, { rows: [], isLast: false }, undefined);
    if (listing !== undefined) await this.#content.closeListing(listing);
    return mismatches;
  }
}

function repairOf(kind: Mismatch['kind']): RepairRequest['what'] {
  return kind === 'content' || kind === 'links' || kind === 'metadata' ? kind : 'entry';
}
