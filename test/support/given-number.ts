/**
 * Numbers that whoever runs the tests gives in the environment. A slip of the pen is an error, not a test of nothing.
 */

export interface NumberBounds {
  readonly least: number;
  readonly isWhole?: boolean;
}

/** Undefined where it is not given, or empty. @throws when it is not such a number */
export function givenNumber(name: string, { least, isWhole = false }: NumberBounds): number | undefined {
  const text = process.env[name]?.trim() ?? '';
  if (text === '') return undefined;
  const number = Number(text);
  if (Number.isFinite(number) && number >= least && (!isWhole || Number.isSafeInteger(number))) return number;
  throw new Error(`${name}=${text}: a ${isWhole ? 'whole ' : ''}number is needed, ${least} or more`);
}
