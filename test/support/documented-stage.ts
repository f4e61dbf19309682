/**
 * A machine as the pages have it: /srv, /etc/lockstep, a home with a project, a free port in the place of 50051; all of it in a
 * temporary directory. Runs what a page says, one command after the other, and has running beside it what the command takes
 * for granted: a server for /srv/replica, a watcher for ~/project.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REPOSITORY } from './bin-program.ts';
import { eventually } from './eventually.ts';
import { removeDirectory } from './pair.ts';

const DEADLINE_MS = 30_000;
const DEFAULT_SERVER = 'bin/sync-server --dir /srv/replica';
const DEFAULT_WATCHER = 'bin/sync-watcher --dir ~/project --server 127.0.0.1:50051';

/** What a command is to the stage. */
type Kind = 'server' | 'watcher' | 'pair' | 'follower' | 'once' | 'control' | 'client' | 'offline' | 'other';

/** In this order: the first that fits. */
const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^make run\b/, 'pair'],
  [/WatchChanges/, 'follower'],
  [/--print-config/, 'other'],
  [/sync-server (token|cert|invite|audit|doctor|completion)/, 'other'],
  [/sync-server verify/, 'offline'],
  [/sync-server/, 'server'],
  [/sync-watcher .*--(once|dry-run)/, 'once'],
  [/sync-watcher (status|flush|wait|pause|resume|rescan)/, 'control'],
  [/sync-watcher (verify|doctor)|^grpcurl/, 'client'],
  [/sync-watcher/, 'watcher'],
];

export class DocumentedStage {
  readonly #base: string;
  readonly #port: number;
  readonly #running = new Map<'server' | 'watcher' | 'pair', Running>();
  #exported: Readonly<Record<string, string>> = {};
  /** As the last commands printed them. */
  #invitation = '';
  #token = '';
  #tokenId = '';
  #starts = 0;

  private constructor(base: string, port: number) {
    this.#base = base;
    this.#port = port;
    for (const directory of ['bin', 'etc/lockstep', 'home/project', 'home/documents', 'home/pictures', 'srv/shared']) {
      mkdirSync(join(base, directory), { recursive: true });
    }
    for (const name of ['sync-server', 'sync-watcher'])
      symlinkSync(join(REPOSITORY, 'bin', name), join(base, 'bin', name));
    for (const name of ['a.txt', 'b.map', 'c.txt']) writeFileSync(join(base, 'home/project', name), `${name}\n`);
  }

  static async open(): Promise<DocumentedStage> {
    return new DocumentedStage(mkdtempSync(join(tmpdir(), 'lockstep-docs-')), await freePort());
  }

  /** What is exported in a block ends with it. */
  beginBlock(): void {
    this.#exported = {};
  }

