/**
 * Links that a local user plants where the replica keeps what is its own: staging and trash are opened as directories, by
 * handle, and never through a link (S08).
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openFolder } from '../../../services/sync-server/open-folder.ts';
import { deletePath, makeDirectory, putFile, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

describe("a link in the place of the replica's own directories (S08)", function () {
  this.timeout(15_000);
  let outside: string;
  beforeEach(() => {
    outside = mkdtempSync(join(tmpdir(), 'lockstep-outside-'));
    writeFileSync(join(outside, 'b-1-0'), 'sentinel');
    mkdirSync(join(outside, 'u-directory'));
  });
  afterEach(() => rmSync(outside, { recursive: true, force: true }));

  const expectUntouched = () => {
    expect(readdirSync(outside).sort()).to.deep.equal(['b-1-0', 'u-directory']);
    expect(readFileSync(join(outside, 'b-1-0'), 'utf8')).to.equal('sentinel');
  };

  it('before the start: the folder is not served, and nothing behind the link is swept or written', async () => {
    const base = mkdtempSync(join(tmpdir(), 'lockstep-planted-'));
    const directory = join(base, 'default');
    mkdirSync(join(directory, '.lockstep'), { recursive: true });
    symlinkSync(outside, join(directory, '.lockstep/staging'));
    const folders = [{ name: 'default', directory, stateDirectory: join(base, 'state') }];
    let fixture: SyncFixture | undefined;
    const started = await reasonOf(
      (async () => {
        fixture = await SyncFixture.start({ openFolder, setup: { folders } });
        await fixture.apply(makeDirectory('d'), putFile('d/f', 'content'), deletePath('d'));
      })(),
    );
    await fixture?.stop();
    rmSync(base, { recursive: true, force: true });
    expectUntouched();
    expect(started).not.to.equal('no error');
  });

  it('while it serves: what comes then is staged elsewhere or refused', async () => {
    const fixture = await SyncFixture.start({ openFolder });
    await fixture.apply(putFile('before', 'content'));
    const staging = join(fixture.stateDirectory(), 'staging');
    renameSync(staging, `${staging}.moved`);
    symlinkSync(outside, staging);
    const applied = await reasonOf(fixture.apply(makeDirectory('d'), putFile('d/f', 'content'), deletePath('before')));
    await fixture.stop();
    expectUntouched();
    expect(applied).not.to.equal('INTERNAL');
  });
});
