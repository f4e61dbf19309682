/**
 * Opens the replica of a folder. The one place that knows which kind of replica this server has.
 */
import { openReplica } from './replica/open-replica.ts';
import type { OpenFolder } from './server.ts';

/** Pause between two looks through the whole replica for what others changed in it. */
const DRIFT_INTERVAL_MS = 10 * 60_000;

export const openFolder: OpenFolder = (folder, { limits, logger, purpose, scrub }) =>
  openReplica({
    folder: folder.name,
    directory: folder.directory,
    stateDirectory: folder.stateDirectory,
    keepsOwners: folder.keepsOwners,
    logger: logger.child({ room: 'replica', folder: folder.name }),
    driftIntervalMs: DRIFT_INTERVAL_MS,
    looksForDrift: purpose === 'serve',
    refusesEscapingLinks: folder.refusesEscapingLinks,
    limits,
    scrub: purpose === 'serve' ? scrub : undefined,
  });
