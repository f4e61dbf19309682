/**
 * Which names are one file, here and there. What identifies a file is a word of each side's own: only that two names have the same
 * one counts. Pure; memory grows with the files that have several names, not with the tree.
 */
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';

/** Of one side: undefined for what has one name. */
export type FileId = string | undefined;

/** Of each file of one side: its first name, and what that is on the other side. */
type FirstNames = Map<string, { readonly path: TreePath; readonly other: FileId }>;

/** What two names have in common that should not, or the other way round; for people. */
export class LinkComparison {
  readonly #here: FirstNames = new Map();
  readonly #there: FirstNames = new Map();

  /** To be told of each file that is on both sides. @returns what is wrong of it and a name that was told of before */
  compare(path: TreePath, here: FileId, there: FileId): readonly string[] {
    const apartThere = strangerOf(this.#here, path, here, there);
    const apartHere = strangerOf(this.#there, path, there, here);
    return [
      ...(apartThere === undefined ? [] : [`one file with ${displayPath(apartThere)} here, not there`]),
      ...(apartHere === undefined ? [] : [`one file with ${displayPath(apartHere)} there, not here`]),
    ];
  }
}

/** The first name of the file on one side, where on the other side it is that of another file. */
function strangerOf(firsts: FirstNames, path: TreePath, own: FileId, other: FileId): TreePath | undefined {
  if (own === undefined) return undefined;
  const first = firsts.get(own);
  if (first === undefined) {
    firsts.set(own, { path, other });
    return undefined;
  }
  return other !== undefined && other === first.other ? undefined : first.path;
}
