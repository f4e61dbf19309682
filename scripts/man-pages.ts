/**
 * Writes docs/man/sync-server.1 and sync-watcher.1 from the definitions of the command lines; with --check writes nothing, and
 * exits with status 1 when a page is not what it would be.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildProgram as buildWatcher } from '../clients/watcher/cli.ts';
import { VERSION } from '../clients/watcher/version.ts';
import { commandModel } from '../common/ops/completion/model.ts';
import { LockstepError } from '../common/ops/errors.ts';
import { manPage } from '../common/ops/man-page.ts';
import { buildProgram as buildServer } from '../services/sync-server/cli.ts';

const DIRECTORY = join(import.meta.dirname, '../docs/man');

const SETTINGS = [
  'Every option can be set in the environment as LOCKSTEP_<OPTION>, with _ for each -, and in the TOML file that --config names. An option wins over the environment, which wins over the file. --print-config tells each setting and where it comes from; docs/examples has files with every key.',
];
const EXIT_STATUS = [
  '0: in step, a clean stop, or nothing to complain of.',
  '1: some entries could not be synced, differences were found, or a check failed; each is named.',
  '2: the command line or the configuration is wrong.',
  '3: the server, or the watcher that a command asks, could not be reached in time.',
  '4: refused: authentication, permission, or somebody else holds the folder.',
  '5: stopped for safety: the root is missing or was replaced, too many deletions at once, or a full disk.',
];
/** `reloaded`: what is taken over from the configuration while the program runs. */
const signals = (reloaded: string) => [
  `SIGINT and SIGTERM stop cleanly; a second one insists. SIGHUP opens --log-file anew and takes over from the configuration: ${reloaded}. Its log line names what else has changed and needs a restart.`,
];

/** Each page's text by its file's name. */
export function manPages(): ReadonlyMap<string, string> {
  const watcher = buildWatcher(async () => {});
  const neverRun = () => async () => {};
  const openFolder = async () => {
    throw new LockstepError('INTERNAL', 'nothing is served here');
  };
  const server = buildServer({ environment: {}, openFolder, version: VERSION }, neverRun);
  const page = (
    { program, defaultCommand }: typeof watcher,
    files: readonly string[],
    other: string,
    reloaded: string,
  ) =>
    manPage({
      program: commandModel(program, defaultCommand),
      version: VERSION,
      sections: [
        ['SETTINGS', SETTINGS],
        ['EXIT STATUS', EXIT_STATUS],
        ['SIGNALS', signals(reloaded)],
        ['FILES', files],
        ['SEE ALSO', [`${other}(1)`]],
      ],
    });
  const serverFiles = ['DIR/.lockstep: index, log, tokens and staging of a replica; it is not part of the tree.'];
  const watcherFiles = [
    "$XDG_STATE_HOME/lockstep, or ~/.local/state/lockstep, on Windows %LOCALAPPDATA%\\lockstep: a directory for each watched one, with the watcher's index and its control socket.",
    '.syncignore, anywhere in the tree: what to leave out, in gitignore syntax.',
  ];
  return new Map([
    ['sync-server.1', page(server, serverFiles, 'sync-watcher', 'log-level')],
    ['sync-watcher.1', page(watcher, watcherFiles, 'sync-server', 'log-level, bandwidth-limit, bandwidth and exclude')],
  ]);
}

function check(): void {
  for (const [name, text] of manPages()) {
    if (read(join(DIRECTORY, name)) === text) continue;
    process.stderr.write(`docs/man/${name} is out of date; run: scripts/node scripts/man-pages.ts\n`);
    process.exitCode = 1;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not there is out of date as well.
    return '';
  }
}

if (import.meta.main) {
  if (process.argv.includes('--check')) check();
  else {
    mkdirSync(DIRECTORY, { recursive: true });
    for (const [name, text] of manPages()) writeFileSync(join(DIRECTORY, name), text);
  }
}
