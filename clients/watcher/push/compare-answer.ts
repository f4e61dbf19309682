/**
 * CompareTree's answers as this room handles them: it looks at the envelope and leaves the records inside
 * serialized, because the engine, in its own thread, is who reads them.
 */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { LockstepError } from '../../../common/ops/errors.ts';
import { fromWirePath } from '../../../common/tree/tree-path.ts';
import type { CompareAnswer } from '../engine/messages.ts';

/** Fields of CompareTreeResponse. */
const PATH = 1;
const EQUAL = 2;
const MISSING = 3;
const LAST = 5;

/** Four times what our server takes: a tree that it makes up as it goes must end. */
const DEEPEST = { maxPathBytes: 262_144, maxDepth: 4096 };

export type DecodedAnswer = { readonly answer: CompareAnswer } | { readonly error: LockstepError };

/** For a deserializer, which must not throw: grpc-js would hide the reason. `encoded` is a copy with a buffer of its own. */
export function decodeCompareAnswer(message: Uint8Array): DecodedAnswer {
  try {
    return { answer: decode(message) };
  } catch (cause) {
    return {
      error: new LockstepError('INVALID_ARGUMENT', 'the server sent a comparison that cannot be understood', { cause }),
    };
  }
}

function decode(message: Uint8Array): CompareAnswer {
  const reader = new BinaryReader(message);
  let path = '';
  let equal = false;
  let missing = false;
  let last = false;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === PATH) path = reader.string();
    else if (field === EQUAL) equal = reader.bool();
    else if (field === MISSING) missing = reader.bool();
    else if (field === LAST) last = reader.bool();
    else reader.skip(wireType, field);
  }
  const outcome = equal ? 'equal' : missing ? 'missing' : 'differs';
  return { path: fromWirePath(path, DEEPEST), outcome, encoded: new Uint8Array(message), last };
}
