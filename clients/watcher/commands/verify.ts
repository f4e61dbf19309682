/**
 * `sync-watcher verify`: has the server read its replica again, reads every file here, and holds the tree against what the
 * server has.
 */
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { Backoff, sleep } from '../../../common/ops/async.ts';
import { ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { formatBytes } from '../../../common/ops/units.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { fromWireEntry } from '../../../common/rpc/entry-codec.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import { compareTreePaths, displayPath, fromWirePath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { Connection } from '../push/connection.ts';
import { digestFunctionFromWire, greet, type ServerFacts } from '../push/handshake.ts';
import { connectionTrouble, unreachable } from '../push/reconnect.ts';
import { IgnoreRules } from '../observe/ignore-rules.ts';
import { localOwners } from '../observe/local-owners.ts';
import { compareTrees, recordDifferences, type RemoteEntry, type TreeDifference } from '../verify/compare-trees.ts';
import { LinkComparison } from '../verify/link-comparison.ts';
import { walkLocalTree } from '../verify/local-tree.ts';
import { resolveCommand } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { verifyOptions } from './options.ts';
import { hideInvitation, type ServerChoice, serverChoice } from './server-choice.ts';

/** 0 when the trees are equal, 1 when not; each difference is a line on standard output. */
export async function verify(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  hideInvitation(flags);
  const resolved = resolveCommand(verifyOptions, flags, context);
  const { values } = resolved;
  const choice = serverChoice(resolved);
  const { folder } = choice;
  using root = SafeRoot.open(values.dir);
  const owners = localOwners(values.owner);
  const { connection, server } = await connect(choice, values.timeout, owners !== undefined);
  const counts = { entries: 0, contentBytes: 0 };
  let differences = 0;
  const print = ({ what, path, detail }: TreeDifference) => {
    differences++;
    process.stdout.write(`${what.padEnd(10)}  ${displayPath(path)}${detail === '' ? '' : `  (${detail})`}\n`);
  };
  try {
    for await (const difference of replicaDifferences(connection, folder)) print(difference);
    const never = new AbortController().signal;
    const { entry } = await connection.getEntry({ folder, path: '' }, never);
    if (entry !== undefined) {
      const { mode, mtimeNs } = root.directory(ROOT).stat();
      const here = { kind: 'directory', mode: mode & MODE_MASK, mtimeNs } as const;
      for (const difference of recordDifferences(ROOT, here, fromWireEntry(entry))) print(difference);
    }
    const ignore = new IgnoreRules(values.exclude);
    const local = walkLocalTree(root, ignore, digestFunctionFromWire(server.folder.digestFunction), owners);
    const isIgnored = (path: TreePath, isDirectory: boolean) => ignore.isIgnored(path, isDirectory);
    const remote = remoteTree(connection, folder, values.hardLinks);
    const links = values.hardLinks ? new LinkComparison() : undefined;
    for await (const difference of compareTrees(local, remote, isIgnored, counts, links)) print(difference);
  } finally {
    connection.close();
  }
  const compared = `${counts.entries} entries and ${formatBytes(counts.contentBytes)} compared`;
  process.stderr.write(`${compared}: ${differences === 0 ? 'no difference' : `${differences} differences`}\n`);
  return differences === 0 ? ExitCode.OK : ExitCode.SOME_FAILED;
}

/** What somebody else has changed in the replica, or a disk has. */
async function* replicaDifferences(connection: Connection, folder: string): AsyncGenerator<TreeDifference, void> {
  for await (const { message } of readMessages(connection.verifyFolder({ folder, path: '', repair: false }))) {
    if (message?.$case !== 'mismatch') continue;
    const { path, message: text } = message.value;
    yield { what: 'replica', path: fromWirePath(path), detail: displayText(text) };
  }
}

/** Tries until `--timeout`. @throws LockstepError SERVER_UNREACHABLE, or what the server says. */
async function connect(
  { address, folder, security }: ServerChoice,
  timeoutMs: number,
  carriesOwners: boolean,
): Promise<{ readonly connection: Connection; readonly server: ServerFacts }> {
  const signal = AbortSignal.timeout(Math.max(1, timeoutMs));
  const backoff = new Backoff({ initialMs: 100, maxMs: 1000 });
  let trouble = '';
  for (;;) {
    const connection = new Connection({ address, security });
    try {
      return { connection, server: await greet(connection, folder, signal, { carriesOwners }) };
    } catch (error) {
      connection.close();
      const isAbsent =
        error instanceof LockstepError && (error.reason === 'SERVER_UNREACHABLE' || error.reason === 'DRAINING');
      if (!isAbsent && !signal.aborted) throw error;
      if (isAbsent) trouble = connectionTrouble(error);
      if (signal.aborted || (await sleptTooLong(backoff.next(), signal))) {
        throw unreachable({ address: address.text, timeoutMs }, trouble);
      }
    }
  }
}

async function sleptTooLong(delayMs: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(delayMs, signal);
    return false;
  } catch (error) {
    if (signal.aborted) return true;
    throw error;
  }
}

/** @throws LockstepError INVALID_ARGUMENT when the server's list is not in tree order: the merge would lie. */
async function* remoteTree(connection: Connection, folder: string, links: boolean): AsyncGenerator<RemoteEntry, void> {
  let previous: TreePath = ROOT;
  const call = connection.listEntries({ folder, path: '', recursive: true, after: '', limit: 0n, links });
  for await (const { entries, linkIds } of readMessages(call)) {
    for (const [at, wire] of entries.entries()) {
      const entry = fromWireEntry(wire);
      if (entry.path === ROOT) continue;
      if (compareTreePaths(previous, entry.path) >= 0) {
        throw new LockstepError('INVALID_ARGUMENT', 'the server lists its entries out of order; update it');
      }
      previous = entry.path;
      // A server of before knows no links, and no numbers of them.
      const linkId = linkIds[at] ?? 0n;
      yield { entry, fileId: linkId === 0n ? undefined : String(linkId) };
    }
  }
}
