/**
 * The program sync-server with replicas in memory: for tests of the command line that need no disk.
 */
import { runCli } from '../../services/sync-server/cli.ts';

process.exitCode = await runCli(process.argv, {
  environment: process.env,
  openFolder: async ({ name }) => new (await import('./memory-replica.ts')).MemoryReplica(name),
});
