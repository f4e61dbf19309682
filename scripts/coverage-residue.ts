/**
 * Branches that no test takes, each with the reason why. docs/coverage.md is written from this (scripts/coverage-page.ts); a test
 * notices when a line is no longer in its file.
 */
export const WHY = {
  Defects:
    'They say what only a defect of this program, or of the system, could bring about, or what the compiler asks for and the code before has settled.',
  'Other surroundings':
    "They are for the compiled form, other systems, other releases of a dependency, or Node's permission model, under which V8 counts nothing. Each run of the suite has one of each.",
  'No way on':
    'V8 counts the way on behind a statement as a branch of its own. Here every way through it ends in `return` or `throw`, so that there is none.',
  Sizes: 'They need more than a test has time or room for. What they do is tested where the bound can be set lower.',
  Races:
    'They need an end at one exact moment between two turns of the event loop. `make torture` meets them by chance; a test cannot choose them.',
} as const;

export type Why = keyof typeof WHY;

export interface Residue {
  readonly why: Why;
  readonly file: string;
  /** Part of the line where the branch begins; all of it, with its indentation, where there is nothing but a bracket. */
  readonly text: string;
}

const residueOf = (why: Why, lines: Readonly<Record<string, readonly string[]>>): readonly Residue[] =>
  Object.entries(lines).flatMap(([file, texts]) => texts.map((text) => ({ why, file, text })));

