/**
 * The promises, and the faults that are provoked to hold the programs to them: data for docs/reliability.md. Which test
 * provokes a fault is found by the ids in the tests' names (list-cases.ts); an id without a test needs a reason.
 */

export interface Promised {
  readonly promise: string;
  readonly ids: readonly string[];
}

export interface Fault {
  readonly id: string;
  readonly fault: string;
  readonly provoked: string;
  readonly expected: string;
  /** Ids whose tests hold it besides its own. */
  readonly alsoIds?: readonly string[];
  /** Why it has no test. */
  readonly untested?: string;
}

export const PROMISES: readonly Promised[] = [
  {
    promise:
      'A path in the replica is always wholly old or wholly new, also across a crash; after a power loss from the moment on at which the server serves again',
    ids: ['E18', 'E81', 'E85', 'F01', 'F02'],
  },
  {
    promise: 'What was acknowledged as durable is there after a crash and after a power loss',
    ids: ['E85', 'E90', 'F01', 'F02'],
  },
  {
    promise: 'A sync that failed is never repeated and believed: what it was for is written anew',
    ids: ['E86'],
  },
  {
    promise: 'Both sides come back into step by themselves after any fault, without sending again what is there',
    ids: ['E94', 'E97', 'E111', 'F03', 'F17', 'F54'],
  },
  {
    promise: 'Nothing is deleted because of an error, a lost index, or a root that is gone',
    ids: ['E49', 'E52', 'E54', 'E55', 'E56'],
  },
  {
    promise: 'Events may be lost in any way: what they would have told is found by looking',
    ids: ['E25', 'E27', 'E28'],
  },
  { promise: 'One writer at a time; who was replaced changes nothing any more', ids: ['E106', 'E108', 'F44'] },
  {
    promise: 'Where there is no room nothing old is harmed, deletions go on, and it heals when there is room again',
    ids: ['E87', 'E88'],
  },
  { promise: 'What a disk silently lost is found, moved aside, and brought again', ids: ['E98'] },
  { promise: 'No clock is trusted: neither for waiting nor for what is newer', ids: ['E117'] },
  { promise: 'Names are bytes, and every name that Linux accepts round-trips', ids: ['E01', 'E06'] },
];

const SHIM = 'library preloaded into the program, before each call on its disk in turn';
const SHIM_FAILS = 'preloaded library: the calls of one kind fail for a while';
const PROXY = "the project's TCP proxy";

