/**
 * Which folders a command is about.
 */
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse } from 'smol-toml';
import { expect } from 'chai';
import { allFolders, ensureDirectory, oneFolder } from '../../../services/sync-server/commands/folders.ts';

const none = { dir: undefined, state: undefined, folder: undefined };
const file = (toml: string) => ({ path: 'server.toml', content: parse(toml) });
const two = file('[[folder]]\nname = "a"\ndir = "/srv/a"\n[[folder]]\nname = "b"\ndir = "/srv/b"\nstate = "/var/b"\n');

describe('folders of a command', () => {
  it('is the one of --dir, with its state inside', () => {
    expect(allFolders({ ...none, dir: 'x' }, undefined)).to.deep.equal([
      { name: 'default', directory: resolve('x'), stateDirectory: resolve('x/.lockstep'), refusesEscapingLinks: false },
    ]);
    expect(allFolders({ dir: 'x', state: 'y', folder: 'n' }, undefined)).to.deep.equal([
      { name: 'n', directory: resolve('x'), stateDirectory: resolve('y'), refusesEscapingLinks: false },
    ]);
  });

  it('are those of the file’s tables', () => {
    expect(allFolders(none, two)).to.deep.equal([
      { name: 'a', directory: '/srv/a', stateDirectory: '/srv/a/.lockstep', refusesEscapingLinks: false },
      { name: 'b', directory: '/srv/b', stateDirectory: '/var/b', refusesEscapingLinks: false },
    ]);
  });

  it('refuses escaping links when told to, for all or for one', () => {
    const refusing = (toml: string, refuseEscapingLinks?: boolean) =>
      allFolders({ ...none, refuseEscapingLinks }, file(toml)).map((folder) => folder.refusesEscapingLinks);
    const table = (name: string, more = '') => `[[folder]]\nname = "${name}"\ndir = "/srv/${name}"\n${more}\n`;
    expect(refusing(table('a') + table('b', 'refuse-escaping-links = true'))).to.deep.equal([false, true]);
    expect(refusing(table('a') + table('b', 'refuse-escaping-links = false'), true)).to.deep.equal([true, false]);
    expect(allFolders({ ...none, dir: 'x', refuseEscapingLinks: true }, undefined)[0]?.refusesEscapingLinks).to.equal(
      true,
    );
    expect(() => refusing(table('a', 'refuse-escaping-links = "yes"'))).to.throw(/must be true or false/);
  });

  it('keeps owners when told to, for all or for one', () => {
    expect(allFolders({ ...none, dir: 'x', owner: true }, undefined)[0]).to.have.property('keepsOwners', true);
    const one = file(
      '[[folder]]\nname = "a"\ndir = "/srv/a"\nowner = true\n[[folder]]\nname = "b"\ndir = "/srv/b"\nowner = false',
    );
    expect(allFolders(none, one).map(({ keepsOwners }) => keepsOwners === true)).to.deep.equal([true, false]);
    expect(allFolders({ ...none, owner: true }, one).map(({ keepsOwners }) => keepsOwners === true)).to.deep.equal([
      true,
      false,
    ]);
    expect(allFolders({ ...none, owner: true }, two)[1]).to.have.property('keepsOwners', true);
    const text = file('[[folder]]\nname = "a"\ndir = "/srv/a"\nowner = "yes"');
    expect(() => allFolders(none, text)).to.throw(/owner must be true or false/);
  });

  it('has the name that the file gives to the only one', () => {
    expect(allFolders({ ...none, dir: 'x' }, file('folder = "docs"'))[0]).to.have.property('name', 'docs');
  });

  it('is the one that --folder names among several', () => {
    expect(oneFolder({ ...none, folder: 'b' }, two)).to.have.property('directory', '/srv/b');
    expect(() => oneFolder(none, two)).to.throw(/tell which folder with --folder: a, b/);
    expect(() => oneFolder({ ...none, folder: 'c' }, two)).to.throw(/no folder "c"; there are: a, b/);
  });

  it('refuses what is missing, doubled, mixed or misspelt, each in a sentence', () => {
    expect(() => allFolders(none, undefined)).to.throw(/--dir DIR/);
    expect(() => allFolders({ ...none, dir: 'x' }, two)).to.throw(/not beside them/);
    const same = '[[folder]]\nname = "a"\ndir = "/srv/a"\n[[folder]]\nname = "a"\ndir = "/srv/b"\n';
    expect(() => allFolders(none, file(same))).to.throw(/same name: a/);
    expect(() => allFolders(none, file(same.replaceAll('/srv/b', '/srv/a').replace('"a"', '"c"')))).to.throw(
      /same dir/,
    );
    expect(() => allFolders(none, file('[[folder]]\nname = "a"\npath = "/srv"'))).to.throw(/name, dir/);
    expect(() => allFolders(none, file('[[folder]]\nnmae = "a"\ndir = "/srv"'))).to.throw(
      /unknown key "nmae" in server.toml/,
    );
    expect(() => allFolders(none, file('[[folder]]\nname = "a"\ndirr = "/srv"'))).to.throw(/did you mean "dir"\?/);
    expect(() => allFolders(none, file('[[folder]]\nname = "a"\ndir = 3'))).to.throw(/dir must be a text/);
    expect(() => allFolders(none, file('folder = 5'))).to.throw(/folder in .* must be a text, or tables/);
    expect(() => allFolders(none, file('[folder]\nname = "a"'))).to.throw(/must be tables, each headed \[\[folder\]\]/);
    expect(() => allFolders({ ...none, dir: 'x', folder: 'a\nb' }, undefined)).to.throw(/printable/);
  });

  it('lie apart: none has its directory or its state in the directory of another one (E11)', () => {
    const inside = (more: string) => `[[folder]]\nname = "a"\ndir = "/srv/a"\n[[folder]]\nname = "b"\n${more}\n`;
    expect(() => allFolders(none, file(inside('dir = "/srv/a/x/b"')))).to.throw(
      '/srv/a/x/b of folder "b" lies inside /srv/a, the directory of folder "a"',
    );
    expect(() => allFolders(none, file(inside('dir = "/srv/b"\nstate = "/srv/a/s"')))).to.throw(
      /^\/srv\/a\/s of folder/,
    );
    expect(allFolders(none, file(inside('dir = "/srv/ab"')))).to.have.length(2);
  });

  it('are not made inside of a replica, wherever its state is (E11)', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-folders-'));
    const folder = { name: 'b', stateDirectory: '', refusesEscapingLinks: false };
    for (const sign of ['staging', 'index.db']) {
      const replica = join(directory, sign);
      mkdirSync(join(replica, '.lockstep', sign), { recursive: true });
      ensureDirectory({ ...folder, directory: replica });
      expect(() => ensureDirectory({ ...folder, directory: join(replica, 'x/y') })).to.throw(
        `lies inside ${replica}, which is a server's replica`,
      );
    }
    rmSync(directory, { recursive: true });
  });

  it('are created with their parents; a file in the way is named', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-folders-'));
    ensureDirectory({
      name: 'a',
      directory: join(directory, 'x/y/z'),
      stateDirectory: '',
      refusesEscapingLinks: false,
    });
    writeFileSync(join(directory, 'file'), '');
    for (const path of ['file', 'file/below']) {
      expect(() =>
        ensureDirectory({
          name: 'a',
          directory: join(directory, path),
          stateDirectory: '',
          refusesEscapingLinks: false,
        }),
      )
        .to.throw(/not a directory; give another --dir/)
        .with.property('reason', 'USAGE');
    }
    rmSync(directory, { recursive: true });
  });
});
