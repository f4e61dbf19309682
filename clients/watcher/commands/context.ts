/**
 * What every command gets from the outside.
 */
export interface CommandContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}
