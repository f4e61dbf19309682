/**
 * What every command gets from the outside.
 */
import type { OpenFolder } from '../server.ts';

export interface CommandContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly openFolder: OpenFolder;
  readonly version: string;
}
