/**
 * Options that both programs have, with the same words and the same meaning.
 */
import * as z from 'zod/mini';
import { defineOptions, parsed } from './configuration.ts';
import { IO_PRIORITIES, parseIoPriority } from './io-priority.ts';
import { fromLaunchDirectory } from './launch-directory.ts';
import { LOG_LEVELS, parseLogLevels } from './log-levels.ts';
import { LOG_FORMATS } from './logger.ts';
import { parseNice } from './nice.ts';

/** In full, whatever the program does to its working directory. */
export const path = z.pipe(z.string().check(z.minLength(1, 'a path is needed')), z.transform(fromLaunchDirectory));

/** @param areas the rooms that the program's loggers name */
export function logOptionsOf(areas: readonly [string, ...string[]]) {
  const levels = LOG_LEVELS.join(', ');
  return defineOptions({
    logLevel: {
      flag: '--log-level <levels>',
      description: `${levels}; and of areas, as in info,${areas[0]}=debug: ${areas.join(', ')}`,
      schema: parsed((text) => parseLogLevels(text, areas)),
      choices: LOG_LEVELS,
      default: 'info',
    },
    logFormat: {
      flag: '--log-format <format>',
      description: 'json or pretty; default: pretty on a terminal, json elsewhere',
      schema: z.enum(LOG_FORMATS),
    },
  });
}

/** Of what runs until it is told to stop. */
export const logFileOption = defineOptions({
  logFile: {
    flag: '--log-file <file>',
    description: 'where the log goes instead of standard error; opened anew at SIGHUP',
    schema: path,
  },
});

/** What is given way to others in. */
export const priorityOptions = defineOptions({
  nice: {
    flag: '--nice <n>',
    description: 'give way to other programs: 1 to 19; disks follow it on Linux',
    schema: parsed(parseNice),
  },
  ioPriority: {
    flag: '--io-priority <level>',
    description: 'give way at the disk: idle, or 0 (first) to 7 (last); by ionice, on Linux',
    schema: parsed(parseIoPriority),
    choices: IO_PRIORITIES,
  },
});

export const printConfigOption = defineOptions({
  printConfig: {
    flag: '--print-config',
    description: 'print all settings and where each comes from, as a TOML file; do nothing else',
    schema: z.boolean(),
    default: false,
    environment: false,
    file: false,
  },
});

export const jsonOption = defineOptions({
  json: {
    flag: '--json',
    description: 'as one JSON object',
    schema: z.boolean(),
    default: false,
    environment: false,
    file: false,
  },
});
