#!/usr/bin/env node
/**
 * Entry point of sync-server.
 */
import '../../common/ops/required-node.ts';
import { keepCompiledCode } from '../../common/ops/compile-cache.ts';
import { collectYoungOften, giveBackMemoryWhenIdle } from '../../common/ops/garbage-collection.ts';
import { watchStandardOutput } from '../../common/ops/standard-output.ts';

keepCompiledCode();
collectYoungOften();
giveBackMemoryWhenIdle();
watchStandardOutput('sync-server');
const { run } = await import('./program.ts');
process.exitCode = await run();
