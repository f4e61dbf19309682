/**
 * Owners: carried where both sides were told to, by number and by name, and told where the system does not permit them.
 */
import { expect } from 'chai';
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from '../support/bin-program.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs, useSharedPair } from '../support/pair-hooks.ts';
import { noise, put, run } from '../support/writing.ts';

const isRoot = process.geteuid?.() === 0;
const WITH_OWNERS = { withOwners: true } as const;
const SMALL_TALK_BYTES = 50_000;
const LARGE_BYTES = 2_000_000;
const BY_NUMBER = { serverFlags: ['--owner'], watcherFlags: ['--owner', 'number'] } as const;
/** Of nobody on any machine. */
const STRANGER = 61_234;

function requireRoot(this: Mocha.Context): void {
  if (!isRoot) skipBecause(this, 'only root may give files to others');
}

function give(root: string, path: string, uid: number, gid: number): void {
  lchownSync(join(root, path), uid, gid);
}

function ownerOf(path: string): string {
  const { uid, gid } = lstatSync(path);
  return `${uid}:${gid}`;
}

/** Files, directories and links of several owners, some inside of others. */
function putAll(root: string): void {
  put(root, 'of-root.txt');
  put(root, 'of-others/deeper/file.txt');
  put(root, 'of-others/large.bin', noise(LARGE_BYTES, 'owners'));
  put(root, 'of-others/empty', '');
  symlinkSync('deeper/file.txt', join(root, 'of-others/link'));
  symlinkSync('nowhere', join(root, 'dangling'));
  give(root, 'of-others', 1001, 1002);
  give(root, 'of-others/deeper', 1003, 0);
  give(root, 'of-others/deeper/file.txt', 0, 1004);
  give(root, 'of-others/large.bin', 4_000_000_000, 4_294_967_294);
  give(root, 'of-others/empty', 1001, 1001);
  give(root, 'of-others/link', 1005, 1006);
  give(root, 'dangling', 1007, 1007);
  chmodSync(join(root, 'of-others/deeper'), 0o550);
  chmodSync(join(root, 'of-others/empty'), 0o000);
}

(isRoot ? describe : describe.skip)('owners by number', () => {
  const shared = useSharedPair({ ...BY_NUMBER, counting: true });
  const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
  const replica = (...names: readonly string[]) => join(shared.pair.replica, ...names);

  it('are those of files, directories and links, large and small (E79)', async () => {
    putAll(source());
    await shared.pair.inStep(WITH_OWNERS);
    expect(ownerOf(replica('of-others/large.bin'))).to.equal('4000000000:4294967294');
  });

  it('move no content when nothing else changes (E75, E79)', async () => {
    put(source(), 'chown/large.bin', noise(LARGE_BYTES, 'chown'));
    put(source(), 'chown/small.txt');
    symlinkSync('small.txt', source('chown/link'));
    await shared.pair.inStep(WITH_OWNERS);
    const sentBytes = await shared.pair.proxy.sentDuring(async () => {
      run('chown', ['-hR', '2001:2002', source('chown')]);
      await shared.pair.inStep(WITH_OWNERS);
      run('chown', ['-hR', ':2003', source('chown')]);
      await shared.pair.inStep(WITH_OWNERS);
    });
    expect(sentBytes).to.be.below(SMALL_TALK_BYTES);
    expect(ownerOf(replica('chown/link'))).to.equal('2001:2003');
  });

  it('change together with all else: modes, contents, names, kinds', async () => {
    for (const name of ['mode', 'content', 'name', 'kind']) put(source(), `all/${name}`, noise(1000, name));
    await shared.pair.inStep(WITH_OWNERS);
    chmodSync(source('all/mode'), 0o604);
    give(source(), 'all/mode', 3001, 3001);
    writeFileSync(source('all/content'), 'another');
    give(source(), 'all/content', 3002, 3002);
    renameSync(source('all/name'), source('all/renamed'));
    give(source(), 'all/renamed', 3003, 3003);
    rmSync(source('all/kind'));
    symlinkSync('renamed', source('all/kind'));
    give(source(), 'all/kind', 3004, 3004);
    give(source(), 'all', 3005, 3005);
    await shared.pair.inStep(WITH_OWNERS);
  });

  it('leave the two directories themselves to who set them up', async () => {
    chownSync(source(), STRANGER, STRANGER);
    chmodSync(source(), 0o751);
    await shared.pair.inStep(WITH_OWNERS);
    expect(ownerOf(replica())).to.equal('0:0');
    chownSync(source(), 0, 0);
  });
});

