/**
 * The version of this program, from its package.
 */
import { readFileSync } from 'node:fs';
import * as z from 'zod/mini';
import { errnoOf, LockstepError } from '../../common/ops/errors.ts';

const packageFile = z.object({ version: z.string() });

export function readVersion(): string {
  // services/sync-server/ in a checkout, dist/services/sync-server/ in the package.
  for (const place of ['../../package.json', '../../../package.json']) {
    try {
      return packageFile.parse(JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8'))).version;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  throw new LockstepError('INTERNAL', 'package.json is missing: the installation is incomplete');
}
