/**
 * What the workers say without being asked.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { ApplierInfo } from './applier-api.ts';
import type { ReplicaLog } from './replica-log.ts';
import type { CarriedError } from './worker-calls.ts';

export type WorkerEvent =
  | { readonly type: 'opened' }
  | { readonly type: 'not-opened'; readonly error: CarriedError }
  | { readonly type: 'info'; readonly info: ApplierInfo }
  | { readonly type: 'drift'; readonly directories: readonly TreePath[]; readonly headRevision: bigint }
  | { readonly type: 'trash' }
  | {
      readonly type: 'log';
      readonly level: keyof ReplicaLog;
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    };

/** A log that speaks through the main thread. Errors are told in words: their classes do not survive the way. */
export function postingLog(post: (event: WorkerEvent) => void, describe: (error: unknown) => string): ReplicaLog {
  const at = (level: keyof ReplicaLog) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    const { err, ...rest } = fields;
    post({ type: 'log', level, fields: err === undefined ? rest : { ...rest, error: describe(err) }, message });
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
