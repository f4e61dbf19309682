/**
 * Reads one version of a file (an open file keeps its content, whatever becomes of its path).
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { ApplierApi, LocatedFile } from './applier-api.ts';
import type { ContentApi } from './content-api.ts';
import type { ContentPart } from './replica.ts';

const PART_BYTES = 256 * 1024;
/** The file may be replaced between the look into the index and its opening; not so often in a row. */
const ATTEMPTS = 5;

/** @throws ENTRY_NOT_FOUND, OFFSET_MISMATCH, DRIFTED when the disk has another file than the index */
export async function* readContent(
  applier: ApplierApi,
  content: ContentApi,
  path: TreePath,
  offset: number,
  length: number | undefined,
): AsyncGenerator<ContentPart, void, void> {
  const { file, handle } = await open(applier, content, path);
  const { entry } = file;
  try {
    if (offset > entry.sizeBytes) {
      throw new LockstepError(
        'OFFSET_MISMATCH',
        `${displayPath(path)} has ${entry.sizeBytes} bytes, ${offset} is behind its end`,
        { path },
      );
    }
    const end = length === undefined ? entry.sizeBytes : Math.min(entry.sizeBytes, offset + length);
    let at = offset;
    do {
      const wanted = Math.min(PART_BYTES, end - at);
      const data = wanted === 0 ? Buffer.alloc(0) : await content.readContent(handle, at, wanted);
      if (data.length < wanted) {
        throw new LockstepError('DRIFTED', `${displayPath(path)} was cut short behind the server's back`, { path });
      }
      yield { entry: at === offset ? entry : undefined, offsetBytes: at, data };
      at += wanted;
    } while (at < end);
  } finally {
    await content.closeContent(handle);
  }
}

async function open(
  applier: ApplierApi,
  content: ContentApi,
  path: TreePath,
): Promise<{ file: LocatedFile; handle: number }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const file = await applier.locate(path);
    if (file === undefined)
      throw new LockstepError('ENTRY_NOT_FOUND', `there is no file ${displayPath(path)}`, { path });
    const handle = await content.openContent(file);
    if (handle !== undefined) return { file, handle };
  }
  // Never served as if it were the acknowledged content (E98).
  throw new LockstepError('DRIFTED', `${displayPath(path)} was changed behind the server's back`, { path });
}
