/**
 * The units and the container file as they are shipped: the sandbox is on.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const deploy = join(import.meta.dirname, '../../deploy');
const linesOf = (name: string) => readFileSync(join(deploy, name), 'utf8').split('\n');

const EVERYWHERE = [
  'NoNewPrivileges=yes',
  'RestrictSUIDSGID=yes',
  'RestrictNamespaces=yes',
  'LockPersonality=yes',
  'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX',
  'SystemCallFilter=@system-service',
  'SystemCallFilter=~@privileged',
];

describe('what is shipped for running it (S39)', () => {
  it('the system unit runs without root, writes one directory, and has no capabilities', () => {
    expect(linesOf('systemd/system/sync-server.service')).to.include.members([
      ...EVERYWHERE,
      'User=lockstep',
      'ProtectSystem=strict',
      'ReadWritePaths=/var/lib/lockstep',
      'ProtectHome=yes',
      'PrivateTmp=yes',
      'PrivateDevices=yes',
      'CapabilityBoundingSet=',
    ]);
  });

  for (const role of ['server', 'watcher']) {
    it(`the user unit of sync-${role} gains no privilege`, () => {
      expect(linesOf(`systemd/user/sync-${role}.service`)).to.include.members(EVERYWHERE);
    });
  }

  for (const unit of ['system/sync-server', 'user/sync-server', 'user/sync-watcher']) {
    it(`the unit ${unit} waits for the program's word, and has a watchdog that starts it again`, () => {
      expect(linesOf(`systemd/${unit}.service`)).to.include.members([
        'Type=notify',
        'NotifyAccess=all',
        'WatchdogSec=60',
        'Restart=on-failure',
      ]);
    });
  }

  it('the container runs without root, installs without scripts, and does not turn protection off', () => {
    const lines = linesOf('Containerfile');
    expect(lines).to.include('USER 65532:65532');
    expect(lines.join('\n')).to.include('npm ci --omit=dev --ignore-scripts').and.not.to.include('--insecure');
    expect(lines.find((line) => line.startsWith('ENTRYPOINT'))).to.match(/^ENTRYPOINT \["node", "--permission", /);
  });
});
