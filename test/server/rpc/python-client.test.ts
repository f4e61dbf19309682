/**
 * docs/examples/python/client.py, as docs/protocol.md says it is used: stubs by grpc_tools, then each of its commands.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { REPOSITORY } from '../../support/bin-program.ts';
import { eventually } from '../../support/eventually.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { SyncFixture } from '../../support/sync-fixture.ts';

const PROGRAM = 'docs/examples/python/client.py';

describe('the client in Python', function () {
  this.timeout(60_000);
  let fixture: SyncFixture | undefined;
  let base = '';

  before(async function () {
    const probe = spawnSync('python3', ['-c', 'import grpc, grpc_tools'], { stdio: 'ignore' });
    if (probe.status !== 0) skipBecause(this, 'there is no python3 with grpcio and grpcio-tools');
    base = mkdtempSync(join(tmpdir(), 'lockstep-python-'));
    cpSync(join(REPOSITORY, PROGRAM), join(base, 'client.py'));
    const files = globSync('lockstep/sync/v1/*.proto', { cwd: join(REPOSITORY, 'proto') });
    const outputs = ['--python_out=.', '--grpc_python_out=.'];
    const made = spawnSync(
      'python3',
      ['-m', 'grpc_tools.protoc', '-I', join(REPOSITORY, 'proto'), ...outputs, ...files],
      { cwd: base, encoding: 'utf8' },
    );
    expect(made.stderr).to.equal('');
    fixture = await SyncFixture.start();
  });
  after(async () => {
    await fixture?.stop();
    if (base !== '') rmSync(base, { recursive: true, force: true });
  });

  function client(args: readonly string[], input = ''): Promise<{ readonly stdout: string; readonly stderr: string }> {
    return new Promise((resolve) => {
      const words = [join(base, 'client.py'), fixture!.server.grpc.text, ...args];
      const child = execFile('python3', words, (_error, stdout, stderr) => resolve({ stdout, stderr }));
      child.stdin?.end(input);
    });
  }

  it('writes with the directories above, lists, reads, removes, and hears of it', async () => {
    const feed = spawn('python3', [join(base, 'client.py'), fixture!.server.grpc.text, 'changes', '4']);
    let heard = '';
    feed.stdout.setEncoding('utf8').on('data', (text: string) => (heard += text));
    const feedEnded = new Promise((resolve) => feed.once('close', resolve));
    await eventually('the feed has begun', () => heard.startsWith('from revision '));
    expect(await client(['put', 'deep/er/ü'], 'content')).to.deep.equal({ stdout: 'revision 1\n', stderr: '' });
    expect((await client(['ls'])).stdout).to.equal('d 0755 0 deep\nd 0755 0 deep/er\n- 0644 7 deep/er/ü\n');
    expect((await client(['get', 'deep/er/ü'])).stdout).to.equal('content');
    expect((await client(['rm', 'deep'])).stdout).to.equal('revision 2\n');
    expect((await client(['ls'])).stdout).to.equal('');
    await feedEnded;
    expect(heard.split('\n').slice(1)).to.deep.equal([
      '1 put deep',
      '1 put deep/er',
      '1 put deep/er/ü',
      '2 delete deep',
      '',
    ]);
  });

  it('says what the server says', async () => {
    expect((await client(['get', 'none'])).stderr).to.match(/^NOT_FOUND: /);
    expect((await client(['put', '.lockstep/x'], '')).stderr).to.match(/INVALID/);
    expect((await client(['nonsense'])).stderr).to.include('./client.py ADDRESS ls [PATH]');
  });

  it('is made as its first lines say', () => {
    expect(readFileSync(join(REPOSITORY, PROGRAM), 'utf8')).to.include('python3 -m grpc_tools.protoc -I proto');
  });
});
