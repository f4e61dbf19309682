/** Reads a property list in XML, as launchd does: what is not well-formed, or no property list, is an error. */
export type PlistValue = string | number | boolean | readonly PlistValue[] | { readonly [key: string]: PlistValue };

const HEAD = /^<\?xml version="1\.0" encoding="UTF-8"\?>\s*<!DOCTYPE plist PUBLIC "[^"]+" "[^"]+">/;
const TOKEN = /\s*(?:<(\/?)(plist|dict|array|key|string|integer|true|false)(?: version="1\.0")?(\/?)>|([^<]+))/y;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

export function parsePlist(text: string): PlistValue {
  const head = HEAD.exec(text)?.[0];
  if (head === undefined) throw new Error('this does not begin as a property list');
  const body = text.slice(head.length).replace(/<!--(?:(?!--)[\s\S])*-->/g, '');
  const reader = new Reader(body.trim());
  reader.expect('<plist>');
  const value = reader.value();
  reader.expect('</plist>');
  reader.expectEnd();
  return value;
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): PlistValue {
    const tag = this.#next();
    switch (tag) {
      case '<true/>':
        return true;
      case '<false/>':
        return false;
      case '<string>':
        return this.#textUntil('</string>');
      case '<integer>': {
        const digits = this.#textUntil('</integer>');
        if (!/^-?\d+$/.test(digits)) throw new Error(`${digits} is no integer`);
        return Number(digits);
      }
      case '<array>':
        return this.#array();
      case '<dict>':
        return this.#dictionary();
      default:
        throw new Error(`${tag} where a value should be`);
    }
  }

  expect(wanted: string): void {
    const found = this.#next();
    if (found !== wanted) throw new Error(`${found} where ${wanted} should be`);
  }

  expectEnd(): void {
    if (this.#at !== this.#text.length) throw new Error(`more after the end: ${this.#text.slice(this.#at)}`);
  }

  #array(): PlistValue[] {
    const values: PlistValue[] = [];
    while (this.#peek() !== '</array>') values.push(this.value());
    this.expect('</array>');
    return values;
  }

  #dictionary(): Record<string, PlistValue> {
    const entries: Record<string, PlistValue> = {};
    while (this.#peek() !== '</dict>') {
      this.expect('<key>');
      const key = this.#textUntil('</key>');
      if (Object.hasOwn(entries, key)) throw new Error(`${key} is there twice`);
      entries[key] = this.value();
    }
    this.expect('</dict>');
    return entries;
  }

  #textUntil(end: string): string {
    if (this.#peek() === end) {
      this.expect(end);
      return '';
    }
    const text = this.#next();
    this.expect(end);
    return text.replace(/&(\w+);/g, (_whole, name: string) => {
      const char = ENTITIES[name];
      if (char === undefined) throw new Error(`&${name}; is not known`);
      return char;
    });
  }

  #peek(): string {
    const at = this.#at;
    const token = this.#next();
    this.#at = at;
    return token;
  }

  #next(): string {
    TOKEN.lastIndex = this.#at;
    const [whole, close = '', name, single = '', text = ''] = TOKEN.exec(this.#text) ?? [];
    if (whole === undefined) throw new Error(`not well-formed: ${this.#text.slice(this.#at, this.#at + 40)}`);
    this.#at += whole.length;
    return name === undefined ? text : `<${close}${name}${single}>`;
  }
}
