/**
 * CompareTree: answers questions about directories in their order. The replica works on several questions ahead, so
 * that a deep comparison does not wait for it at each directory.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Digest } from '../../../common/content/digest.ts';
import { AsyncQueue, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import { joinPath, ROOT, type TreePath, toWirePath } from '../../../common/tree/tree-path.ts';
import type { Entry as WireEntry } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { CompareTreeRequest, CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';
import type { DirectoryComparison, Replica } from '../replica/replica.ts';
import { STREAM_MESSAGE_BYTES } from './limits.ts';
import { entrySizeBytes, MessageFiller } from './message-filler.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';
import { digestFromWire } from './wire-values.ts';

type CompareCall = ServerDuplexStream<CompareTreeRequest, CompareTreeResponse>;

/** Children that the replica is asked for at a time. */
const PAGE_CHILDREN = 1000;
/** Questions that the replica works on ahead of the answers. */
const MAX_QUESTIONS_AHEAD = 8;
/** An answer's own fields, and what a message costs in memory. */
const ANSWER_BYTES = 1024;

interface Question {
  readonly path: TreePath;
  readonly believed: Digest | undefined;
  readonly firstPage: Promise<DirectoryComparison>;
}

export function compareTree(context: SyncContext) {
  return streamHandler(async (call: CompareCall, signal) => {
    const messages = readMessages(call);
    const first = await messages.next();
    if (first.done === true) return;
    const { folder } = first.value;
    const { replica } = context.authorizeStream(call, folder, 'read');
    const questions = new AsyncQueue<Question>({ maxBytes: MAX_QUESTIONS_AHEAD });

    const ask = async (message: CompareTreeRequest) => {
      if (message.folder !== '' && message.folder !== folder) {
        throw new LockstepError('INVALID_ARGUMENT', 'one stream compares one folder');
      }
      const path = context.pathOf(message.path);
      const believed = digestFromWire(message.treeDigest, 'tree_digest');
      const firstPage = replica.compareDirectory(path, believed, '', PAGE_CHILDREN);
      // Awaited when it is this question's turn; until then a failure must not count as unhandled.
      firstPage.catch(() => undefined);
      await questions.push({ path, believed, firstPage }, signal);
    };
    const read = async () => {
      await ask(first.value);
      for await (const message of messages) await ask(message);
      questions.close();
    };
    const answer = async () => {
      const answers = new PacedAnswers(call, context.limits, signal);
      for await (const question of questions) await answerOne(answers, replica, question, signal);
    };
    await Promise.all([read(), answer()]);
  }, context.onCallError);
}

async function answerOne(
  answers: PacedAnswers<CompareTreeResponse>,
  replica: Replica,
  question: Question,
  signal: AbortSignal,
): Promise<void> {
  const { path } = question;
  const wirePath = toWirePath(path);
  const filler = new MessageFiller<WireEntry>(entrySizeBytes);
  const base = { path: wirePath, equal: false, missing: false, last: false, root: undefined };
  let page = await untilAborted(question.firstPage, signal);
  for (;;) {
    for (const child of page.children) {
      const children = filler.add(toWireEntry(joinPath(path, child.name), child, child.treeDigest));
      if (children !== undefined) await answers.write({ ...base, children }, STREAM_MESSAGE_BYTES);
    }
    const lastChild = page.children.at(-1);
    if (page.last || page.outcome !== 'differs' || lastChild === undefined) break;
    page = await replica.compareDirectory(path, undefined, lastChild.name, PAGE_CHILDREN);
    signal.throwIfAborted();
  }
  const sizeBytes = ANSWER_BYTES + filler.sizeBytes;
  const message = {
    ...base,
    equal: page.outcome === 'equal',
    missing: page.outcome === 'missing',
    children: filler.take(),
    last: true,
    root: path === ROOT ? await rootEntry(replica) : undefined,
  };
  await answers.write(message, sizeBytes);
}

async function rootEntry(replica: Replica): Promise<WireEntry | undefined> {
  const root = await replica.getEntry(ROOT);
  return root === undefined ? undefined : toWireEntry(ROOT, root, root.treeDigest);
}
