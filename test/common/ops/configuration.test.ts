import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Command } from 'commander';
import * as z from 'zod/mini';
import { addOptions } from '../../../common/ops/command-line.ts';
import {
  defineOptions,
  type OptionInputs,
  parsed,
  readConfigurationFile,
  resolveOptions,
} from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { parseDuration } from '../../../common/ops/units.ts';

const options = defineOptions({
  dir: { flag: '-d, --dir <dir>', description: 'the directory', schema: z.string(), required: true },
  listen: {
    flag: '--listen <addr>',
    description: 'the address',
    schema: parsed((text) => text),
    default: '127.0.0.1:50051',
  },
  scanInterval: {
    flag: '--scan-interval <duration>',
    description: 'the full rescan',
    schema: parsed(parseDuration),
    default: '10m',
  },
  exclude: {
    flag: '--exclude <pattern>',
    description: 'what to leave out',
    schema: z.array(z.string()),
    repeatable: true,
    default: [],
  },
  durable: { flag: '--durable', description: 'wait for it', schema: z.boolean(), negatable: true, default: true },
  watcher: { flag: '--watcher <kind>', description: 'how', schema: z.enum(['auto', 'poll']), default: 'auto' },
  config: { flag: '--config <file>', description: 'a file', schema: z.string(), file: false },
  token: { description: 'secret', schema: z.string(), file: false },
  folders: {
    description: 'several',
    schema: z.array(z.strictObject({ name: z.string(), dir: z.string() })),
    environment: false,
  },
});

const resolve = (inputs: Partial<OptionInputs>) =>
  resolveOptions(options, { flags: { dir: 'd' }, environment: {}, ...inputs });
const file = (content: Record<string, unknown>) => ({ path: 'lockstep.toml', content });
const typed = (...argv: string[]) => {
  const command = addOptions(new Command(), options)
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return command.parse(argv, { from: 'user' }).opts();
};

const messageOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(error).to.be.instanceOf(LockstepError).with.property('reason', 'USAGE');
    return (error as LockstepError).message;
  }
  throw new Error('expected an error');
};

