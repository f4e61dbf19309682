/**
 * The files of deploy/ and of the CI: each is what its format says, and each flag, variable, port, path and target in them is one
 * that the programs and the Makefile have.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadAll } from 'js-yaml';
import { buildProgram as buildWatcher } from '../../clients/watcher/cli.ts';
import { watchOptions } from '../../clients/watcher/commands/options.ts';
import { environmentNameOf, type OptionDeclarations, resolveOptions } from '../../common/ops/configuration.ts';
import { buildProgram as buildServer } from '../../services/sync-server/cli.ts';
import { serveOptions } from '../../services/sync-server/commands/options.ts';
import { REPOSITORY } from '../support/bin-program.ts';
import { parsePlist } from '../support/plist.ts';

type Json = Readonly<Record<string, unknown>>;
type Program = 'sync-server' | 'sync-watcher';

const read = (name: string) => readFileSync(join(REPOSITORY, name), 'utf8');
const yaml = (name: string) => loadAll(read(name)) as readonly Json[];
/** Follows keys and indices. */
const at = (value: unknown, ...path: readonly (string | number)[]): unknown =>
  path.reduce((inner, key) => (inner as Record<string | number, unknown>)[key], value);

const DECLARATIONS: Readonly<Record<Program, OptionDeclarations>> = {
  'sync-server': serveOptions,
  'sync-watcher': watchOptions,
};

/** As the program would take it. @throws when a flag is not known or a value is wrong */
async function taken(program: Program, args: readonly string[]): Promise<Json> {
  let flags: Json | undefined;
  const built =
    program === 'sync-watcher'
      ? buildWatcher(async (_action, given) => {
          flags = given;
        })
      : buildServer(
          { environment: {}, openFolder: async () => Promise.reject(new Error('not here')), version: '0' },
          () => {
            return async (given) => {
              flags = given;
            };
          },
        );
  for (const command of [built.program, ...built.program.commands]) {
    command.exitOverride((error) => {
      throw new Error(`${args.join(' ')}: ${error.message}`);
    });
    command.configureOutput({ writeErr: () => {} });
  }
  await built.program.parseAsync(['node', program, ...args]);
  expect(flags, args.join(' ')).not.to.equal(undefined);
  // What a file would say is not there to be looked at.
  const { config, ...others } = flags ?? {};
  if (config !== undefined) return flags ?? {};
  return resolveOptions(DECLARATIONS[program], { flags: others, environment: {} }).values;
}

function knownVariables(): ReadonlySet<string> {
  const names = Object.values(DECLARATIONS).flatMap((declarations) =>
    Object.entries(declarations).map(([key, declaration]) => environmentNameOf(key, declaration)),
  );
  return new Set(names.filter((name) => name !== undefined));
}