describe('owners', function () {
  this.timeout(180_000);
  const pairs = usePairs();
  const verify = (pair: Pair) => pair.command('verify', ...pair.watcherArguments, '--owner', 'number');
  const verifyReplica = ({ replica }: Pair) =>
    runToEnd('sync-server', { arguments: ['verify', '--dir', replica, '--owner', '--log-level', 'error'] });

  it('are as they were after a crash of the server, and come again when either index is lost', async function () {
    requireRoot.call(this);
    const pair = await pairs.start({ ...BY_NUMBER, prepare: ({ source }) => putAll(source) });
    give(pair.source, 'of-root.txt', 5001, 5001);
    await pair.inStep(WITH_OWNERS);
    await pair.server.end('SIGKILL');
    give(pair.source, 'of-others/empty', 5002, 5002);
    give(pair.source, 'of-others/link', 5003, 5003);
    await pair.startServer();
    await pair.follows(WITH_OWNERS);
    await pair.inStep(WITH_OWNERS);

    await pair.watcher.end('SIGTERM');
    rmSync(pair.watcherState, { recursive: true });
    give(pair.source, 'of-others', 5004, 5004);
    await pair.startWatcher();
    await pair.inStep(WITH_OWNERS);

    await pair.server.end('SIGTERM');
    const state = join(pair.replica, '.lockstep');
    for (const name of readdirSync(state)) if (name.startsWith('index.db')) rmSync(join(state, name));
    give(pair.replica, 'of-root.txt', 0, 0);
    await pair.startServer();
    await pair.follows(WITH_OWNERS);
    expect((await verify(pair)).stdout).to.equal('');
  });

  it('that somebody changed are told by both verifications, and put back', async function () {
    requireRoot.call(this);
    const pair = await pairs.start({ ...BY_NUMBER, prepare: ({ source }) => putAll(source) });
    await pair.inStep(WITH_OWNERS);
    await pair.watcher.end('SIGTERM');
    give(pair.source, 'of-root.txt', STRANGER, 0);
    expect((await verify(pair)).stdout).to.equal(`owner       of-root.txt  (${STRANGER}:0 here, 0:0 there)\n`);
    await pair.server.end('SIGTERM');
    give(pair.replica, 'of-others', 0, STRANGER);
    give(pair.replica, 'dangling', 0, 0);
    const { stdout } = await verifyReplica(pair);
    expect(stdout.trim().split('\n').sort()).to.deep.equal([
      'metadata\tdangling\tdangling has another owner than the index says',
      'metadata\tof-others\tof-others has another owner than the index says',
    ]);
    await pair.startServer();
    await pair.startWatcher();
    await pair.inStep(WITH_OWNERS);
  });

  it('come when both sides are told to keep them, for what is there already; no content is read for that', async function () {
    requireRoot.call(this);
    const pair = await pairs.start({ prepare: ({ source }) => putAll(source) });
    await pair.inStep();
    expect(ownerOf(join(pair.replica, 'of-others/large.bin'))).to.equal('0:0');
    await pair.watcher.end('SIGTERM');
    await pair.server.end('SIGTERM');
    await pair.startServer(['--owner']);
    const planned = await pair.command(...pair.watcherArguments, '--owner', 'number', '--dry-run', '--progress', 'off');
    expect(planned.stdout.trim().split('\n').sort()).to.deep.equal(
      [
        '.L....og... dangling -> nowhere',
        '.L....og... of-others/link -> deeper/file.txt',
        '.d....og... of-others/',
        '.d....og... of-others/deeper/',
        '.f....og... of-others/deeper/file.txt',
        '.f....og... of-others/empty',
        '.f....og... of-others/large.bin',
        '.f....og... of-root.txt',
      ].sort(),
    );
    const { atimeNs } = lstatSync(join(pair.source, 'of-others/large.bin'), { bigint: true });
    await pair.startWatcher(['--owner', 'number']);
    await pair.inStep(WITH_OWNERS);
    expect(lstatSync(join(pair.source, 'of-others/large.bin'), { bigint: true }).atimeNs).to.equal(atimeNs);
    await pair.watcher.end('SIGTERM');
    run('chown', ['-h', '7001', join(pair.source, 'of-root.txt')]);
    run('chown', ['-h', ':7001', join(pair.source, 'dangling')]);
    const again = await pair.command(...pair.watcherArguments, '--owner', 'number', '--dry-run', '--progress', 'off');
    expect(again.stdout.trim().split('\n').sort()).to.deep.equal([
      '.L.....g... dangling -> nowhere',
      '.f....o.... of-root.txt',
    ]);
  });

  it('stay what they are when the watcher is told to carry them no more', async function () {
    requireRoot.call(this);
    const pair = await pairs.start({ ...BY_NUMBER, prepare: ({ source }) => putAll(source) });
    await pair.inStep(WITH_OWNERS);
    await pair.watcher.end('SIGTERM');
    await pair.startWatcher(['--owner', 'off']);
    chmodSync(join(pair.source, 'of-others/large.bin'), 0o600);
    await pair.inStep(WITH_OWNERS);
    put(pair.source, 'of-others/deeper/file.txt', 'new');
    await pair.inStep();
    expect(ownerOf(join(pair.replica, 'of-others/deeper/file.txt'))).to.equal('0:0');
  });

  it('are refused, in one sentence, where the server does not keep them (E79)', async () => {
    const pair = pairs.prepare({ prepare: ({ source }) => void put(source, 'file') });
    await pair.startServer();
    for (const mode of [['--once'], [], ['--dry-run']]) {
      const { code, stderr } = await pair.command(
        ...pair.watcherArguments,
        '--owner',
        'name',
        '--progress',
        'off',
        ...mode,
      );
      expect(code).to.equal(2);
      expect(stderr).to.contain('does not keep owners for the folder "default"; start it with --owner');
    }
    await pair.startWatcher();
    await pair.inStep();
  });

  /** A server that may give nothing away, and a tree of many owners. */
  const restricted = () =>
    pairs.start({
      ...BY_NUMBER,
      serverUid: STRANGER,
      serverFlags: ['--owner', '--http', '127.0.0.1:0'],
      prepare: ({ source }) => {
        putAll(source);
        put(source, 'own');
        give(source, 'own', STRANGER, STRANGER);
      },
    });

  it('that the system does not permit are told once, counted, and keep nothing else from arriving (E79)', async function () {
    requireRoot.call(this);
    const pair = await restricted();
    await pair.inStep();
    const serversOwn = `${STRANGER}:${STRANGER}`;
    expect(ownerOf(join(pair.replica, 'own'))).to.equal(serversOwn);
    expect(ownerOf(join(pair.replica, 'of-others/large.bin'))).to.equal(serversOwn);
    give(pair.source, 'of-others/empty', 8001, 8001);
    await pair.inStep();
    expect((await pair.status())['problem_count']).to.equal(0);
    const report = pair.server.report();
    expect(report.match(/does not let this server give entries/g)).to.have.lengthOf(1);
    const address = /"http":"([^"]+)"/.exec(report)?.[1];
    const metrics = await (await fetch(`http://${address}/metrics`)).text();
    expect(metrics).to.contain('lockstep_folder_ready{folder="default"} 0');
    const refusals = /lockstep_owner_refusals_total\{folder="default"\} (\d+)/.exec(metrics)?.[1];
    expect(Number(refusals)).to.be.greaterThanOrEqual(8);
  });

  it('that the system does not permit are not asked for again when the server looks through its replica', async function () {
    requireRoot.call(this);
    const pair = await restricted();
    await pair.inStep();
    const { revision } = await pair.status();
    await pair.server.end('SIGTERM');
    await pair.startServer();
    put(pair.source, 'of-others/empty', 'no longer');
    await pair.follows();
    await pair.flush();
    // One for the file.
    expect(Number((await pair.status())['revision'])).to.equal(Number(revision) + 1);
    expect(pair.server.report()).to.contain('does not let this server give entries');
  });

  it('need no root, only the right to give files away and to work in what is given away', async function () {
    requireRoot.call(this);
    const capabilities = '+chown,+fowner,+dac_override';
    const user = ['--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups'];
    const pair = await pairs.start({
      ...BY_NUMBER,
      serverWrapper: ['setpriv', ...user, '--inh-caps', capabilities, '--ambient-caps', capabilities],
      prepare: ({ base, source, replica }) => {
        for (const own of [base, replica]) chownSync(own, STRANGER, STRANGER);
        putAll(source);
      },
    });
    await pair.inStep(WITH_OWNERS);
    put(pair.source, 'of-others/deeper/another');
    give(pair.source, 'of-others/empty', 9001, 9001);
    give(pair.source, 'of-others/deeper', 9002, 9002);
    await pair.inStep({ except: (path) => path.endsWith('another') });
    await pair.inStep();
    expect(ownerOf(join(pair.replica, 'of-others/deeper'))).to.equal('9002:9002');
    // What it may do more than its user it does for nobody else of that user.
    expect(readdirSync(join(pair.replica, '.lockstep'))).not.to.include('local-key');
  });

  it('are tried by the doctor, who says what is missing', async function () {
    requireRoot.call(this);
    const pair = pairs.prepare({
      prepare: ({ base, replica }) => {
        for (const own of [base, replica]) chownSync(own, STRANGER, STRANGER);
      },
    });
    const user = ['--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups'];
    const examined = async (capabilities: string, ...flags: readonly string[]) => {
      const { stdout } = await runToEnd('sync-server', {
        arguments: ['doctor', '--json', '--http', 'off', '--listen', '127.0.0.1:0', '--dir', pair.replica, ...flags],
        wrapper: ['setpriv', ...user, '--inh-caps', capabilities, '--ambient-caps', capabilities],
      });
      const { findings } = JSON.parse(stdout) as { findings: readonly Readonly<Record<string, string>>[] };
      return findings.find(({ check }) => check === 'owners');
    };
    expect(await examined('-all')).to.equal(undefined);
    const nothing = await examined('-all', '--owner');
    expect(nothing).to.include({ level: 'fail', message: 'this process may not give files to other users (EPERM)' });
    expect(nothing?.['remedy']).to.match(/^run it as root, or give it CAP_CHOWN/);
    const half = await examined('+chown', '--owner');
    expect(half?.['message']).to.match(/without CAP_FOWNER, CAP_DAC_OVERRIDE$/);
    expect(await examined('+chown,+fowner,+dac_override', '--owner')).to.include({ level: 'ok' });
    expect(readdirSync(pair.replica)).to.deep.equal([]);
  });

  it('have their names, which win over numbers where the server knows them', async function () {
    requireRoot.call(this);
    const pair = pairs.prepare();
    writeFileSync(join(pair.base, 'passwd'), 'root:x:0:0::/root:/bin/sh\ndaemon:x:7001:7002::/:/bin/false\n');
    writeFileSync(join(pair.base, 'group'), 'root:x:0:\ndaemon:x:7003:\n');
    const mounted = ['passwd', 'group']
      .map((name) => `mount --bind ${join(pair.base, name)} /etc/${name}`)
      .join(' && ');
    const wrapper = ['unshare', '--mount', 'sh', '-c', `${mounted} && exec "$@"`, 'sh'];
    try {
      run(wrapper[0] ?? '', [...wrapper.slice(1), 'true']);
    } catch (error) {
      skipBecause(this, `no mount namespace can be made here: ${String(error)}`);
    }
    const other = await pairs.start({
      serverFlags: ['--owner'],
      watcherFlags: ['--owner', 'name'],
      serverWrapper: wrapper,
      prepare: ({ source }) => {
        put(source, 'known');
        give(source, 'known', Number(run('id', ['-u', 'daemon'])), Number(run('id', ['-g', 'daemon'])));
        put(source, 'unknown');
        give(source, 'unknown', STRANGER, STRANGER);
      },
    });
    await other.inStep();
    expect(ownerOf(join(other.replica, 'known'))).to.equal('7001:7003');
    expect(ownerOf(join(other.replica, 'unknown'))).to.equal(`${STRANGER}:${STRANGER}`);
  });
});