export const FAULTS: readonly Fault[] = [
  {
    id: 'F01',
    fault: 'server killed at any step on its disk',
    provoked: SHIM,
    expected:
      'before the watcher has said a word: all that was durable, nothing torn, nothing wrongly gone; then equal',
  },
  {
    id: 'F02',
    fault: 'power loss of the server at any step',
    provoked:
      'ext4 in a file, shut down by its ioctl without writing out, before each call in turn; and with a disk that lies about syncs, to see that the test can find a loss',
    expected: 'as F01',
  },
  {
    id: 'F03',
    fault: 'watcher killed at any step on its disk, while it reads, while it uploads',
    provoked: `${SHIM}; SIGKILL`,
    expected: 'equal as soon as it is ready again; a large content is sent about once',
  },
  {
    id: 'F04',
    fault: 'power loss of the watcher',
    provoked: 'its state on ext4 as in F02',
    expected: 'compares or looks again; no deletion from older knowledge',
  },
  {
    id: 'F05',
    fault: 'server stopped beyond the keepalive',
    provoked: 'SIGSTOP for 33 s',
    expected: 'the watcher is offline, connects again, equal',
  },
  {
    id: 'F06',
    fault: 'watcher stopped beyond the keepalive',
    provoked: 'SIGSTOP for 33 s',
    expected: 'takes its lease again, looks at everything, equal',
  },
  {
    id: 'F07',
    fault: 'second server on a replica, second watcher on a folder or directory',
    provoked: 'started twice',
    expected: 'refused with 4, naming the holder',
    alsoIds: ['E106', 'E107'],
  },
  {
    id: 'F08',
    fault: 'little memory',
    provoked: '—',
    expected: 'a large tree and a large file pass',
    untested: 'no limit of memory can be set for a process alone everywhere; `make soak` has ceilings',
  },
  {
    id: 'F10',
    fault: 'SIGTERM in traffic',
    provoked: 'kill',
    expected: 'drained, exit 0 in less than 10 s',
    alsoIds: ['E116'],
  },
  { id: 'F11', fault: 'crash inside recovery', provoked: `${SHIM}, thrice in a row`, expected: 'converges' },
  {
    id: 'F12',
    fault: 'full partition',
    provoked: `${PROXY} holds everything for 33 s`,
    expected: 'noticed, told, equal when it is over',
  },
  {
    id: 'F13',
    fault: 'one-way partition, either way',
    provoked: `${PROXY} loses one direction`,
    expected: 'as F12; the folder is given back to the watcher that comes again',
  },
  {
    id: 'F14',
    fault: 'lost packets',
    provoked: '—',
    expected: 'slower only',
    untested: 'TCP hides it from programs; what they see of it is F15 to F17',
  },
  {
    id: 'F15',
    fault: 'long round trips',
    provoked: `${PROXY} delays by 20 ms each way`,
    expected: 'many files and a large one use the line',
  },
  {
    id: 'F16',
    fault: 'narrow line',
    provoked: `${PROXY} lets 1 Mbit/s pass`,
    expected: 'small changes overtake a large content',
  },
  {
    id: 'F17',
    fault: 'connection cut after any byte, by a reset or by an end',
    provoked: `${PROXY}, after each n-th byte in either direction`,
    expected: 'nothing torn, lost or applied twice; equal',
  },
  {
    id: 'F18',
    fault: 'acknowledgement lost',
    provoked: 'as F17 and F13',
    expected: 'the repetition gets the same answer',
  },
  {
    id: 'F19',
    fault: 'batch sent twice',
    provoked: 'the same batch id again',
    expected: 'the same revision, once',
    alsoIds: ['E109'],
  },
  {
    id: 'F20',
    fault: 'connections that stall before they are known',
    provoked: 'raw sockets',
    expected: 'cut off in time',
  },
  {
    id: 'F21',
    fault: 'address that takes connections and never speaks',
    provoked: `${PROXY} is mute`,
    expected: 'given up and tried again, reached when it speaks',
  },
  {
    id: 'F25',
    fault: 'queue of events runs over',
    provoked: 'watcher stopped, more changes than the queue holds',
    expected: 'found by a scan, without being asked',
  },
  {
    id: 'F26',
    fault: 'no watches left',
    provoked: 'user namespace with a limit of its own',
    expected: 'shown as degraded, the rest is polled, equal',
  },
  {
    id: 'F27',
    fault: 'directories filled before they are watched',
    provoked: 'made and filled in one go',
    expected: 'all is found',
    alsoIds: ['E25'],
  },
  {
    id: 'F28',
    fault: 'root removed, moved, replaced, unmounted, emptied',
    provoked: 'rm, mv, umount',
    expected: 'exit 5, nothing deleted; nothing sent when it is back',
    alsoIds: ['E52', 'E53'],
  },
  {
    id: 'F29',
    fault: 'mass deletion',
    provoked: 'rm',
    expected: 'held, told, confirmed by `resume`',
    alsoIds: ['E54'],
  },
  {
    id: 'F30',
    fault: 'rename cycles, swaps, flips of kind',
    provoked: 'loops of mv, rm and mkdir',
    expected: 'converge without loss',
    alsoIds: ['E18', 'E30', 'E31', 'E61'],
  },
  {
    id: 'F31',
    fault: 'edits that hide in metadata',
    provoked: 'size and times put back; odd times',
    expected: 'found',
    alsoIds: ['E44', 'E73'],
  },
  {
    id: 'F32',
    fault: 'bursts of real work',
    provoked: 'checkouts, builds, unpacked trees',
    expected: 'equal after quiet',
    alsoIds: ['E34', 'E41'],
  },
  {
    id: 'F33',
    fault: 'no room for contents, state or inodes',
    provoked: 'small file systems in memory; preloaded library',
    expected: 'the old tree is intact, deletions run, heals',
    alsoIds: ['E87', 'E88'],
  },
  {
    id: 'F34',
    fault: 'EIO on read, write, rename and sync',
    provoked: `${SHIM_FAILS}; a simulated disk that drops what a failed sync was to write, and loses power`,
    expected: 'nothing answered as durable that is not; what a sync failed for is written anew; heals by itself',
    alsoIds: ['E86'],
  },
  { id: 'F35', fault: 'half reads and writes, EINTR', provoked: SHIM_FAILS, expected: 'no effect' },
  {
    id: 'F36',
    fault: 'no descriptors left',
    provoked: 'prlimit; preloaded library',
    expected: 'goes on with few; nothing counts as missing',
    alsoIds: ['E50'],
  },
  {
    id: 'F37',
    fault: 'entries that must not be changed or read',
    provoked: 'chmod, chattr +i',
    expected: 'named, the others go on',
    alsoIds: ['E48', 'E80'],
  },
  {
    id: 'F38',
    fault: 'file system becomes read-only',
    provoked: 'remount; preloaded library',
    expected: 'an alarm and no loop; heals',
    alsoIds: ['E89'],
  },
  {
    id: 'F39',
    fault: 'log, index or content damaged',
    provoked: 'bits flipped, pages cleared, files cut anywhere; a byte of the disk below a mounted file system',
    expected: 'noticed or without effect; nothing deleted; contents repaired from the watcher',
    alsoIds: ['E91', 'E98'],
  },
  { id: 'F40', fault: 'slow disk', provoked: 'a checkpoint that waits', expected: 'no more is taken in; bounded' },
  {
    id: 'F41',
    fault: 'backup of an earlier day restored, on either side',
    provoked: 'copied back',
    expected: 'compared, equal; no deletion on trust',
    alsoIds: ['E97', 'E55'],
  },
  {
    id: 'F42',
    fault: 'names that the target cannot hold apart',
    provoked: 'a double that folds names, at every crash point too; ext4 with casefold where the kernel has it',
    expected: 'one is kept, the other reported with both names; neither is overwritten',
    alsoIds: ['E08', 'E09'],
  },
  {
    id: 'F43',
    fault: 'clocks of the two sides jump by a day, apart from each other',
    provoked: 'preloaded library',
    expected: 'neither order nor speed depends on it',
    alsoIds: ['E117'],
  },
  {
    id: 'F44',
    fault: 'writer sleeps while another takes over',
    provoked: 'SIGSTOP, `--take-over`',
    expected: 'ends with 4, changes nothing',
    alsoIds: ['E108'],
  },
  {
    id: 'F53',
    fault: 'files replaced, cut and removed while they are read',
    provoked: 'a writer of uniform files',
    expected: 'never a mixed one in the replica; equal after quiet',
    alsoIds: ['E37', 'E38'],
  },
  {
    id: 'F54',
    fault: 'everything at once',
    provoked: 'random changes, kills, stops, cuts, partitions, failing disks and jumping clocks, from a seed',
    expected: 'equal after each storm; nothing torn before the watcher helps',
  },
  {
    id: 'E83',
    fault: 'another file system mounted inside the replica',
    provoked: 'mount',
    expected: 'what no rename reaches is copied beside its place, made durable and renamed there; in step throughout',
  },
  {
    id: 'E22',
    fault: 'another file system mounted inside the source',
    provoked: 'mount',
    expected: 'what it hides is unknown, not deleted',
  },
];