describe('deploy/kubernetes/sync-server.yaml', () => {
  const [service, set] = yaml('deploy/kubernetes/sync-server.yaml') as readonly [Json, Json];
  const pod = at(set, 'spec', 'template', 'spec');
  const container = at(pod, 'containers', 0);

  it('starts one server with flags that it has, reachable under TLS', async () => {
    expect([service['kind'], set['kind'], at(set, 'spec', 'replicas')]).to.deep.equal(['Service', 'StatefulSet', 1]);
    const values = await taken('sync-server', at(container, 'args') as readonly string[]);
    expect(at(values, 'listen', 'port')).to.equal(portOf('grpc'));
    expect(at(values, 'http', 'port')).to.equal(portOf('http'));
    expect([values['tlsCert'], values['tlsKey'], values['insecure']]).to.deep.equal([
      '/tls/server.crt',
      '/tls/server.key',
      false,
    ]);
  });

  const portOf = (name: string) => {
    const ports = at(container, 'ports') as readonly { readonly name: string; readonly containerPort: number }[];
    return ports.find((port) => port.name === name)?.containerPort;
  };

  it('asks for health where it is', () => {
    const paths = ['livenessProbe', 'readinessProbe'].map((probe) => at(container, probe, 'httpGet'));
    expect(paths).to.deep.equal([
      { path: '/livez', port: 'http' },
      { path: '/readyz', port: 'http' },
    ]);
    const server = read('services/sync-server/http/http-server.ts');
    for (const path of ['/livez', '/readyz']) expect(server).to.include(`case '${path}':`);
  });

  it('writes nothing but its volume and /tmp, and has no privilege (S39)', () => {
    expect(at(container, 'securityContext')).to.deep.equal({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(at(pod, 'securityContext')).to.include({ runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532 });
    expect(at(pod, 'automountServiceAccountToken')).to.equal(false);
    const mounts = at(container, 'volumeMounts') as readonly { readonly name: string; readonly mountPath: string }[];
    const volumes = at(pod, 'volumes') as readonly { readonly name: string }[];
    expect(mounts.map(({ name }) => name)).to.have.members([...volumes.map(({ name }) => name), 'replica']);
  });

  it('selects its own pods', () => {
    const labels = at(set, 'spec', 'template', 'metadata', 'labels');
    expect(at(service, 'spec', 'selector')).to.deep.equal(labels);
    expect(at(set, 'spec', 'selector', 'matchLabels')).to.deep.equal(labels);
    expect(at(set, 'spec', 'serviceName')).to.equal(at(service, 'metadata', 'name'));
  });
});

describe('deploy/compose/compose.yaml', () => {
  const server = at(yaml('deploy/compose/compose.yaml')[0], 'services', 'server');

  it('starts a server with flags that it has, under TLS, on the port that is published', async () => {
    const values = await taken('sync-server', at(server, 'command') as readonly string[]);
    expect(at(server, 'ports')).to.deep.equal([`50051:${String(at(values, 'listen', 'port'))}`]);
    expect([values['tlsCert'], values['insecure']]).to.deep.equal(['/tls/server.crt', false]);
    // The image's own check asks there.
    expect(read('deploy/Containerfile')).to.include(`http://${String(at(values, 'http', 'text'))}/readyz`);
  });

  it('writes nothing but its volume and /tmp, and has no privilege (S39)', () => {
    expect(server).to.deep.include({ read_only: true, tmpfs: ['/tmp'], cap_drop: ['ALL'] });
    expect(at(server, 'security_opt')).to.deep.equal(['no-new-privileges:true']);
    expect(at(server, 'build')).to.deep.equal({ context: '../..', dockerfile: 'deploy/Containerfile' });
  });
});

describe('what else starts a program', () => {
  it('deploy/Containerfile gives it flags that it has', async () => {
    const [, command = ''] = /^CMD (\[.*\])$/m.exec(read('deploy/Containerfile')) ?? [];
    const values = await taken('sync-server', JSON.parse(command) as readonly string[]);
    expect(values['dir']).to.equal('/data/replica');
  });

  for (const unit of globSync('deploy/systemd/**/*.service', { cwd: REPOSITORY })) {
    it(`${unit} gives it flags that it has`, async () => {
      const [, program = '', args = ''] = /^ExecStart=\S*\/(sync-\w+) (.*)$/m.exec(read(unit)) ?? [];
      const values = await taken(program as Program, args.split(' '));
      expect(values['config']).to.match(/\.toml$/);
    });
  }

  for (const role of ['server', 'watcher'] as const) {
    const name = `deploy/launchd/lockstep.sync-${role}.plist`;
    it(`${name} gives it flags that it has, keeps it running, and needs no root`, async () => {
      const agent = parsePlist(read(name)) as Json;
      const [program, ...args] = agent['ProgramArguments'] as readonly string[];
      expect(program).to.equal(`/usr/local/bin/sync-${role}`);
      const values = await taken(`sync-${role}`, args);
      expect(values['config']).to.equal(`/Users/me/.config/lockstep/${role}.toml`);
      expect(agent['Label']).to.equal(`lockstep.sync-${role}`);
      expect(name).to.include(`/${String(agent['Label'])}.plist`);
      expect(agent).to.deep.include({ RunAtLoad: true, KeepAlive: { SuccessfulExit: false }, ExitTimeOut: 20 });
      // launchd makes the log's file, but no directory for it.
      for (const key of ['StandardOutPath', 'StandardErrorPath']) {
        expect(agent[key]).to.equal(`/Users/me/Library/Logs/lockstep.sync-${role}.log`);
      }
      expect(agent).not.to.have.any.keys('UserName', 'GroupName');
    });
  }

  it('a property list that is not one would be noticed', () => {
    const text = read('deploy/launchd/lockstep.sync-server.plist');
    for (const wrong of [
      text.replace('</array>', ''),
      text.replace('<true/>', '<yes/>'),
      text.replace('<key>Label</key>', ''),
      text.replace('</plist>', '</plist><dict/>'),
    ]) {
      expect(() => parsePlist(wrong)).to.throw();
    }
  });

  it('sets only variables that the programs look at', () => {
    const known = knownVariables();
    const files = globSync('deploy/**/*', { cwd: REPOSITORY, withFileTypes: true }).filter((file) => file.isFile());
    for (const file of files) {
      const text = readFileSync(join(file.parentPath, file.name), 'utf8');
      for (const [name] of text.matchAll(/\bLOCKSTEP_[A-Z_]+\b/g))
        expect(known, `${name} in ${file.name}`).to.include(name);
    }
  });

  it('a wrong flag would be noticed', async () => {
    let message = '';
    try {
      await taken('sync-server', ['--dir=/data', '--listn=:1']);
    } catch (error) {
      message = String(error);
    }
    expect(message).to.include('--listn');
  });
});

describe('.github/workflows/ci.yml', () => {
  const [workflow] = yaml('.github/workflows/ci.yml') as readonly [Json];
  const jobs = workflow['jobs'] as Readonly<Record<string, Json>>;
  const steps = Object.values(jobs).flatMap((job) => job['steps'] as readonly Json[]);

  /** What is written into a command for each system stands for all of it. */
  const testsOf = (word: string): readonly string[] => {
    const systems = at(jobs['others'], 'strategy', 'matrix', 'include') as readonly { readonly tests: string }[];
    return word === 'matrix.tests'
      ? systems.flatMap(({ tests }) => tests.split(' '))
      : /^[$}{]/.test(word)
        ? []
        : [word];
  };

  it('runs targets and files that are there', () => {
    const makefile = read('Makefile');
    for (const { run } of steps) {
      if (typeof run !== 'string' || run.startsWith('npm ')) continue;
      const [command = '', ...words] = run.split(' ');
      if (command === 'make') expect(makefile, run).to.match(new RegExp(`^${words[0]}:.*## `, 'm'));
      else if (command !== 'node') expect(read(command), command).not.to.equal('');
      if (command === 'make') continue;
      for (const path of words.flatMap(testsOf)) expect(existsSync(join(REPOSITORY, path)), path).to.equal(true);
    }
  });

  it('takes actions by their digest only, and may write nothing', () => {
    const actions = steps.map(({ uses }) => uses).filter((uses) => uses !== undefined);
    expect(actions).not.to.be.empty;
    for (const action of actions) expect(action).to.match(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
    expect(workflow['permissions']).to.deep.equal({ contents: 'read' });
  });

  it('tries many seeds of the simulation each night, others each time', () => {
    expect(at(workflow, 'on', 'schedule')).to.have.length(1);
    const { if: when, steps: ofSeeds } = jobs['seeds'] as Json;
    expect(when).to.equal("github.event_name == 'schedule'");
    const commands = (ofSeeds as readonly Json[]).map(({ run }) => run);
    expect(commands).to.include('make torture SEEDS=20000 LOCKSTEP_TEST_SEED=$((GITHUB_RUN_NUMBER * 20000))');
  });

  it('covers macOS and Windows, as far as they can be', () => {
    const systems = at(jobs['others'], 'strategy', 'matrix', 'include') as readonly { readonly system: string }[];
    expect(systems.map(({ system }) => system.replace(/-.*/, ''))).to.deep.equal(['macos', 'windows']);
  });

  it('covers three versions of Linux and both versions of Node that the package allows', () => {
    const { system, node } = at(jobs['systems'], 'strategy', 'matrix') as {
      readonly system: readonly string[];
      readonly node: readonly number[];
    };
    expect([new Set(system).size, node]).to.deep.equal([3, [24, 26]]);
  });
});
