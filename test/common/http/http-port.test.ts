/**
 * What every program's HTTP port answers to what goes wrong.
 */
import { expect } from 'chai';
import { startHttpPort } from '../../../common/http/http-port.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { tcpAddress } from '../../../common/rpc/address.ts';

const options = {
  option: '--http',
  realm: 'test',
  answer: (path: string): never => {
    throw new LockstepError(path === '/busy' ? 'LIMIT_EXCEEDED' : 'IO', 'too many wrong tokens');
  },
  logger: createLogger({ name: 'test', level: 'silent' }),
};

describe('the http port', () => {
  it('says when to come back after too much, and nothing of what failed inside', async () => {
    const port = await startHttpPort({ ...options, address: tcpAddress('127.0.0.1', 0) });
    try {
      const busy = await fetch(`http://${port.address.text}/busy`);
      expect([busy.status, busy.headers.get('retry-after'), await busy.text()]).to.deep.equal([
        429,
        '60',
        'too many wrong tokens\n',
      ]);
      const failed = await fetch(`http://${port.address.text}/`);
      expect([failed.status, await failed.text()]).to.deep.equal([500, 'internal error\n']);
    } finally {
      await port.close();
    }
  });

  it('says why an address cannot be had', async () => {
    // Of documentation (RFC 5737): no machine has it.
    const error = await startHttpPort({ ...options, address: tcpAddress('192.0.2.1', 0) }).catch((thrown) => thrown);
    expect(error).to.have.property('reason', 'USAGE');
    expect(error.message).to.match(
      /^cannot serve http on 192\.0\.2\.1:0: .*EADDRNOTAVAIL.*; choose another with --http/,
    );
  });
});
