#!/usr/bin/env node
/**
 * Entry point of sync-watcher. Compiled code is cached first of all: it halves the start of every command.
 */
import '../../common/ops/required-node.ts';
import { keepCompiledCode } from '../../common/ops/compile-cache.ts';
import { collectYoungOften, giveBackMemoryWhenIdle } from '../../common/ops/garbage-collection.ts';
import { watchStandardOutput } from '../../common/ops/standard-output.ts';

keepCompiledCode();
collectYoungOften();
giveBackMemoryWhenIdle();
watchStandardOutput('sync-watcher');
const { runCli } = await import('./cli.ts');
process.exitCode = await runCli(process.argv, process.env);
