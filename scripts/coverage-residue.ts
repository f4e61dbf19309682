/**
 * Branches that no test takes, each with the reason why. docs/coverage.md is written from this (scripts/coverage-page.ts); a test
 * notices when a line is no longer in its file.
 */
export const WHY = {
  Defects: 'They say what only a defect of this program, or of the system, could bring about.',
  'Other surroundings':
    'They are for the compiled form, other systems, or other releases of a dependency, of which each run of the suite has one.',
  Races:
    'They need an end at one exact moment between two turns of the event loop. `make torture` meets them by chance; a test cannot choose them.',
} as const;

export type Why = keyof typeof WHY;

export interface Residue {
  readonly why: Why;
  readonly file: string;
  /** Part of the line where the branch begins. */
  readonly text: string;
}

const residueOf = (why: Why, lines: Readonly<Record<string, readonly string[]>>): readonly Residue[] =>
  Object.entries(lines).flatMap(([file, texts]) => texts.map((text) => ({ why, file, text })));

export const RESIDUE: readonly Residue[] = [
  ...residueOf('Defects', {
    'clients/watcher/push/content-worker.ts': ["if (parentPort === null) throw new LockstepError('INTERNAL'"],
    'clients/watcher/push/upload-stream.ts': [
      "throw new LockstepError('INTERNAL', 'a content ended without its digest')",
    ],
    'common/content/blake3.ts': ["if (this.#stage === 'digested') throw alreadyDigested()"],
    'common/tree/index-writer.ts': ["if (row === undefined) throw new LockstepError('INTERNAL'"],
    'services/sync-server/replica/log.ts': ["if (written === 0) throw new LockstepError('IO'"],
    'services/sync-server/replica/performer.ts': ["if (entry.kind !== 'file') throw new LockstepError('INTERNAL'"],
    'services/sync-server/replica/reconciler.ts': ["throw new LockstepError('INDEX_DAMAGED', 'the index has no root')"],
    'services/sync-server/replica/staged-entries.ts': ["if (stat === undefined) throw new LockstepError('INTERNAL'"],
    'services/sync-server/replica/worker-calls.ts': [
      "if (typeof method !== 'function') throw new LockstepError('INTERNAL'",
    ],
  }),
  ...residueOf('Other surroundings', {
    'common/fs/free-space.ts': ['freeInodes: stats.files === 0n ? undefined'],
    'common/fs/place.ts': ['if (boot === undefined) return []', 'if (stats === undefined) return []'],
    'common/ops/compile-cache.ts': ["process.env['NODE_COMPILE_CACHE'] ??= directory"],
    'common/rpc/connect-timeout.ts': [
      'const { connect, tcpConnect } = connectorClass?.prototype ?? {}',
      'if (prototype === undefined || connect === undefined || tcpConnect === undefined) return false',
    ],
    'common/rpc/connection-guard.ts': ['if (!(http2Servers instanceof Map)) return false'],
    'services/sync-server/replica/open-replica.ts': ["import.meta.url.endsWith('.ts') ? 'ts' : 'js'"],
  }),
  ...residueOf('Races', {
    'clients/watcher/push/change-stream.ts': [
      'if (this.#isFinished) return;',
      'if (superviseCall(this.#call).isOver) return;',
    ],
    'clients/watcher/push/compare-stream.ts': ['if (this.#isClosed) return;'],
    'common/rpc/call-stream.ts': ['if (call.destroyed) throw supervision.overError()'],
    'common/rpc/connect-timeout.ts': ['if (isLate) made.shutdown()'],
    'common/rpc/connection-guard.ts': ['if (remoteAddress === undefined || remotePort === undefined) return;'],
    'services/sync-server/replica/upload-store.ts': ['if (slot === undefined) return Promise.reject('],
  }),
];
