import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import fc from 'fast-check';
import { LockstepError, REASONS, type Reason } from '../../../common/ops/errors.ts';
import { CODE_OF_REASON, fromStatus, toLockstepError, toStatus } from '../../../common/rpc/errors.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import { unary } from '../../../common/rpc/unary.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { errorOf, type Note, startEcho } from './echo-service.ts';

const reasons = Object.keys(REASONS) as Reason[];

const serviceError = (code: status, details: string, metadata = new Metadata()): ServiceError =>
  Object.assign(new Error(`${code}: ${details}`), { code, details, metadata });

describe('errors on the wire', () => {
  it('keep reason, message, path and details, for every reason, over a real connection', async () => {
    const pair = await startEcho({
      say: unaryHandler<Note, Note>(async ({ request }) => {
        throw new LockstepError(request.text as Reason, `went wrong: ${request.text}`, {
          path: 'caf\u00c3\u00a9/%/\u00ff' as TreePath,
          details: { holder: 'laptop', committed_size: '4096' },
        });
      }),
    });
    try {
      for (const reason of reasons) {
        const error = await errorOf(unary(pair.client, pair.client.say, { text: reason }));
        expect(error).to.be.instanceOf(LockstepError);
        expect(error).to.include({ reason, message: `went wrong: ${reason}`, path: 'caf\u00c3\u00a9/%/\u00ff' });
        expect(error).to.have.deep.property('details', { holder: 'laptop', committed_size: '4096' });
        expect((error as LockstepError).cause).to.include({ code: CODE_OF_REASON[reason] });
      }
    } finally {
      pair.stop();
    }
  });

  it('round-trip any message and details, cut to what proxies let through (8 KiB)', () => {
    const text = fc.string({ unit: 'binary', maxLength: 2000 });
    const key = fc.stringMatching(/^[a-z][a-z_]{0,20}$/).filter((name) => name !== 'path');
    const anyError = fc.record({
      reason: fc.constantFrom(...reasons),
      message: text,
      details: fc.dictionary(key, text, { maxKeys: 12 }),
    });
    fc.assert(
      fc.property(anyError, ({ reason, message, details }) => {
        const sent = toStatus(new LockstepError(reason, message, { details }));
        const headers = Object.values(sent.metadata.toHttp2Headers()).flat().join('').length;
        expect(headers + encodeURI(sent.details).length).to.be.lessThan(8_192);
        const received = fromStatus(serviceError(sent.code, sent.details, sent.metadata));
        expect(received.reason).to.equal(reason);
        if (message.length > 0 && Buffer.byteLength(message) <= 512)
          expect(received.message).to.equal(message.toWellFormed());
      }),
      { numRuns: 25 },
    );
  });

  it('of a server that gives no reason of ours get one by their code', () => {
    const expected = new Map<status, Reason>([
      [status.CANCELLED, 'CANCELLED'],
      [status.INVALID_ARGUMENT, 'INVALID_ARGUMENT'],
      [status.OUT_OF_RANGE, 'INVALID_ARGUMENT'],
      [status.FAILED_PRECONDITION, 'INVALID_ARGUMENT'],
      [status.UNAVAILABLE, 'SERVER_UNREACHABLE'],
      [status.DEADLINE_EXCEEDED, 'SERVER_UNREACHABLE'],
      [status.ABORTED, 'SERVER_UNREACHABLE'],
      [status.NOT_FOUND, 'ENTRY_NOT_FOUND'],
      [status.ALREADY_EXISTS, 'TARGET_EXISTS'],
      [status.PERMISSION_DENIED, 'PERMISSION_DENIED'],
      [status.UNAUTHENTICATED, 'UNAUTHENTICATED'],
      [status.RESOURCE_EXHAUSTED, 'LIMIT_EXCEEDED'],
      [status.UNIMPLEMENTED, 'PROTOCOL_UNSUPPORTED'],
      [status.INTERNAL, 'INTERNAL'],
      [status.DATA_LOSS, 'INTERNAL'],
    ]);
    for (const [code, reason] of expected) expect(fromStatus(serviceError(code, 'why'))).to.include({ reason });
    const broken = serviceError(status.INTERNAL, 'Received RST_STREAM with code 2');
    expect(fromStatus(broken)).to.include({ reason: 'SERVER_UNREACHABLE' });
    expect(fromStatus(serviceError(status.UNAVAILABLE, '')).message).to.match(/^14: /);
  });

  it('leave out host paths and stacks of foreign errors (S29)', () => {
    for (const thrown of [new Error('/home/somebody'), new TypeError('x.y'), 'text', undefined, { code: 7 }]) {
      const sent = toStatus(thrown);
      expect(sent).to.include({ code: status.INTERNAL, details: 'internal error' });
      expect(fromStatus(serviceError(sent.code, sent.details, sent.metadata))).to.include({ reason: 'INTERNAL' });
    }
  });

  it('tell a call that was given up from one that failed', () => {
    expect(toStatus(AbortSignal.abort().reason)).to.include({ code: status.CANCELLED, details: 'cancelled' });
  });

  it('are not cut within a character', () => {
    for (const start of ['', 'a']) {
      const { details } = toStatus(new LockstepError('IO', `${start}${'\u00e9'.repeat(1000)}`));
      expect(details).to.match(/^a?\u00e9{250,}\u2026$/);
    }
  });

  it('do not send the cause of an error', () => {
    const sent = toStatus(new LockstepError('IO', 'cannot rename a: EIO', { cause: new Error('/srv/replica/a') }));
    expect(Buffer.concat(sent.metadata.get('grpc-status-details-bin') as Buffer[]).toString('latin1')).to.not.include(
      '/srv',
    );
  });

  it('get a reason from the code when the peer gave none', () => {
    const expected: [status, string, Reason][] = [
      [status.UNAVAILABLE, 'No connection established', 'SERVER_UNREACHABLE'],
      [status.DEADLINE_EXCEEDED, 'Deadline exceeded', 'SERVER_UNREACHABLE'],
      [status.UNIMPLEMENTED, 'unknown method', 'PROTOCOL_UNSUPPORTED'],
      [status.UNAUTHENTICATED, 'no token', 'UNAUTHENTICATED'],
      [status.PERMISSION_DENIED, 'no', 'PERMISSION_DENIED'],
      [status.INTERNAL, 'Received RST_STREAM with code 2', 'SERVER_UNREACHABLE'],
      [status.INTERNAL, 'internal error', 'INTERNAL'],
      [status.RESOURCE_EXHAUSTED, 'Received message larger than max', 'LIMIT_EXCEEDED'],
      [status.CANCELLED, 'Cancelled on client', 'CANCELLED'],
    ];
    for (const [code, details, reason] of expected) {
      expect(fromStatus(serviceError(code, details))).to.include({ reason, message: details });
    }
  });

  it('survive hostile details: not decodable, another domain, an unknown reason, a path that leads out', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const metadata = new Metadata();
        metadata.set('grpc-status-details-bin', Buffer.from(bytes));
        expect(fromStatus(serviceError(status.UNAVAILABLE, 'x', metadata)).reason).to.equal('SERVER_UNREACHABLE');
      }),
    );
    const forged = toStatus(new LockstepError('DRIFTED', 'm', { details: { path: '../../etc/passwd' } }));
    const received = fromStatus(serviceError(forged.code, forged.details, forged.metadata));
    expect(received).to.include({ reason: 'DRIFTED' });
    expect(received.path).to.equal(undefined);
  });

  it('turn any thrown value into one of the family', () => {
    const own = new LockstepError('BUSY', 'changing');
    expect(toLockstepError(own)).to.equal(own);
    expect(toLockstepError(serviceError(status.UNAVAILABLE, 'gone'))).to.include({ reason: 'SERVER_UNREACHABLE' });
    expect(toLockstepError(AbortSignal.abort().reason)).to.include({ reason: 'CANCELLED' });
    expect(toLockstepError(new Error('x'))).to.include({ reason: 'INTERNAL' });
  });
});
