/**
 * Paths inside a folder, and their two spellings: TreePath for the program, WirePath for the wire.
 * Pure; the boundary where a peer's spelling is checked (E01, E02, S04).
 */
declare const treePathBrand: unique symbol;
declare const wirePathBrand: unique symbol;

/** One char per byte (latin1), components joined by `/`, root is `''`. Never from a peer unchecked. */
export type TreePath = string & { readonly [treePathBrand]: true };

/** Canonical wire spelling: UTF-8 text in which bytes that are not valid UTF-8, and `%` itself, are `%XX`. */
export type WirePath = string & { readonly [wirePathBrand]: true };