export const RESIDUE: readonly Residue[] = [
  ...residueOf('Defects', {
    'clients/watcher/push/content-worker.ts': [
      "error.reason : 'INTERNAL'",
      "if (parentPort === null) throw new LockstepError('INTERNAL'",
    ],
    'clients/watcher/push/upload-stream.ts': [
      "throw new LockstepError('INTERNAL', 'a content ended without its digest')",
    ],
    'clients/watcher/push/delta-transfer.ts': ["part === undefined ? 'rehashed'"],
    'clients/watcher/push/local-files.ts': [
      'LOCAL_KEY_BYTES ? key : undefined',
      'if (errnoOf(error) === undefined) throw error;',
    ],
    'common/content/blake3-wasm.ts': ["if (this.#stage === 'digested') throw alreadyDigested()"],
    'common/doctor/ownership.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'common/ops/capabilities.ts': ['    throw error;'],
    'common/doctor/place.ts': [
      'if (errno === undefined) throw error;',
      'if (errnoOf(error) === undefined) throw error;',
      '    throw error;',
    ],
    'common/fs/atomic-file.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'common/fs/directory.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'common/fs/file-lock.ts': [
      'if (errnoOf(error) === undefined) throw error;',
      "typeof error.errcode !== 'number') return undefined;",
    ],
    'common/fs/handle-reach.ts': [
      'if (through.dev !== own.dev || through.ino !== own.ino) throw noHandles(undefined);',
    ],
    'common/fs/path-reach.ts': ['throw wrong ?? stale(this.#treePath);'],
    'common/fs/sparse-file.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'common/fs/full-io.ts': ["if (bytesWritten === 0) throw new LockstepError('IO'"],
    'common/ops/standard-output.ts': ['errno ?? String(error)'],
    'common/ops/configuration.ts': [
      'error instanceof TomlError ?',
      "error instanceof Error ? error.message : ''",
      "issue?.message ?? 'not a valid value'",
    ],
    'common/ops/descriptor-limit.ts': ['    throw error;'],
    'common/fs/sync-thread.ts': [
      "throw new LockstepError('INTERNAL', 'the thread that syncs files did not start')",
      "throw new LockstepError('INTERNAL', 'the thread that syncs files did not answer')",
    ],
    'common/ops/nice.ts': [
      "const info = error instanceof Error && 'info' in error ?",
      'isNamed ? String(info.code) : describeError(error)',
    ],
    'common/ops/units.ts': ['?? Number.NaN)'],
    'common/rpc/connection-guard.ts': ['(this.#countOfGroup.get(group) ?? 1) - 1'],
    'common/telemetry/telemetry.ts': ['if (metricsUrl === undefined) return;'],
    'common/tree/index-digests.ts': ['pending.at(-1) ?? directoryId'],
    'common/tree/index-rows.ts': ["if (!(value instanceof Uint8Array)) throw nonsense('owner')"],
    'common/tree/sqlite-query.ts': [
      'if (error instanceof LockstepError) return error;',
      'error instanceof Error ? error.message : String(error)',
    ],
    'common/tree/tree-index.ts': ['} catch (error) {'],
    'common/tree/index-writer.ts': ["if (row === undefined) throw new LockstepError('INTERNAL'"],
    'services/sync-server/replica/log.ts': [
      "throw new LockstepError('INTERNAL', 'the log has no segment')",
      "if (written === 0) throw new LockstepError('IO'",
    ],
    'services/sync-server/replica/performer.ts': [
      "if (entry.kind !== 'file') throw new LockstepError('INTERNAL'",
      "if (before.kind !== 'file') throw new LockstepError('INTERNAL'",
    ],
    'services/sync-server/replica/reconciler.ts': [
      'if (errnoOf(error) === undefined) throw error;',
      'if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;',
      "throw new LockstepError('INDEX_DAMAGED', 'the index has no root')",
      "case 'other':",
    ],
    'services/sync-server/replica/local-file.ts': ['if (errno === undefined) throw error;'],
    'services/sync-server/replica/staged-entries.ts': [
      "if (errnoOf(error) !== 'EACCES') throw error;",
      "if (errnoOf(error) !== 'EEXIST') throw error;",
      "if (stat === undefined) throw new LockstepError('INTERNAL'",
    ],
    'services/sync-server/replica/worker-calls.ts': [
      "if (typeof method !== 'function') throw new LockstepError('INTERNAL'",
    ],
    'clients/watcher/plan/directory-moves.ts': ['?? first.from;'],
    'clients/watcher/push/expected-file.ts': ['if (error instanceof LockstepError) return error;'],
    'clients/watcher/push/pinned-credentials.ts': [
      "throw new Error('the server showed no certificate')",
      'socket instanceof TLSSocket ?',
    ],
    'clients/watcher/push/session.ts': ["throw new LockstepError('INTERNAL', `a digest of"],
    'services/sync-server/replica/applier-service.ts': [
      "new LockstepError('INTERNAL', 'a batch was not answered')",
      'if (errnoOf(error) === undefined) throw error;',
    ],
    'services/sync-server/replica/applier.ts': ['!REFUSALS.has(error.reason)) throw error;'],
    'services/sync-server/replica/batch-decoder.ts': ["if (entry.kind !== 'file') throw notOfKind"],
    'services/sync-server/replica/feed-watcher.ts': ['if (!signal.aborted) throw error;'],
    'services/sync-server/replica/log-reserve.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'services/sync-server/replica/recovery-check.ts': [
      'if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;',
      'if (!(error instanceof ChangeFailure)) throw error;',
      "if (entry.kind !== 'directory') return;",
    ],
    'services/sync-server/replica/replica-core.ts': ["error.reason !== 'INDEX_DAMAGED') throw error;"],
    'services/sync-server/replica/touched-directories.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'services/sync-server/replica/upload-store.ts': [
      'if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;',
    ],
    'services/sync-server/replica/verification.ts': [
      'if (errnoOf(error) === undefined) throw error;',
      'if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;',
    ],
    'services/sync-server/replica/drift-pass.ts': ["if (state.epoch === '') state.beginEpoch();"],
    'services/sync-server/replica/feed-codec.ts': ["('path' in change ? change.path : '')"],
    'services/sync-server/replica/late-identities.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'services/sync-server/replica/name-folding.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'services/sync-server/replica/open-replica.ts': ['latest ?? (await told.promise)'],
    'services/sync-server/replica/other-file-system.ts': ['default:'],
    'services/sync-server/replica/rebuild-from-log.ts': ['if (errnoOf(error) === undefined) throw error;'],
    'services/sync-server/replica/recovery.ts': [
      "if (record.type === 'outcome') continue;",
      "change.operation !== 'link') return false;",
      'if (errnoOf(error) === undefined) throw error;',
      'if (path === ROOT) return undefined;',
    ],
    'services/sync-server/replica/state-files.ts': ["errnoOf(error) ?? 'unknown error'"],
  }),
  ...residueOf('Other surroundings', {
    'common/doctor/ownership.ts': ['process.geteuid?.() === 1 ? 2 : 1', 'if (bits === undefined) return undefined;'],
    'common/ops/capabilities.ts': ['  } catch (error) {', 'return effective === undefined ? undefined :'],
    'common/fs/atomic-file.ts': ["if (SYSTEM === 'win32') return;"],
    'common/fs/directory.ts': [
      'if (!holdsPermissionBits()) return;',
      'if (!holdsPermissionBits()) return this.assertName(name);',
    ],
    'common/fs/descriptor.ts': [
      'if (isRestricted) assertSyncsInThread();',
      'if (isRestricted) chmodSync(',
      'if (isRestricted) chownSync(',
      'if (isRestricted) utimesSync(',
      "if (isRestricted) syncInThread(handlePath(fd), 'everything');",
      "if (isRestricted) syncInThread(handlePath(fd), 'data');",
      'const handle = await open(handlePath(fd));',
    ],
    'common/fs/sync-thread.ts': [
      'else syncByCommand(path, extent);',
      'if (error !== undefined) throw error;',
      "typeof error.code === 'number' ? commandError(stderr)",
      'if (answer.errno !== undefined) throw syncError(',
    ],
    'common/fs/sync-worker.ts': ['? CAN_SYNC : CANNOT_SYNC', "? error.code : 'EIO'", 'return true;'],
    'common/fs/free-space.ts': ['freeInodes: stats.files === 0n ? undefined'],
    'common/fs/named-file.ts': ["code: 'EACCES' });"],
    'common/fs/own-handles.ts': ['} catch {'],
    'common/fs/path-reach.ts': [
      "if (SYSTEM === 'win32') return;",
      "if (SYSTEM === 'win32') return { link, fd: undefined };",
    ],
    'common/fs/sparse-file.ts': ['if (isCloned(source, target)) return;'],
    'common/ops/compile-cache.ts': ["process.env['NODE_COMPILE_CACHE'] ??= directory"],
    'common/ops/descriptor-limit.ts': ['if (soft === undefined) return undefined;', "soft === 'unlimited' ?"],
    'common/ops/permissions.ts': ["'permission' in process ? process.permission"],
    'common/ops/worker-url.ts': ["base.endsWith('.ts') ? path"],
    'common/ops/required-node.ts': ['if (!isNewEnough(process.versions.node)) {'],
    'common/rpc/connect-timeout.ts': [
      'const { connect, tcpConnect } = connectorClass?.prototype ?? {}',
      'if (prototype === undefined || connect === undefined || tcpConnect === undefined) return false',
    ],
    'common/rpc/wire-stream.ts': ['return Array.isArray(decoder?.readPartialMessage) ?'],
    'common/rpc/connection-guard.ts': ['if (!(http2Servers instanceof Map)) return false'],
    'common/ops/reload.ts': ["if (!process.emit('SIGTERM', 'SIGTERM')) process.kill"],
    'services/sync-server/replica/checkpoint.ts': [
      "SYSTEM === 'win32' ? undefined",
      'if (this.#syncFileSystem === undefined) await',
    ],
    'services/sync-server/replica/open-replica.ts': ["import.meta.url.endsWith('.ts') ? 'ts' : 'js'"],
    'services/sync-server/replica/log-record.ts': ['default:'],
    'services/sync-server/replica/space-guard.ts': ['isUnlimited ? Number.MAX_SAFE_INTEGER'],
    'services/sync-server/replica/other-file-system.ts': ['(process.geteuid?.() ?? uid)'],
    'services/sync-server/replica/owner-keeper.ts': ['own ?? LEAVE_ID, gid: process.getegid?.() ?? LEAVE_ID'],
  }),
  ...residueOf('No way on', {
    'clients/watcher/push/content-reader.ts': ['} finally {'],
    'clients/watcher/push/local-files.ts': ['} finally {'],
    'clients/watcher/push/reconnect.ts': ['} finally {'],
    'clients/watcher/push/session.ts': ["throw new LockstepError('SERVER_UNREACHABLE', 'the server does not open"],
    'clients/watcher/push/signature-fetch.ts': ['} finally {'],
    'clients/watcher/push/upload-stream.ts': ['} finally {'],
    'common/doctor/ownership.ts': ['} finally {'],
    'common/doctor/place.ts': ['}'],
    'common/fs/directory.ts': ['} finally {'],
    'common/fs/place.ts': ['}'],
    'common/fs/while-busy.ts': ['  }'],
    'common/tree/index-database.ts': ['} finally {'],
    'common/tree/index-digests.ts': ['  }'],
    'services/sync-server/replica/reconciler.ts': ['} finally {'],
    'services/sync-server/replica/owner-keeper.ts': ['} finally {'],
  }),
  ...residueOf('Sizes', {
    'clients/watcher/push/delta-transfer.ts': ['const packed = signature === undefined ? undefined'],
    'services/sync-server/replica/owner-keeper.ts': ['if (known.size >= MAX_KNOWN_IDS) known.clear();'],
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
    'services/sync-server/replica/feed-watcher.ts': ['if (signal.aborted) return;'],
    'services/sync-server/replica/staging-sweep.ts': ['if (stat === undefined) return undefined;'],
    'services/sync-server/replica/subtree-check.ts': ['if (stat === undefined) continue;'],
  }),
];
