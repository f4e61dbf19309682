/**
 * Where the watched file system folds names, a name that was changed in nothing but its case is still found under the
 * old spelling: the entry would be there twice. So a name that is not from a listing is looked for in one. Whether it
 * folds is found out by looking only, because nothing is ever written here (S34).
 */
import type { Directory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { SYSTEM } from '../../../common/fs/system.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';

/** One of so many names in the root is enough, as a rule. */
const MAX_NAMES_TRIED = 100;

export class ExactNames {
  readonly #root: SafeRoot;
  readonly #platform: NodeJS.Platform;
  /** Undefined while the root holds no name to tell by. */
  #isFolding: boolean | undefined;

  constructor(root: SafeRoot, platform: NodeJS.Platform = SYSTEM) {
    this.#root = root;
    this.#platform = platform;
  }

  /** What has exactly this name. */
  lstat(directory: Directory, name: string): Stat | undefined {
    const stat = directory.lstat(name);
    return stat === undefined || !this.#folds() || directory.list().includes(name) ? stat : undefined;
  }

  #folds(): boolean {
    // There it may be by Unicode only, which few names show; or by second names of eight letters and three, which no name shows.
    if (this.#platform === 'darwin' || this.#platform === 'win32') return true;
    this.#isFolding ??= this.#tried();
    return this.#isFolding ?? false;
  }

  /** Looks for a name in another case, which no entry has. */
  #tried(): boolean | undefined {
    const root = this.#root.directory(ROOT);
    const names = root.list();
    for (const name of names.slice(0, MAX_NAMES_TRIED)) {
      const other = name.replace(/[a-z]/gi, (letter) =>
        letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
      );
      if (other === name) continue;
      return !names.includes(other) && root.lstat(other) !== undefined;
    }
    return names.length < MAX_NAMES_TRIED ? undefined : false;
  }
}
