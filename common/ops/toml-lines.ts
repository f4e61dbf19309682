/**
 * On which line of a TOML text each key stands, so that messages can name it; the parser does not tell. Pure. For texts that
 * the parser has taken: what is not valid TOML gives wrong lines, never an endless loop.
 */

/**
 * Lines from 1, by the keys joined with dots: "listen", "folder.0" for a table's header, "folder.0.dir" for a key in it.
 * Keys inside of inline tables are not told apart from the key that holds them.
 */
export function tomlLines(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  const reader = new Reader(text);
  const counts = new Map<string, number>();
  let prefix = '';
  while (reader.toNextStatement()) {
    const { line } = reader;
    const header = reader.header();
    if (header === undefined) {
      const key = reader.key();
      // Dotted keys stand for the table that their first part names.
      if (!lines.has(prefix + key)) lines.set(prefix + key, line);
      reader.skipValue();
      continue;
    }
    const index = counts.get(header.name) ?? 0;
    counts.set(header.name, index + 1);
    const table = header.isArray ? `${header.name}.${index}` : header.name;
    if (index === 0) lines.set(header.name, line);
    lines.set(table, line);
    prefix = `${table}.`;
  }
  return lines;
}

class Reader {
  readonly #text: string;
  #at = 0;
  line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  /** To the first char of the next key or header; false at the end. */
  toNextStatement(): boolean {
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at] ?? '';
      if (char === '#') this.#toLineEnd();
      else if (/[\s\ufeff]/.test(char)) this.#step();
      else return true;
    }
    return false;
  }

  /** `[name]` or `[[name]]`, of which only the first part counts. */
  header(): { readonly name: string; readonly isArray: boolean } | undefined {
    if (this.#text[this.#at] !== '[') return undefined;
    const isArray = this.#text[this.#at + 1] === '[';
    this.#at += isArray ? 2 : 1;
    const name = this.#firstPart();
    this.#toLineEnd();
    return { name, isArray };
  }

  /** The first part of a key; afterwards behind its "=". */
  key(): string {
    const name = this.#firstPart();
    while (this.#at < this.#text.length && this.#text[this.#at] !== '=' && this.#text[this.#at] !== '\n') {
      if (!this.#skipString()) this.#at++;
    }
    if (this.#text[this.#at] === '=') this.#at++;
    return name;
  }

  skipValue(): void {
    for (let depth = 0; this.#at < this.#text.length; ) {
      if (this.#skipString()) continue;
      const char = this.#text[this.#at];
      if (char === '#') {
        this.#toLineEnd();
        continue;
      }
      if (char === '\n' && depth === 0) return;
      if (char === '[' || char === '{') depth++;
      if (char === ']' || char === '}') depth--;
      this.#step();
    }
  }

  #firstPart(): string {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++;
    const start = this.#at;
    if (this.#skipString()) return this.#text.slice(start + 1, this.#at - 1);
    const [bare = ''] = /^[A-Za-z0-9_-]*/.exec(this.#text.slice(start, start + MAX_KEY_CHARS)) ?? [];
    this.#at += bare.length;
    return bare;
  }

  /** Over a string of any of the four kinds; false when there is none here. */
  #skipString(): boolean {
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") return false;
    const isLong = this.#text.startsWith(quote.repeat(3), this.#at);
    const end = isLong ? quote.repeat(3) : quote;
    for (this.#at += end.length; this.#at < this.#text.length; this.#step()) {
      if (quote === '"' && this.#text[this.#at] === '\\') this.#step();
      else if (this.#text.startsWith(end, this.#at)) break;
      else if (!isLong && this.#text[this.#at] === '\n') return true;
    }
    this.#at += end.length;
    // Up to two more quotes may stand before the end of a long string.
    for (let more = 0; isLong && more < 2 && this.#text[this.#at] === quote; more++) this.#at++;
    return true;
  }

  /** Of a comment or a header: to its line's end, not over it. */
  #toLineEnd(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end;
  }

  #step(): void {
    if (this.#text[this.#at] === '\n') this.line++;
    this.#at++;
  }
}

const MAX_KEY_CHARS = 256;
