/**
 * What a single executable runs first: puts the program's files, which it carries, into the user's cache, once, and starts the one
 * that it is called by. Node can only run one plain script out of an executable; threads and addons need files (docs/decisions/0011).
 */
'use strict';
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const { homedir } = require('node:os');
const { basename, dirname, join } = require('node:path');
const { getAsset, getRawAsset } = require('node:sea');
const { zstdDecompressSync } = require('node:zlib');

const MAIN = {
  'sync-server': './dist/services/sync-server/main.js',
  'sync-watcher': './dist/clients/watcher/main.js',
};

function fail(sentence) {
  process.stderr.write(`lockstep: ${sentence}\n`);
  process.exit(2);
}

/** Nobody else may have written what is run here. */
function ownCache() {
  const { XDG_CACHE_HOME: configured = '' } = process.env;
  const cache = join(configured.startsWith('/') ? configured : join(homedir(), '.cache'), 'lockstep');
  try {
    fs.mkdirSync(cache, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.statSync(cache);
    if (uid !== process.getuid() || (mode & 0o022) !== 0) fail(`others may write ${cache}; set XDG_CACHE_HOME to a directory of your own`);
  } catch (error) {
    fail(`cannot use ${cache} (${error.code}); set XDG_CACHE_HOME to a directory that can be written`);
  }
  return cache;
}

/** Also after a power cut: then files may be there and empty. */
function isWhole(home, index) {
  return index.every(([name, sizeBytes]) => fs.statSync(join(home, name), { throwIfNoEntry: false })?.size === sizeBytes);
}

function unpack(cache, home, index, packed) {
  const part = fs.mkdtempSync(join(cache, 'part-'));
  const content = zstdDecompressSync(packed);
  let at = 0;
  for (const [name, sizeBytes] of index) {
    fs.mkdirSync(dirname(join(part, name)), { recursive: true });
    fs.writeFileSync(join(part, name), content.subarray(at, at + sizeBytes));
    at += sizeBytes;
  }
  fs.rmSync(home, { recursive: true, force: true });
  try {
    fs.renameSync(part, home);
  } catch (error) {
    // Another start was quicker.
    fs.rmSync(part, { recursive: true, force: true });
    if (!isWhole(home, index)) throw error;
  }
}

const name = basename(process.argv0);
const main = MAIN[name];
if (main === undefined) fail(`this is sync-server and sync-watcher in one; call it by one of these names, not ${name}`);
const packed = Buffer.from(getRawAsset('files'));
const index = JSON.parse(getAsset('index', 'utf8'));
const cache = ownCache();
const home = join(cache, createHash('sha256').update(packed).digest('hex').slice(0, 32));
if (!isWhole(home, index)) unpack(cache, home, index, packed);
// Modules are imported from a file only by what is a file itself.
createRequire(join(home, 'start.cjs'))('./start.cjs')(main);
