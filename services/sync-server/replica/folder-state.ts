/**
 * What the index remembers of the folder as a whole: identity and head of its history, the lease, and the answers to the
 * last batches (E109). Part of the index's transactions, so it can never say something else than the entries.
 */
import { randomBytes } from 'node:crypto';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { AppliedProblem } from './replica.ts';

/** Answers that are remembered: more than can be on their way … */
const ANSWERS = 4_096;
/** … unless they have very many problems. All of them are in memory, and read at each start. */
const MAX_ANSWERS_CHARS = 8 * 2 ** 20;
const ANSWER_PREFIX = 'answer.';

export interface RememberedAnswer {
  readonly revision: bigint;
  readonly problems: readonly AppliedProblem[];
}

export class FolderState {
  readonly #index: TreeIndex;
  #epoch = '';
  #revision = 0n;
  #headBatchId: Buffer = Buffer.alloc(0);
  #lease = 0n;
  /** By batch id, oldest first. */
  #answers = new Map<string, RememberedAnswer>();
  #nextSlot = 0;
  #slots = new Map<number, StoredSlot>();
  /** Of all of them. */
  #chars = 0;

  constructor(index: TreeIndex) {
    this.#index = index;
    this.reload();
  }

  get epoch(): string {
    return this.#epoch;
  }

  get revision(): bigint {
    return this.#revision;
  }

  /** Empty when no batch made the head. */
  get headBatchId(): Buffer {
    return this.#headBatchId;
  }

  get lease(): bigint {
    return this.#lease;
  }

  /** False until the whole replica has been looked through once. */
  get isComplete(): boolean {
    return this.#index.getMeta('complete') === 'yes';
  }

  setComplete(): void {
    this.#index.setMeta('complete', 'yes');
  }

  /** Reads what was committed: at the beginning, and after a transaction was undone. */
  reload(): void {
    const getMeta = (key: string): string | undefined => this.#index.getMeta(key);
    this.#epoch = getMeta('epoch') ?? '';
    this.#revision = BigInt(getMeta('revision') ?? 0);
    this.#headBatchId = Buffer.from(getMeta('head_batch_id') ?? '', 'hex');
    this.#lease = BigInt(getMeta('lease') ?? 0);
    this.#answers = new Map();
    this.#slots = new Map();
    this.#chars = 0;
    this.#nextSlot = Number(getMeta('next_answer') ?? 0);
    const stored = this.#index.allMeta(ANSWER_PREFIX);
    for (let step = 0; step < ANSWERS; step++) {
      const slot = (this.#nextSlot + step) % ANSWERS;
      const text = stored.get(String(slot));
      if (text === undefined || text === FORGOTTEN) continue;
      const { batchId, revision, problems } = JSON.parse(text) as StoredAnswer;
      this.#answers.set(batchId, { revision: BigInt(revision), problems });
      this.#keep(slot, { batchId, chars: text.length });
    }
  }

  /** Begins another history (E97): revisions of the one before mean nothing from now on. */
  beginEpoch(): void {
    this.#epoch = randomBytes(16).toString('hex');
    this.#index.setMeta('epoch', this.#epoch);
  }

  /** `batchId` undefined: no batch made this revision. */
  setHead(revision: bigint, batchId: Buffer | undefined): void {
    this.#revision = revision;
    this.#headBatchId = batchId ?? Buffer.alloc(0);
  }

  /** Once per transaction that set the head. */
  saveHead(): void {
    this.#index.setMeta('revision', String(this.#revision));
    this.#index.setMeta('head_batch_id', this.#headBatchId.toString('hex'));
    this.#index.setMeta('next_answer', String(this.#nextSlot));
  }

  setLease(lease: bigint): void {
    this.#index.setMeta('lease', String(lease));
    this.#lease = lease;
  }

  answerTo(batchId: Buffer): RememberedAnswer | undefined {
    return this.#answers.get(batchId.toString('hex'));
  }

  remember(batchId: Buffer, answer: RememberedAnswer): void {
    const key = batchId.toString('hex');
    const slot = this.#nextSlot;
    this.#forget(slot);
    this.#nextSlot = (slot + 1) % ANSWERS;
    this.#answers.set(key, answer);
    const stored: StoredAnswer = { batchId: key, revision: String(answer.revision), problems: answer.problems };
    const text = JSON.stringify(stored);
    this.#keep(slot, { batchId: key, chars: text.length });
    this.#index.setMeta(`${ANSWER_PREFIX}${slot}`, text);
    // Oldest first; the newest stays, however long it is.
    for (const old of this.#slots.keys()) {
      if (this.#chars <= MAX_ANSWERS_CHARS || old === slot) break;
      this.#forget(old);
      this.#index.setMeta(`${ANSWER_PREFIX}${old}`, FORGOTTEN);
    }
  }

  #keep(slot: number, stored: StoredSlot): void {
    this.#slots.set(slot, stored);
    this.#chars += stored.chars;
  }

  #forget(slot: number): void {
    const forgotten = this.#slots.get(slot);
    if (forgotten === undefined) return;
    this.#slots.delete(slot);
    this.#chars -= forgotten.chars;
    this.#answers.delete(forgotten.batchId);
  }
}

/** In the place of an answer. */
const FORGOTTEN = '';

/** In the order of their answers. */
interface StoredSlot {
  readonly batchId: string;
  readonly chars: number;
}

interface StoredAnswer {
  readonly batchId: string;
  readonly revision: string;
  readonly problems: readonly AppliedProblem[];
}
