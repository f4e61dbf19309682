/**
 * The names that a directory had when it was listed, and that no row of the index has claimed since. So a directory of very many
 * entries is listed once in a verification, however many pages it has. What comes and goes meanwhile is not known here: who takes a
 * name from it looks at it.
 */
export class UnclaimedNames {
  readonly #names: Set<string>;
  /** One for all: beginning anew would step over all that was taken before. */
  #rest: Iterator<string, undefined> | undefined;

  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
  }

  get size(): number {
    return this.#names.size;
  }

  claim(name: string): void {
    this.#names.delete(name);
  }

  /** Up to `limit` of them, each once; for when all rows have claimed theirs. */
  take(limit: number): readonly string[] {
    this.#rest ??= this.#names.values();
    const taken: string[] = [];
    while (taken.length < limit) {
      const name = this.#rest.next().value;
      if (name === undefined) break;
      this.#names.delete(name);
      taken.push(name);
    }
    return taken;
  }
}
