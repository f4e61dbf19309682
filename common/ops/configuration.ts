/**
 * A program's options: declared once, then merged from flag > environment > TOML file > default, checked, and
 * remembered with their source. Knows no program; each cli declares its own options with `defineOptions`.
 */
import { readFileSync } from 'node:fs';
import { parse as parseToml, TomlError } from 'smol-toml';
import * as z from 'zod/mini';
import english from 'zod/v4/locales/en.js';
import { describeError, errnoOf, LockstepError } from './errors.ts';
import { fromLaunchDirectory } from './launch-directory.ts';
import { nearestWord } from './nearest.ts';
import { tomlLines } from './toml-lines.ts';

// What a schema has no words of its own for.
z.config(english());

/**
 * One option. What a schema sees is text for an option with a value, a boolean for a switch, an array of texts for
 * a repeatable one, and whatever TOML holds for one without a flag.
 */
export interface OptionDeclaration {
  /** As commander writes it: "--listen <addr>", "-d, --dir <dir>", "--once". Without it: not on the command line. */
  readonly flag?: string;
  readonly description: string;
  readonly schema: z.ZodMiniType;
  /** As the user would write it, so that `--help` can show it. Goes through the schema as well. */
  readonly default?: string | boolean | readonly string[];
  /** Values that a shell is to offer; default: all of a schema that has a few. */
  readonly choices?: readonly string[];
  /** A switch that can also be turned off: `--durable` gets a `--no-durable`. */
  readonly negatable?: true;
  /** May be given several times; in the environment the values are separated by commas or line breaks. */
  readonly repeatable?: true;
  readonly required?: true;
  /** The variable's name; default `LOCKSTEP_<KEY>`. False: not from the environment. */
  readonly environment?: string | false;
  /** False: not from the file (secrets, and the file's own name). */
  readonly file?: false;
  /** Its value is never shown. */
  readonly secret?: true;
}

export type OptionDeclarations = Readonly<Record<string, OptionDeclaration>>;

type Has<D, K extends string> = D extends Record<K, unknown> ? true : false;
type ValueOf<D extends OptionDeclaration> =
  Has<D, 'default'> extends true
    ? z.output<D['schema']>
    : Has<D, 'required'> extends true
      ? z.output<D['schema']>
      : z.output<D['schema']> | undefined;

/** The values of a set of declarations, by key. */
export type OptionValues<D extends OptionDeclarations> = { readonly [K in keyof D]: ValueOf<D[K]> };

export type OptionSource = 'flag' | 'environment' | 'file' | 'default';

export interface ResolvedOptions<D extends OptionDeclarations> {
  readonly values: OptionValues<D>;
  /** Where each value came from; "default" also for what nobody set. */
  readonly sources: { readonly [K in keyof D]: OptionSource };
  /** All of them as they were written, in the order of their declarations. */
  readonly settings: readonly Setting[];
}

/** What one option was set to. */
export interface Setting {
  /** In the file's spelling. */
  readonly name: string;
  readonly declaration: OptionDeclaration;
  /** As the user wrote it, before its schema; undefined when nobody set it. */
  readonly written: unknown;
  readonly source: OptionSource;
  /** "--listen", "LOCKSTEP_LISTEN", "server.toml:3" or "default". */
  readonly origin: string;
}

/** A parsed TOML file. */
export interface ConfigurationFile {
  /** For messages. */
  readonly path: string;
  readonly content: Readonly<Record<string, unknown>>;
  /** Where each key stands, as `tomlLines` has it. */
  readonly lines?: ReadonlyMap<string, number> | undefined;
}

export interface OptionInputs {
  /** By key; undefined where the flag was not given (commander's `opts()`). */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file?: ConfigurationFile | undefined;
  /** Keys of the file that other commands of the same program read. */
  readonly otherFileKeys?: readonly string[] | undefined;
}

/**
 * Declares options. Keys are camelCase and belong to the flag of the same name in kebab-case; the environment's and
 * the file's names follow from the key: `scanInterval` is `--scan-interval`, `LOCKSTEP_SCAN_INTERVAL`, `scan-interval`.
 */
