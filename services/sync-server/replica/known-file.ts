/**
 * Whether what stands at a name is what the index knows, just before it is replaced, moved or removed (E95). Where files may
 * have several names the quick check knows too little: their time of change, and after a change of one name the inode, is
 * another one without anything wrong; then the content decides.
 */
import type { Directory } from '../../../common/fs/directory.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { mtimeMatches } from '../../../common/fs/times.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { ContentBuilder } from './content-builder.ts';
import { hasSameContent } from './disk-identity.ts';
import { MAX_BUILT_BYTES } from './limits.ts';

export class KnownFiles {
  readonly #index: TreeIndex;
  readonly #builder: ContentBuilder;

  constructor(index: TreeIndex, builder: ContentBuilder) {
    this.#index = index;
    this.#builder = builder;
  }

  /** An entry without an identity is one of its kind. */
  isAsKnown(directory: Directory, name: string, known: IndexedEntry, stat: Stat): boolean {
    if (known.identity === undefined) return known.kind === stat.kind;
    if (hasSameContent(known, stat)) return true;
    if (!this.#index.keepsInodes || known.kind !== 'file' || stat.kind !== 'file') return false;
    if (stat.sizeBytes !== known.sizeBytes || stat.sizeBytes > MAX_BUILT_BYTES) return false;
    return mtimeMatches(known.mtimeNs, stat.mtimeNs) && this.#builder.hasContent(directory, name, known);
  }
}