describe('configuration', () => {
  it('takes flag over environment over file over default, and remembers which', () => {
    const fileContent = file({ listen: 'from-file', 'scan-interval': '3m', watcher: 'poll' });
    const environment = { LOCKSTEP_LISTEN: 'from-environment', LOCKSTEP_SCAN_INTERVAL: '2m' };
    const { values, sources } = resolve({
      flags: typed('-d', 'x', '--scan-interval', '1m'),
      environment,
      file: fileContent,
    });
    expect(values).to.include({ dir: 'x', scanInterval: 60_000, listen: 'from-environment', watcher: 'poll' });
    expect(values).to.include({ durable: true });
    expect(sources).to.include({ scanInterval: 'flag', listen: 'environment', watcher: 'file', durable: 'default' });
  });

  it('gives values the types of their schemas', () => {
    const { values } = resolve({});
    const scanIntervalMs: number = values.scanInterval;
    const exclude: string[] = values.exclude;
    const config: string | undefined = values.config;
    const watcher: 'auto' | 'poll' = values.watcher;
    expect([scanIntervalMs, exclude, config, watcher]).to.deep.equal([600_000, [], undefined, 'auto']);
  });

  it('reads switches and lists from each place', () => {
    expect(resolve({ flags: typed('-d', 'x', '--no-durable') }).values.durable).to.equal(false);
    expect(resolve({ flags: typed('-d', 'x', '--durable') }).sources.durable).to.equal('flag');
    expect(resolve({ environment: { LOCKSTEP_DURABLE: 'off' } }).values.durable).to.equal(false);
    expect(resolve({ environment: { LOCKSTEP_DURABLE: 'Yes' } }).values.durable).to.equal(true);
    expect(resolve({ file: file({ durable: false }) }).values.durable).to.equal(false);
    expect(resolve({ environment: { LOCKSTEP_NO_DURABLE: 'true' } }).values.durable).to.equal(false);
    expect(resolve({ file: file({ 'no-durable': true }) }).values.durable).to.equal(false);
    const against = { environment: { LOCKSTEP_NO_DURABLE: 'off' }, file: file({ durable: false }) };
    expect(resolve(against).values.durable).to.equal(true);
    expect(messageOf(() => resolve({ file: file({ 'no-durable': 3 }) }))).to.match(/^no-durable in lockstep.toml: /);
    const twice = typed('-d', 'x', '--exclude', 'a,b', '--exclude', 'c');
    expect(resolve({ flags: twice }).values.exclude).to.deep.equal(['a,b', 'c']);
    expect(resolve({ environment: { LOCKSTEP_EXCLUDE: 'a, b\nc' } }).values.exclude).to.deep.equal(['a', 'b', 'c']);
    expect(resolve({ file: file({ exclude: ['a', 'b'] }) }).values.exclude).to.deep.equal(['a', 'b']);
  });

  it('takes an empty variable for an unset one', () => {
    expect(resolve({ environment: { LOCKSTEP_LISTEN: '' } }).sources.listen).to.equal('default');
  });

  it('keeps secrets out of the file and off the command line', () => {
    expect(resolve({ environment: { LOCKSTEP_TOKEN: 's' } }).values.token).to.equal('s');
    expect(messageOf(() => resolve({ file: file({ token: 's' }) }))).to.include('unknown key "token"');
    expect(() => typed('-d', 'x', '--token', 's')).to.throw('unknown option');
  });

  it('names the nearest known key for an unknown one in the file', () => {
    expect(messageOf(() => resolve({ file: file({ 'scan-intervall': '1m' }) }))).to.equal(
      'unknown key "scan-intervall" in lockstep.toml; did you mean "scan-interval"?',
    );
    expect(messageOf(() => resolve({ file: file({ zzzzzz: 1 }) }))).to.equal('unknown key "zzzzzz" in lockstep.toml');
    expect(messageOf(() => resolve({ file: file({ folders: [{ name: 'a', dir: 'b', x: 1 }] }) }))).to.include(
      'folders',
    );
    resolve({ file: file({ server: 'x' }), otherFileKeys: ['server'] });
  });

  it('says which place has which wrong value', () => {
    expect(messageOf(() => resolve({ flags: { dir: 'd', scanInterval: 'soon' } }))).to.equal(
      '--scan-interval: "soon" is not a duration; write for example 10m, 5s, 250ms or 90d',
    );
    expect(messageOf(() => resolve({ environment: { LOCKSTEP_WATCHER: 'magic' } }))).to.match(/^LOCKSTEP_WATCHER: /);
    expect(messageOf(() => resolve({ environment: { LOCKSTEP_DURABLE: 'maybe' } }))).to.include('"maybe"');
    expect(messageOf(() => resolve({ file: file({ listen: ['a'] }) }))).to.match(/^listen in lockstep\.toml: /);
    expect(messageOf(() => resolve({ flags: {} }))).to.equal('--dir is required');
  });

  it('takes numbers and booleans of TOML where the command line has text', () => {
    expect(resolve({ file: file({ listen: 50051 }) }).values.listen).to.equal('50051');
  });

  it('takes no number and no boolean for a name', () => {
    for (const value of [5, true, 5n]) {
      const content = { ...file({ dir: value }), lines: new Map([['dir', 3]]) };
      expect(messageOf(() => resolve({ flags: {}, file: content }))).to.match(/^dir in lockstep\.toml:3: .*string/);
    }
  });

  it('shows flags, defaults and opposites in the help', () => {
    const help = addOptions(new Command(), options).helpInformation();
    for (const part of ['-d, --dir <dir>', '(default: 10m)', '--no-durable', 'LOCKSTEP_DURABLE=false']) {
      expect(help).to.include(part);
    }
    expect(help).to.not.include('token');
  });

  it('refuses a declaration whose flag is not named like its key', () => {
    const wrong = { listen: { flag: '--bind <addr>', description: '', schema: z.string() } };
    expect(() => defineOptions(wrong)).to.throw('"--bind <addr>"');
  });

  it('reads TOML files, and says where one is wrong', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-'));
    const path = join(directory, 'a.toml');
    writeFileSync(path, 'listen = ":1"\n[[folders]]\nname = "n"\ndir = "/d"\n');
    const { values } = resolve({ file: readConfigurationFile(path) });
    expect(values.folders).to.deep.equal([{ name: 'n', dir: '/d' }]);
    writeFileSync(path, 'listen = \n');
    expect(messageOf(() => readConfigurationFile(path))).to.match(/a\.toml:1:\d+ is not valid TOML: /);
    expect(messageOf(() => readConfigurationFile(join(directory, 'no')))).to.include('ENOENT');
    expect(messageOf(() => readConfigurationFile('a\0b'))).to.include('unreadable');
    rmSync(directory, { recursive: true });
  });
});
