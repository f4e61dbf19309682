import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';

const root = join(import.meta.dirname, '../..');

/** What a program has loaded that imports these modules, as the packages' names. */
function packagesOf(...modules: string[]): string[] {
  const program = `
    import { createRequire } from 'node:module';
    ${modules.map((module) => `await import(${JSON.stringify(join(root, module))});`).join('\n')}
    const files = Object.keys(createRequire(${JSON.stringify(join(root, 'package.json'))}).cache);
    process.stdout.write(JSON.stringify(files.map((file) => file.split('node_modules/').pop())));
  `;
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  return (JSON.parse(printed) as string[]).map((file) => file.split('/').slice(0, 2).join('/'));
}

describe('the threads of the watcher', () => {
  it('start without gRPC, which takes as long to load as all else they need', () => {
    const loaded = packagesOf('clients/watcher/engine/engine.ts', 'clients/watcher/push/content-transfer.ts');
    expect(loaded).to.include('@napi-rs/blake-hash');
    expect(loaded.filter((name) => name.startsWith('@grpc/'))).to.deep.equal([]);
  });
});
