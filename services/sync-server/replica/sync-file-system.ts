/**
 * syncfs(2) of the file system that holds a directory, by coreutils' `sync -f`, because Node has no call for it.
 */
import { spawn } from 'node:child_process';
import { LockstepError } from '../../../common/ops/errors.ts';

/** @throws IO when something may not have got to the disk: another try proves nothing (E86) */
export type SyncFileSystem = (directory: string) => Promise<void>;

/** What an older or smaller `sync` says to `-f`. */
const UNKNOWN_OPTION = /(?:invalid|unrecognized|unknown|illegal) option/i;
const MAX_MESSAGE_CHARS = 500;

/**
 * Where `sync` has no `-f`, it is `sync` for all file systems; that one never tells of errors. An error of the disk is no
 * reason for it.
 */
export async function syncWithCoreutils(directory: string): Promise<void> {
  const { code, message } = await run('sync', ['-f', directory]);
  if (code === 0) return;
  if (UNKNOWN_OPTION.test(message)) {
    const plain = await run('sync', []);
    if (plain.code === 0) return;
  }
  // Without the path: peers are told, too.
  const cause = message.trim().split(': ').at(-1) || `status ${code}`;
  throw new LockstepError('IO', `syncing the replica's file system failed (${cause}): the disk may have lost data`);
}

interface Ended {
  /** Null after a signal. */
  readonly code: number | null;
  readonly message: string;
}

function run(command: string, parameters: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: 'C' };
    const child = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'pipe'], env });
    let message = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      message = (message + text).slice(0, MAX_MESSAGE_CHARS);
    });
    child.on('error', (cause) => reject(new LockstepError('IO', `cannot run ${command}`, { cause })));
    child.on('close', (code) => resolve({ code, message }));
  });
}