export function defineOptions<const D extends OptionDeclarations>(declarations: D): D {
  for (const [key, { flag }] of Object.entries(declarations)) {
    if (flag !== undefined && !flag.split(/[ ,]+/).includes(`--${kebabCase(key)}`)) {
      throw new LockstepError('INTERNAL', `option "${key}" and its flag "${flag}" have different names`);
    }
  }
  return declarations;
}

/** A schema for text that a parser reads ("10m" by parseDuration); the parser's message becomes the schema's. */
export function parsed<T>(parse: (text: string) => T): z.ZodMiniType<T, string> {
  const read = z.transform<string, T>((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.issues.push({ code: 'custom', message: describeError(error), input: text });
      return z.NEVER;
    }
  });
  const schema = z.pipe(z.string(), read);
  readersOfText.add(schema);
  return schema;
}

/** The schemas of `parsed`. A number of TOML is one for them to read; elsewhere it is no text, and no name of a directory. */
const readersOfText = new WeakSet<z.ZodMiniType>();

/**
 * Merges and checks. Switches in the environment are 1/true/yes/on or 0/false/no/off; an empty variable is unset.
 * @throws LockstepError USAGE, naming the option, the value and where it came from.
 */
export function resolveOptions<const D extends OptionDeclarations>(
  declarations: D,
  inputs: OptionInputs,
): ResolvedOptions<D> {
  if (inputs.file !== undefined) {
    rejectUnknownKeys(inputs.file, [...(inputs.otherFileKeys ?? []), ...fileKeysOf(declarations)]);
  }
  const settings: Setting[] = [];
  const values: Record<string, unknown> = {};
  const sources: Record<string, OptionSource> = {};
  for (const [key, declaration] of Object.entries(declarations)) {
    const found = lookUp(key, declaration, inputs);
    sources[key] = found.source;
    values[key] = check(declaration, found);
    settings.push({
      name: kebabCase(key),
      declaration,
      written: found.value,
      source: found.source,
      origin: originOf(found),
    });
  }
  // Each key was filled from its own declaration just above.
  return { values, sources, settings } as unknown as ResolvedOptions<D>;
}

/**
 * Reads a TOML file.
 * @throws LockstepError USAGE when it cannot be read or is not TOML.
 */
export function readConfigurationFile(path: string): ConfigurationFile {
  let text: string;
  try {
    text = readFileSync(fromLaunchDirectory(path), 'utf8');
  } catch (error) {
    const errno = errnoOf(error) ?? 'unreadable';
    throw new LockstepError('USAGE', `cannot read the configuration file ${path}: ${errno}`, { cause: error });
  }
  try {
    return { path, content: parseToml(text), lines: tomlLines(text) };
  } catch (error) {
    const where = error instanceof TomlError ? `${path}:${error.line}:${error.column}` : path;
    const what = (error instanceof Error ? error.message : '').split('\n')[0] ?? '';
    throw new LockstepError('USAGE', `${where} is not valid TOML: ${what.replace(/^Invalid TOML document: /, '')}`);
  }
}

/** Where a key of the file stands: "server.toml:3", or the path alone. */
export function fileOrigin(file: ConfigurationFile, key: string): string {
  const line = file.lines?.get(key);
  return line === undefined ? file.path : `${file.path}:${line}`;
}

/** The keys that options have in the file. */
export function fileKeysOf(declarations: OptionDeclarations): readonly string[] {
  return Object.entries(declarations)
    .filter(([, declaration]) => declaration.file !== false)
    .flatMap(([key, declaration]) => namesOf(key, declaration));
}

/**
 * `otherwise` is said where no known key is near.
 * @throws LockstepError USAGE, with the place of the key that is not known and the known one that is nearest.
 */
export function rejectUnknownKeys(file: ConfigurationFile, known: readonly string[], otherwise = ''): void {
  const words = new Set(known);
  for (const key of Object.keys(file.content)) {
    if (words.has(key)) continue;
    const nearest = nearestWord(key, words);
    const hint = nearest === undefined ? otherwise : `; did you mean "${nearest}"?`;
    throw new LockstepError('USAGE', `unknown key "${key}" in ${fileOrigin(file, key)}${hint}`);
  }
}

