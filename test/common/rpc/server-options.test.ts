import { expect } from 'chai';
import { serverOptions } from '../../../common/rpc/server-options.ts';

describe("a server's options", () => {
  it('bound age and memory of connections only where that is asked for', () => {
    expect(serverOptions()).to.not.have.any.keys('grpc.max_connection_age_ms', 'grpc-node.max_session_memory');
    expect(serverOptions({ maxConnectionAgeMs: 1000, maxSessionMemoryMb: 32 })).to.include({
      'grpc.max_connection_age_ms': 1000,
      'grpc-node.max_session_memory': 32,
    });
  });
});
