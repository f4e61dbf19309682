/**
 * Walking the index in tree order, in constant memory, and unharmed by changes between two steps.
 * Reads only; knows the rows through the queries that it is given.
 */
import type { IndexedEntry } from './entry.ts';
import type { IndexDirectories } from './index-directories.ts';
import { idOfRow, indexedEntry, nameOfRow } from './index-rows.ts';
import type { Query, Row } from './sqlite-query.ts';
import { compareTreePaths, componentsOf, isInside, joinPath, ROOT, type TreePath } from './tree-path.ts';

const MAX_PAGE_ROWS = 256;
/** Directories further up the branch give their fetched rows back: memory is bounded whatever the depth. */
const MAX_BUFFERED_DEPTH = 16;

export interface WalkSource {
  readonly directories: IndexDirectories;
  /** Parameters: directory id, name after which to start (`''` for the first), number of rows. Reads `ENTRY_COLUMNS`. */
  readonly selectChildren: Query;
  /** Changes whenever a row changed. */
  readonly changes: number;
}

/** A directory on the branch where the walk stands. */
interface Level {
  readonly id: number;
  readonly path: TreePath;
  /** The name after which it goes on. */
  after: string;
  rows: readonly Row[];
  at: number;
  pageRows: number;
  isLastPage: boolean;
}

/**
 * A position in the tree. `next` yields what lies strictly below `top`, after the position, as the index is at the
 * time of the call: when something changed since the last step, the place is looked up again by the last path.
 */
export class TreeCursor {
  readonly #source: WalkSource;
  readonly #top: TreePath;
  readonly #pageRows: number;
  #position: TreePath | undefined;
  #branch: Level[] = [];
  #seenChanges = -1;

  constructor(source: WalkSource, top: TreePath, after: TreePath | undefined, pageRows = MAX_PAGE_ROWS) {
    this.#source = source;
    this.#top = top;
    this.#position = after;
    this.#pageRows = Math.max(1, Math.min(pageRows, MAX_PAGE_ROWS));
  }

  next(): IndexedEntry | undefined {
    if (this.#source.changes !== this.#seenChanges) this.#seek();
    for (let level = this.#branch.at(-1); level !== undefined; level = this.#branch.at(-1)) {
      const row = this.#nextRow(level);
      if (row === undefined) {
        this.#branch.pop();
        continue;
      }
      const path = joinPath(level.path, nameOfRow(row));
      this.#position = path;
      const id = idOfRow(row);
      if (id !== undefined) this.#enter(id, path, '', level.pageRows);
      return indexedEntry(path, row);
    }
    return undefined;
  }

  #nextRow(level: Level): Row | undefined {
    if (level.at >= level.rows.length) {
      if (level.isLastPage) return undefined;
      level.rows = this.#source.selectChildren.all(level.id, level.after, level.pageRows);
      level.at = 0;
      level.isLastPage = level.rows.length < level.pageRows;
      level.pageRows = Math.min(level.pageRows * 2, MAX_PAGE_ROWS);
    }
    const row = level.rows[level.at++];
    if (row !== undefined) level.after = nameOfRow(row);
    return row;
  }

  #enter(id: number, path: TreePath, after: string, pageRows: number): void {
    const tooFarUp = this.#branch.at(-MAX_BUFFERED_DEPTH);
    if (tooFarUp !== undefined && tooFarUp.rows.length > 0) {
      tooFarUp.isLastPage &&= tooFarUp.at >= tooFarUp.rows.length;
      tooFarUp.rows = [];
      tooFarUp.at = 0;
    }
    this.#branch.push({ id, path, after, rows: [], at: 0, pageRows, isLastPage: false });
  }

  /** Rebuilds the branch that leads to the position; parts of it that are gone end the branch early. */
  #seek(): void {
    // After a change comes likely another one: small pages first, so that little is fetched in vain.
    const pageRows = this.#seenChanges < 0 ? this.#pageRows : Math.min(this.#pageRows, 16);
    this.#seenChanges = this.#source.changes;
    this.#branch = [];
    const topId = this.#source.directories.idOf(this.#top);
    if (topId === undefined) return;
    const position = this.#position ?? this.#top;
    if (!isInside(position, this.#top)) {
      // A position outside is before everything or behind everything.
      if (compareTreePaths(position, this.#top) < 0) this.#enter(topId, this.#top, '', pageRows);
      return;
    }
    const rest = this.#top === ROOT ? position : position.slice(this.#top.length + 1);
    let id: number | undefined = topId;
    let path = this.#top;
    for (const name of componentsOf(rest as TreePath)) {
      this.#enter(id, path, name, pageRows);
      id = this.#source.directories.childId(id, name);
      if (id === undefined) return;
      path = joinPath(path, name);
    }
    this.#enter(id, path, '', pageRows);
  }
}
