#!/usr/bin/env node
/**
 * Entry point of sync-server.
 */
import '../../common/ops/required-node.ts';
import { keepCompiledCode } from '../../common/ops/compile-cache.ts';
import { collectYoungOften, giveBackMemoryWhenIdle } from '../../common/ops/garbage-collection.ts';
import type { OpenFolder } from './server.ts';

keepCompiledCode();
collectYoungOften();
giveBackMemoryWhenIdle();
const { runCli } = await import('./cli.ts');
const openFolder: OpenFolder = async (...folder) => (await import('./open-folder.ts')).openFolder(...folder);
process.exitCode = await runCli(process.argv, { environment: process.env, openFolder });