  /** A block of configuration whose first line is "# NAME.toml". */
  writeFile(content: string): void {
    const name = /^# (\S+\.toml)$/m.exec(content)?.[1];
    if (name !== undefined) writeFileSync(join(this.#base, name), this.#asHere(content));
  }

  /** @throws Error with all that was said, unless the command did what it is for: ended with 0, or serves and is ready */
  async run(command: string): Promise<void> {
    const kind = KINDS.find(([pattern]) => pattern.test(command))?.[1] ?? 'other';
    const exported = /^export (\w+)=(.*)$/.exec(command);
    if (exported?.[1] !== undefined) {
      this.#exported = { ...this.#exported, [exported[1]]: this.#asHere(exported[2] ?? '') };
      return;
    }
    switch (kind) {
      case 'pair':
        await this.#stop('watcher', 'server');
        return this.#start('pair', `${REPOSITORY}/scripts/node ${REPOSITORY}/scripts/run-pair.ts`);
      case 'server':
        await this.#stop('pair', 'watcher', 'server');
        return this.#start('server', command);
      case 'watcher':
        await this.#stop('watcher');
        await this.#have('server');
        return this.#start('watcher', command);
      case 'once':
        await this.#stop('watcher');
        await this.#have('server');
        return this.#finish(command);
      case 'control':
        await this.#have('server', 'watcher');
        return this.#finish(command);
      case 'client':
        await this.#have('server');
        return this.#finish(command);
      case 'follower':
        await this.#have('server', 'watcher');
        return this.#follow(command);
      case 'offline':
        await this.#stop('pair', 'watcher', 'server');
        return this.#finish(command);
      case 'other':
        return this.#finish(command);
    }
  }

  async close(): Promise<void> {
    await this.#stop('pair', 'watcher', 'server');
    removeDirectory(this.#base);
  }

  async #have(...roles: readonly ('server' | 'watcher')[]): Promise<void> {
    await this.#stop('pair');
    for (const role of roles) {
      if (this.#running.get(role)?.isRunning === true) continue;
      await this.#start(role, role === 'server' ? DEFAULT_SERVER : DEFAULT_WATCHER);
    }
  }

  async #stop(...roles: readonly ('server' | 'watcher' | 'pair')[]): Promise<void> {
    for (const role of roles) {
      await this.#running.get(role)?.stop();
      this.#running.delete(role);
    }
  }

  async #start(role: 'server' | 'watcher' | 'pair', command: string): Promise<void> {
    const readyFile = join(this.#base, `ready-${this.#starts++}`);
    const running = this.#spawn(command, { LOCKSTEP_READY_FILE: readyFile });
    this.#running.set(role, running);
    await eventually(
      `ready: ${command}`,
      () => {
        if (!running.isRunning) throw new Error(running.report());
        return role === 'pair' ? running.output.includes('In step:') : existsSync(readyFile);
      },
      DEADLINE_MS,
    );
  }

  async #finish(command: string): Promise<void> {
    // What is to have arrived is waited for: a busy machine takes longer than a page says.
    const arrival = /^cat (dir\/server\/\S+)$/.exec(command)?.[1];
    if (arrival !== undefined) await eventually(arrival, () => existsSync(join(this.#base, arrival)), DEADLINE_MS);
    const running = this.#spawn(command, {});
    const code = await running.ended();
    if (code !== 0) throw new Error(`status ${code}\n${running.report()}`);
    this.#invitation = /^lockstep:\/\/\S+$/m.exec(running.output)?.[0] ?? this.#invitation;
    this.#token = /\blockstep_\w+_\w+/.exec(running.output)?.[0] ?? this.#token;
    if (command.includes('token create')) this.#tokenId = /\btoken (\w+):/.exec(running.output)?.[1] ?? '';
  }

  /** What goes on until it is stopped: good when a change has made it say something. */
  async #follow(command: string): Promise<void> {
    const running = this.#spawn(command, {});
    try {
      let count = 0;
      await eventually(
        `a word of ${command}`,
        () => {
          writeFileSync(join(this.#base, 'home/project/followed.txt'), `${count++}\n`);
          if (!running.isRunning) throw new Error(running.report());
          return running.output !== '';
        },
        DEADLINE_MS,
      );
    } finally {
      await running.stop();
    }
  }

  #spawn(command: string, environment: Readonly<Record<string, string>>): Running {
    const mayNeedToken = !/--join|--token-file/.test(command) && this.#exported['LOCKSTEP_JOIN'] === undefined;
    const inherited = Object.entries(process.env).filter(([key]) => !/^(LOCKSTEP_|XDG_|CDIR$|SDIR$)/.test(key));
    return new Running(this.#asHere(command), this.#base, {
      ...Object.fromEntries(inherited),
      HOME: join(this.#base, 'home'),
      LOCKSTEP_LISTEN: `127.0.0.1:${this.#port}`,
      LOCKSTEP_HTTP: '127.0.0.1:0',
      LOCKSTEP_LOG_LEVEL: 'warn',
      ...(mayNeedToken && this.#token !== '' ? { LOCKSTEP_TOKEN: this.#token } : {}),
      ...this.#exported,
      ...environment,
    });
  }

  /** The names of the pages, as they are here. */
  #asHere(text: string): string {
    return text
      .replaceAll(/(?<=^|[\s"=:])\/home\/me\b/gm, join(this.#base, 'home'))
      .replaceAll(/(?<=^|[\s"=:])\/(?=(srv|etc|var)\/)/gm, `${this.#base}/`)
      .replaceAll('50051', String(this.#port))
      .replaceAll('backup.example.org', 'localhost')
      .replaceAll('lockstep://…', this.#invitation)
      .replaceAll(/\bID\b/g, this.#tokenId);
  }
}

/** A shell with one command, in a group of its own, so that it can be stopped with all that it started. */
class Running {
  readonly #command: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number>;
  output = '';
  isRunning = true;

  constructor(command: string, directory: string, environment: Readonly<Record<string, string | undefined>>) {
    this.#command = command;
    this.#child = spawn('sh', ['-c', command], {
      cwd: directory,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    this.#exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code) => {
        this.isRunning = false;
        resolve(code ?? -1);
      });
    });
    // Whoever waits for it hears of it.
    this.#exited.catch(() => undefined);
  }

  async ended(): Promise<number> {
    const timer = setTimeout(() => this.#signal('SIGKILL'), DEADLINE_MS);
    try {
      return await this.#exited;
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    this.#signal('SIGTERM');
    await this.ended();
  }

  report(): string {
    return `${this.#command}\n${this.output}`;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.isRunning && this.#child.pid !== undefined) process.kill(-this.#child.pid, signal);
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
