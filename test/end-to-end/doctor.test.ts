/**
 * `doctor` of both programs, before and while they run.
 */
import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Exit, runToEnd } from '../support/bin-program.ts';
import { usePairs } from '../support/pair-hooks.ts';

interface Found {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly remedy?: string;
}

function findingsOf({ stdout, stderr }: Exit): ReadonlyMap<string, Found> {
  expect(stderr).to.equal('');
  const { findings } = JSON.parse(stdout) as { findings: readonly Found[] };
  return new Map(findings.map((finding) => [finding.check, finding]));
}

describe('doctor', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  const serverDoctor = (...flags: readonly string[]) =>
    runToEnd('sync-server', { arguments: ['doctor', '--json', '--http', 'off', ...flags] });

  it('of the watcher finds nothing wrong with a pair that runs (0), and the server when it is gone (1)', async () => {
    const pair = await pairs.start();
    const healthy = await pair.command('doctor', '--json', ...pair.watcherArguments);
    expect(healthy.code, healthy.stdout).to.equal(0);
    const found = findingsOf(healthy);
    expect(found.get('server')?.message).to.include('lets us in');
    expect(found.get('clock')?.level).to.equal('ok');
    expect(found.get('watcher')?.message).to.match(/^process \d+ is in step$/);
    for (const check of ['node', 'descriptors', 'directory', 'state', 'state file system'])
      expect(found.has(check), check).to.equal(true);

    const stranger = await pair.command('doctor', '--json', ...pair.watcherArguments, '--folder', 'other');
    expect(stranger.code).to.equal(1);
    expect(findingsOf(stranger).get('server')).to.include({
      level: 'fail',
      remedy: 'name one of the folders with --folder',
    });

    await pair.server.end();
    const away = await pair.command('doctor', '--json', ...pair.watcherArguments);
    expect(away.code).to.equal(1);
    expect(findingsOf(away).get('server')?.message).to.match(/^SERVER_UNREACHABLE: connect ECONNREFUSED/);
    const lines = await pair.command('doctor', ...pair.watcherArguments);
    expect(lines.stdout)
      .to.match(/^ok {4}node /m)
      .and.match(/^fail {2}server /m);
  });

  it('of the watcher says who was not let in', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    const token = ['token', 'create', '--dir', pair.replica, '--scope', 'write'];
    expect((await runToEnd('sync-server', { arguments: token })).code).to.equal(0);
    const { code, stdout } = await pair.command('doctor', '--json', ...pair.watcherArguments);
    expect(code).to.equal(1);
    expect(stdout).to.include('UNAUTHENTICATED').and.include('sync-server token create');
  });

  it('of the server looks at folders, address, certificate and tokens', async () => {
    const pair = pairs.prepare();
    const fine = await serverDoctor('--dir', join(pair.base, 'new'), '--listen', '127.0.0.1:0');
    expect(fine.code, fine.stdout).to.equal(0);
    expect(findingsOf(fine).get('replica')?.message).to.include('can be made');

    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = other.address();
    const port = typeof address === 'object' ? address?.port : 0;
    expect(
      findingsOf(await serverDoctor('--dir', pair.replica, '--listen', `127.0.0.1:${port}`)).get('listen')?.message,
    ).to.include('answers');
    other.close();

    const open = await serverDoctor('--dir', pair.replica, '--listen', '0.0.0.0:0');
    expect(open.code).to.equal(1);
    expect(findingsOf(open).get('tls')).to.include({ level: 'fail' });

    writeFileSync(join(pair.base, 'broken.pem'), 'not a certificate');
    const files = ['--tls-cert', join(pair.base, 'broken.pem'), '--tls-key', join(pair.base, 'broken.pem')];
    const broken = await serverDoctor('--dir', pair.replica, '--listen', '0.0.0.0:0', ...files);
    expect(findingsOf(broken).get('certificate')?.level).to.equal('fail');

    const certificates = join(pair.base, 'certificates');
    await runToEnd('sync-server', { arguments: ['cert', '--out', certificates, '--host', 'localhost'] });
    const good = ['--tls-cert', join(certificates, 'server.crt'), '--tls-key', join(certificates, 'server.key')];
    const closed = findingsOf(await serverDoctor('--dir', pair.replica, '--listen', '0.0.0.0:0', ...good));
    expect(closed.get('certificate')?.level).to.equal('ok');
    expect(closed.get('tokens')?.remedy).to.include('nobody can get in');
  });
});