/** `scanInterval` -> `scan-interval`. */
export function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `durable`, and `no-durable` where the flag has that, too. */
function namesOf(key: string, { negatable }: OptionDeclaration): readonly string[] {
  const name = kebabCase(key);
  return negatable === true ? [name, `no-${name}`] : [name];
}

/** The variable that sets the opposite, where there is one. */
function negationsOf({ negatable }: OptionDeclaration, variable: string): readonly string[] {
  return negatable === true ? [variable.replace('LOCKSTEP_', 'LOCKSTEP_NO_')] : [];
}

/** The variable that sets an option, or undefined. */
export function environmentNameOf(key: string, declaration: OptionDeclaration): string | undefined {
  if (declaration.environment === false) return undefined;
  return declaration.environment ?? `LOCKSTEP_${kebabCase(key).replaceAll('-', '_').toUpperCase()}`;
}

/** How many values an option takes on the command line and in the environment. */
export function arityOf(declaration: OptionDeclaration): 'switch' | 'single' | 'repeatable' {
  if (declaration.repeatable) return 'repeatable';
  if (declaration.flag !== undefined && !/[<[]/.test(declaration.flag)) return 'switch';
  return 'single';
}

function originOf({ source, origin, place }: Found): string {
  return source === 'default' ? 'default' : (origin ?? place);
}

interface Found {
  readonly source: OptionSource;
  /** Where in the file. */
  readonly origin?: string;
  /** How to call the place in a message. */
  readonly place: string;
  readonly value: unknown;
}

function lookUp(key: string, declaration: OptionDeclaration, inputs: OptionInputs): Found {
  const flagName = `--${kebabCase(key)}`;
  if (declaration.flag !== undefined && inputs.flags[key] !== undefined) {
    return { source: 'flag', place: flagName, value: inputs.flags[key] };
  }
  const variable = environmentNameOf(key, declaration);
  for (const name of variable === undefined ? [] : [variable, ...negationsOf(declaration, variable)]) {
    const text = inputs.environment[name];
    if (text === undefined || text === '') continue;
    const value = fromEnvironment(declaration, name, text);
    return { source: 'environment', place: name, value: name === variable ? value : !value };
  }
  const fileKey = kebabCase(key);
  const file = declaration.file === false ? undefined : inputs.file;
  for (const name of namesOf(key, declaration)) {
    if (file === undefined || !Object.hasOwn(file.content, name)) continue;
    const value = fromFile(declaration, file.content[name]);
    const origin = fileOrigin(file, name);
    const isNegated = name !== fileKey && typeof value === 'boolean';
    return { source: 'file', origin, place: `${name} in ${origin}`, value: isNegated ? !value : value };
  }
  const place = declaration.flag === undefined ? (variable ?? fileKey) : flagName;
  return { source: 'default', place, value: declaration.default };
}

function fromEnvironment(declaration: OptionDeclaration, variable: string, text: string): unknown {
  switch (arityOf(declaration)) {
    case 'single':
      return text;
    case 'repeatable':
      return text
        .split(/[,\n]/)
        .map((part) => part.trim())
        .filter((part) => part !== '');
    case 'switch':
      if (/^(1|true|yes|on)$/i.test(text)) return true;
      if (/^(0|false|no|off)$/i.test(text)) return false;
      throw new LockstepError('USAGE', `${variable}: "${text}" is not a switch; write for example true or false`);
  }
}

/** TOML has numbers and booleans where the command line has text that is read as something. */
function fromFile(declaration: OptionDeclaration, value: unknown): unknown {
  if (!readersOfText.has(declaration.schema)) return value;
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean' ? String(value) : value;
}

function check(declaration: OptionDeclaration, found: Found): unknown {
  if (found.value === undefined) {
    if (declaration.required) throw new LockstepError('USAGE', `${found.place} is required`);
    return undefined;
  }
  const result = declaration.schema.safeParse(found.value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const inside = issue === undefined || issue.path.length === 0 ? '' : ` (at ${issue.path.map(String).join('.')})`;
  throw new LockstepError('USAGE', `${found.place}: ${issue?.message ?? 'not a valid value'}${inside}`);
}
