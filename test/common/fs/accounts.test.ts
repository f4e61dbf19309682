import { expect } from 'chai';
import fc from 'fast-check';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Accounts, parseAccounts } from '../../../common/fs/accounts.ts';
import { isAccountName, isId } from '../../../common/tree/owner.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('parseAccounts', () => {
  it('reads users and groups, by name and by number', () => {
    const users = parseAccounts('root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001:Ann,,,:/home/ann:/bin/sh\n');
    expect([...users.nameOf]).to.deep.equal([
      [0, 'root'],
      [1000, 'ann'],
    ]);
    expect(users.idOf.get('ann')).to.equal(1000);
    const groups = parseAccounts('wheel:x:10:ann,bob\nempty:x:11:');
    expect(groups.idOf.get('wheel')).to.equal(10);
    expect(groups.nameOf.get(11)).to.equal('empty');
  });

  it('takes the first of several lines with a name or a number', () => {
    const { nameOf, idOf } = parseAccounts('root:x:0:\ntoor:x:0:\nroot:x:5:\n');
    expect(nameOf.get(0)).to.equal('root');
    expect(idOf.get('toor')).to.equal(0);
    expect(idOf.get('root')).to.equal(0);
  });

  it('passes over what is no account', () => {
    const lines = [
      '',
      '# comment:x:1:',
      '+::::::',
      '-nobody::::::',
      'nothing',
      'short:x',
      'empty:x::',
      'negative:x:-1:',
      'wide:x:4294967295:',
      'wider:x:99999999999999999999:',
      'hex:x:0x10:',
      'float:x:1.5:',
      'space :x:7:',
      ':x:8:',
      'bi\u202edi:x:9:',
      `${'x'.repeat(65)}:x:10:`,
      'good:x:11:',
      '\0:x:12:',
    ];
    const { nameOf, idOf } = parseAccounts(lines.join('\n'));
    expect([...nameOf]).to.deep.equal([[11, 'good']]);
    expect([...idOf]).to.deep.equal([['good', 11]]);
  });

  it('finds in any text only what may be an account', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.stringMatching(/^([a-z:0-9\n+-]{0,20}:x?:[0-9]{0,11}(:|\n))*$/),
    );
    fc.assert(
      fc.property(text, (found) => {
        const { nameOf, idOf } = parseAccounts(found);
        for (const [id, name] of nameOf) expect(isId(id) && isAccountName(name)).to.equal(true);
        for (const [name, id] of idOf) expect(isId(id) && isAccountName(name)).to.equal(true);
      }),
    );
  });
});

describe('Accounts', () => {
  const temporary = useTemporaryDirectory();

  it('reads the files again when they change, and looks at them once a second at most', () => {
    const files = { users: join(temporary.path, 'passwd'), groups: join(temporary.path, 'group') };
    let nowMs = 0;
    const accounts = new Accounts(files, () => nowMs);
    const ann = () => {
      const version = accounts.refresh();
      return [version, accounts.users.nameOf.get(1000), accounts.groups.nameOf.get(1000)];
    };
    expect(ann()).to.deep.equal([0, undefined, undefined]);
    writeFileSync(files.users, 'ann:x:1000:1000:::\n');
    nowMs = 999;
    expect(ann()).to.deep.equal([0, undefined, undefined]);
    nowMs = 1000;
    expect(ann()).to.deep.equal([1, 'ann', undefined]);
    writeFileSync(files.groups, 'staff:x:1000:\n');
    nowMs = 2000;
    expect(ann()).to.deep.equal([2, 'ann', 'staff']);
    nowMs = 3000;
    expect(ann()).to.deep.equal([2, 'ann', 'staff']);
    rmSync(files.users);
    nowMs = 4000;
    expect(ann()).to.deep.equal([3, undefined, 'staff']);
    rmSync(files.groups);
    mkdirSync(files.groups);
    nowMs = 5000;
    expect(ann()).to.deep.equal([4, undefined, undefined]);
  });
});
