/**
 * A program's options: declared once, then merged from flag > environment > TOML file > default, checked, and
 * remembered with their source. Knows no program; each cli declares its own options with `defineOptions`.
 */
import { readFileSync } from 'node:fs';
import { parse as parseToml, TomlError } from 'smol-toml';
import { z } from 'zod';
import { describeError, errnoOf, LockstepError } from './errors.ts';
import { nearestWord } from './nearest.ts';

/**
 * One option. What a schema sees is text for an option with a value, a boolean for a switch, an array of texts for
 * a repeatable one, and whatever TOML holds for one without a flag.
 */
export interface OptionDeclaration {
  /** As commander writes it: "--listen <addr>", "-d, --dir <dir>", "--once". Without it: not on the command line. */
  readonly flag?: string;
  readonly description: string;
  readonly schema: z.ZodType;
  /** As the user would write it, so that `--help` can show it. Goes through the schema as well. */
  readonly default?: string | boolean | readonly string[];
  /** A switch that can also be turned off: `--durable` gets a `--no-durable`. */
  readonly negatable?: true;
  /** May be given several times; in the environment the values are separated by commas or line breaks. */
  readonly repeatable?: true;
  readonly required?: true;
  /** The variable's name; default `LOCKSTEP_<KEY>`. False: not from the environment. */
  readonly environment?: string | false;
  /** False: not from the file (secrets, and the file's own name). */
  readonly file?: false;
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
}

/** A parsed TOML file. */
export interface ConfigurationFile {
  /** For messages. */
  readonly path: string;
  readonly content: Readonly<Record<string, unknown>>;
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
export function parsed<T>(parse: (text: string) => T): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: describeError(error) });
      return z.NEVER;
    }
  });
}

/**
 * Merges and checks. Switches in the environment are 1/true/yes/on or 0/false/no/off; an empty variable is unset.
 * @throws LockstepError USAGE, naming the option, the value and where it came from.
 */
export function resolveOptions<const D extends OptionDeclarations>(
  declarations: D,
  inputs: OptionInputs,
): ResolvedOptions<D> {
  if (inputs.file !== undefined) rejectUnknownKeys(declarations, inputs.file, inputs.otherFileKeys ?? []);
  const values: Record<string, unknown> = {};
  const sources: Record<string, OptionSource> = {};
  for (const [key, declaration] of Object.entries(declarations)) {
    const found = lookUp(key, declaration, inputs);
    sources[key] = found.source;
    values[key] = check(declaration, found);
  }
  // Each key was filled from its own declaration just above.
  return { values, sources } as unknown as ResolvedOptions<D>;
}

/**
 * Reads a TOML file.
 * @throws LockstepError USAGE when it cannot be read or is not TOML.
 */
export function readConfigurationFile(path: string): ConfigurationFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const errno = errnoOf(error) ?? 'unreadable';
    throw new LockstepError('USAGE', `cannot read the configuration file ${path}: ${errno}`, { cause: error });
  }
  try {
    return { path, content: parseToml(text) };
  } catch (error) {
    const where = error instanceof TomlError ? `${path}:${error.line}:${error.column}` : path;
    const what = (error instanceof Error ? error.message : '').split('\n')[0] ?? '';
    throw new LockstepError('USAGE', `${where} is not valid TOML: ${what.replace(/^Invalid TOML document: /, '')}`);
  }
}

/** `scanInterval` -> `scan-interval`. */
export function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
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

interface Found {
  readonly source: OptionSource;
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
  const text = variable === undefined ? undefined : inputs.environment[variable];
  if (variable !== undefined && text !== undefined && text !== '') {
    return { source: 'environment', place: variable, value: fromEnvironment(declaration, variable, text) };
  }
  const fileKey = kebabCase(key);
  if (declaration.file !== false && inputs.file !== undefined && Object.hasOwn(inputs.file.content, fileKey)) {
    const value = fromFile(declaration, inputs.file.content[fileKey]);
    return { source: 'file', place: `${fileKey} in ${inputs.file.path}`, value };
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

/** TOML has numbers and booleans where the command line has text. */
function fromFile(declaration: OptionDeclaration, value: unknown): unknown {
  if (declaration.flag === undefined || arityOf(declaration) !== 'single') return value;
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

function rejectUnknownKeys(declarations: OptionDeclarations, file: ConfigurationFile, others: readonly string[]): void {
  const known = new Set(others);
  for (const [key, declaration] of Object.entries(declarations)) {
    if (declaration.file !== false) known.add(kebabCase(key));
  }
  for (const key of Object.keys(file.content)) {
    if (known.has(key)) continue;
    const nearest = nearestWord(key, known);
    const hint = nearest === undefined ? '' : `; did you mean "${nearest}"?`;
    throw new LockstepError('USAGE', `unknown key "${key}" in ${file.path}${hint}`);
  }
}
