/**
 * `sync-watcher doctor`: looks at everything that a watcher needs, changes nothing, and says what to do.
 */
import { type FSWatcher, watch } from 'node:fs';
import { clockFinding, descriptorsFinding, nodeFinding } from '../../../common/doctor/machine.ts';
import { exitCodeOfFindings, type Finding, printedFindings } from '../../../common/doctor/finding.ts';
import { placeFindings } from '../../../common/doctor/place.ts';
import { describeError, errnoOf, type ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { WatcherState } from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import { inotifyFindings } from '../observe/inotify-limits.ts';
import { Connection } from '../push/connection.ts';
import { greet } from '../push/handshake.ts';
import { connectionTrouble } from '../push/reconnect.ts';
import { ControlClient } from '../status/control-client.ts';
import { defaultStateDirectory } from '../status/state-directory.ts';
import { stateName } from '../status/status-text.ts';
import { VERSION } from '../version.ts';
import { resolveCommand } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { doctorOptions } from './options.ts';
import { hideInvitation, serverChoice } from './server-choice.ts';

const LEAST_STATE_BYTES = 64 * 2 ** 20;

/** 0 unless something fails. */
export async function doctor(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  hideInvitation(flags);
  const resolved = resolveCommand(doctorOptions, flags, context);
  const { dir, state, timeout, json, server, join } = resolved.values;
  const stateDirectory = state ?? defaultStateDirectory(dir, context.environment);
  const findings: Finding[] = [
    nodeFinding(),
    descriptorsFinding(),
    ...placeFindings({
      role: 'directory',
      directory: dir,
      writable: false,
      mayBeMissing: false,
      network: {
        message: 'what other machines change there is seen only by scans',
        remedy: 'use --watcher poll, or a shorter --scan-interval',
      },
      memory: undefined,
      leastBytes: undefined,
    }),
    ...placeFindings({
      role: 'state',
      directory: stateDirectory,
      writable: true,
      mayBeMissing: true,
      network: {
        message: 'the index needs locks that network file systems often do not keep',
        remedy: 'choose a local directory with --state',
      },
      memory: {
        message: 'after a restart of the machine the trees are compared anew',
        remedy: 'choose a directory on a disk with --state',
      },
      leastBytes: LEAST_STATE_BYTES,
    }),
    ...inotifyFindings(),
    ...watchFindings(dir),
    await watcherFinding(stateDirectory, dir),
  ];
  if (server === undefined && join === undefined) {
    const remedy = 'give --server or --join to have it looked at';
    findings.push({ check: 'server', level: 'warn', message: 'no server was named', remedy });
  } else {
    findings.push(...(await serverFindings(resolved, dir, timeout)));
  }
  process.stdout.write(printedFindings(findings, json));
  return exitCodeOfFindings(findings);
}

/** One real watch: what the kernel's numbers do not tell is how much of them others have used up. */
function watchFindings(directory: string): readonly Finding[] {
  const check = 'inotify use';
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(directory);
    watcher.on('error', () => {
      // It is closed in a moment, and has shown what it should.
    });
    return [{ check, level: 'ok', message: 'a watch can be made' }];
  } catch (error) {
    const errno = errnoOf(error);
    // A directory that is not there has a line of its own.
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'EACCES') return [];
    const which = errno === 'EMFILE' ? 'max_user_instances=512' : 'max_user_watches=524288';
    const remedy = `other programs have used them up: sysctl fs.inotify.${which}, or use --watcher poll`;
    return [{ check, level: 'fail', message: `no watch can be made (${errno ?? describeError(error)})`, remedy }];
  } finally {
    watcher?.close();
  }
}

async function watcherFinding(stateDirectory: string, dir: string): Promise<Finding> {
  const check = 'watcher';
  let client: ControlClient | undefined;
  try {
    client = new ControlClient(stateDirectory, dir);
    const { state, reason, pid, problemCount } = await client.status();
    const message = `process ${pid} is ${stateName(state)}${reason === '' ? '' : `, ${displayText(reason)}`}`;
    const remedy = 'see: sync-watcher status';
    if (state === WatcherState.WATCHER_STATE_STOPPED) return { check, level: 'fail', message, remedy };
    return problemCount > 0n ? { check, level: 'warn', message, remedy } : { check, level: 'ok', message };
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    // None runs, and it need not: a doctor is asked before the start as well.
    return { check, level: 'ok', message: 'none is running for this directory' };
  } finally {
    client?.close();
  }
}

async function serverFindings(
  resolved: Parameters<typeof serverChoice>[0],
  dir: string,
  timeoutMs: number,
): Promise<readonly Finding[]> {
  let connection: Connection | undefined;
  try {
    const { address, folder, security } = serverChoice(resolved);
    connection = new Connection({ address, security, watched: dir });
    const signal = AbortSignal.timeout(Math.max(1, timeoutMs));
    const { serverVersion, folder: facts } = await greet(connection, folder, signal);
    const started = performance.now();
    const { timeMs } = await connection.getServerInfo({ clientVersion: VERSION }, signal);
    const uncertaintyMs = (performance.now() - started) / 2;
    const message = `${address.text} (version ${serverVersion}) lets us in; folder ${displayText(facts.folder)} has ${facts.entries} entries`;
    const findings: Finding[] = [{ check: 'server', level: 'ok', message }];
    // Servers of before do not tell their time.
    if (timeMs !== 0n) findings.push(clockFinding(Number(timeMs) + uncertaintyMs - Date.now(), uncertaintyMs));
    return findings;
  } catch (error) {
    if (!(error instanceof LockstepError) && !(error instanceof DOMException)) throw error;
    const reason = error instanceof LockstepError ? error.reason : 'SERVER_UNREACHABLE';
    const what = error instanceof LockstepError ? connectionTrouble(error) : error.message;
    return [{ check: 'server', level: 'fail', message: `${reason}: ${what}`, remedy: remedyOf(reason) }];
  } finally {
    connection?.close();
  }
}

function remedyOf(reason: string): string {
  switch (reason) {
    case 'SERVER_UNREACHABLE':
      return 'is sync-server running there, does it listen on that address (--listen), and does a firewall let it through?';
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED':
      return 'on the server: sync-server token create, or sync-server invite; here: --token-file or --join';
    case 'FOLDER_NOT_FOUND':
      return 'name one of the folders with --folder';
    case 'PROTOCOL_UNSUPPORTED':
      return 'bring both programs to the same version';
    default:
      return 'correct what the message names';
  }
}
