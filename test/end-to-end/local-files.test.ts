/**
 * Large files that a server on the watcher's machine reads itself, through two real processes.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PairOptions } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';

const SIZE = 6_000_000;
const NOBODY = 65_534;
/** What changes, acknowledgements and their like take. */
const TALK_BYTES = 20_000;

describe('a large file, to a server on the same machine', function () {
  this.timeout(60_000);
  const pairs = usePairs();
  /** They talk through a proxy that counts, and may use files nevertheless. */
  const start = (options: PairOptions = {}) =>
    pairs.start({ counting: true, watcherFlags: ['--local-files'], ...options });

  it('is not sent, neither new nor edited nor longer', async () => {
    const pair = await start();
    const file = join(pair.source, 'large');
    const content = randomBytes(SIZE);
    const sent = await pair.proxy.sentDuring(async () => {
      writeFileSync(file, content);
      await pair.inStep();
      const fd = openSync(file, 'r+');
      writeSync(fd, 'edited', SIZE / 2);
      closeSync(fd);
      await pair.inStep();
      writeFileSync(file, Buffer.concat([content.subarray(0, 1000), Buffer.from('inserted'), content.subarray(1000)]));
      await pair.inStep();
    });
    expect(sent).to.be.below(3 * TALK_BYTES);
    expect(readFileSync(join(pair.replica, 'large')).subarray(1000, 1008).toString()).to.equal('inserted');
  });

  it('of which only the time is new is not copied again (E75)', async () => {
    const pair = await start();
    writeFileSync(join(pair.source, 'large'), randomBytes(SIZE));
    await pair.inStep();
    const { ino } = statSync(join(pair.replica, 'large'));
    utimesSync(join(pair.source, 'large'), 1000, 1000);
    await pair.inStep();
    expect(statSync(join(pair.replica, 'large')).ino).to.equal(ino);
    const staged = readdirSync(join(pair.replica, '.lockstep', 'staging'));
    expect(staged.filter((name) => /^[cu]-/.test(name))).to.deep.equal([]);
  });

  it('arrives under whatever name it has (E03, E05)', async () => {
    const pair = await start();
    const names = ['a\nb', ' ', '%41', 'ä', Buffer.from([0x66, 0xff, 0xfe]).toString('latin1')];
    const sent = await pair.proxy.sentDuring(async () => {
      for (const name of names) {
        const path = Buffer.concat([
          Buffer.from(`${pair.source}/`),
          Buffer.from(name, name === 'ä' ? 'utf8' : 'latin1'),
        ]);
        writeFileSync(path, randomBytes(1_000_000));
      }
      await pair.inStep();
    });
    expect(sent).to.be.below(TALK_BYTES * names.length);
  });

  it('that changes while it is read arrives as it is at the end (E37)', async () => {
    const pair = await start();
    for (let round = 0; round < 30; round++) {
      writeFileSync(join(pair.source, 'large'), Buffer.alloc(SIZE, round + 1));
      await new Promise((resolve) => setTimeout(resolve, 7));
    }
    await pair.inStep();
  });

  it('is not sent after a restart of the server either, which has another key then', async () => {
    const pair = await start();
    await pair.server.end();
    await pair.startServer();
    const sent = await pair.proxy.sentDuring(async () => {
      writeFileSync(join(pair.source, 'large'), randomBytes(SIZE));
      await pair.inStep();
    });
    expect(sent).to.be.below(2 * TALK_BYTES);
  });

  it('is sent with --no-local-files, and where it was said how much may be sent', async () => {
    for (const flags of [['--no-local-files'], ['--local-files', '--bandwidth-limit', '100MB/s']]) {
      const pair = await start({ watcherFlags: flags });
      const sent = await pair.proxy.sentDuring(async () => {
        writeFileSync(join(pair.source, 'large'), randomBytes(SIZE));
        await pair.inStep();
      });
      expect(sent).to.be.above(SIZE);
    }
  });

  it('is sent where only the watcher may read it, and where the watcher may not read the key (S41)', async function () {
    if (process.getuid?.() !== 0) skipBecause(this, 'needs root, to run programs as another user');
    for (const users of [{ serverUid: NOBODY }, { watcherUid: NOBODY }]) {
      const pair = await start({
        ...users,
        prepare: ({ base, source }) => {
          chmodSync(base, 0o755);
          chmodSync(source, 'serverUid' in users ? 0o700 : 0o755);
        },
      });
      const sent = await pair.proxy.sentDuring(async () => {
        mkdirSync(join(pair.source, 'directory'));
        writeFileSync(join(pair.source, 'directory/large'), randomBytes(SIZE));
        await pair.inStep();
      });
      expect(sent).to.be.above(SIZE);
    }
  });

  it('is sent when the key is gone', async () => {
    const pair = await start();
    rmSync(join(pair.replica, '.lockstep/local-key'));
    await pair.watcher.end();
    await pair.startWatcher();
    const sent = await pair.proxy.sentDuring(async () => {
      writeFileSync(join(pair.source, 'large'), randomBytes(SIZE));
      await pair.inStep();
    });
    expect(sent).to.be.above(SIZE);
  });
});
