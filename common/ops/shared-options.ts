/**
 * Options that both programs have, with the same words and the same meaning.
 */
import { z } from 'zod';
import { defineOptions, parsed } from './configuration.ts';
import { LOG_FORMATS, LOG_LEVELS } from './logger.ts';
import { parseNice } from './nice.ts';

export const path = z.string().min(1, 'a path is needed');

export const logOptions = defineOptions({
  logLevel: {
    flag: '--log-level <level>',
    description: LOG_LEVELS.join(', '),
    schema: z.enum(LOG_LEVELS),
    default: 'info',
  },
  logFormat: {
    flag: '--log-format <format>',
    description: 'json or pretty; default: pretty on a terminal, json elsewhere',
    schema: z.enum(LOG_FORMATS),
  },
});

/** Of what runs until it is told to stop. */
export const logFileOption = defineOptions({
  logFile: {
    flag: '--log-file <file>',
    description: 'where the log goes instead of standard error; opened anew at SIGHUP',
    schema: path,
  },
});

export const niceOption = defineOptions({
  nice: {
    flag: '--nice <n>',
    description: 'give way to other programs: 1 to 19; disks follow it on Linux',
    schema: parsed(parseNice),
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
