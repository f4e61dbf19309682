import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { WorkerOnDemand } from '../../../services/sync-server/replica/worker-on-demand.ts';
import { reasonOf } from '../../support/sync-fixture.ts';

describe('a worker on demand', () => {
  interface Api {
    note(word: string): Promise<number>;
    close(): Promise<void>;
  }
  let starts: number;
  let noted: string[];
  let failure: LockstepError | undefined;
  let worker: WorkerOnDemand<Api>;

  beforeEach(() => {
    starts = 0;
    noted = [];
    failure = undefined;
    worker = new WorkerOnDemand<Api>(async () => {
      starts++;
      await Promise.resolve();
      if (failure !== undefined) throw failure;
      const api = { note: async (word: string) => noted.push(word), close: async () => undefined };
      const close = async (): Promise<void> => {
        noted.push('closed');
      };
      return { api, close };
    });
  });

  it('is started by the first call, once, and gets the calls in their order', async () => {
    expect(starts).to.equal(0);
    expect(await Promise.all([worker.api.note('a'), worker.api.note('b'), worker.api.note('c')])).to.deep.equal([
      1, 2, 3,
    ]);
    await worker.api.note('d');
    expect(noted).to.deep.equal(['a', 'b', 'c', 'd']);
    expect(starts).to.equal(1);
  });

  it('that could not be started fails the call, and the next one tries again', async () => {
    failure = new LockstepError('NO_SPACE', 'no room for it');
    expect(await reasonOf(worker.api.note('a'))).to.equal('NO_SPACE');
    failure = undefined;
    expect(await worker.api.note('b')).to.equal(1);
    expect(starts).to.equal(2);
  });

  it('is closed after what it was asked, is not started for that, and not any more afterwards', async () => {
    await worker.close();
    expect(await reasonOf(worker.api.note('a'))).to.equal('DRAINING');
    expect(starts).to.equal(0);
  });

  it('is closed also while it starts', async () => {
    const asked = worker.api.note('a');
    await worker.close();
    expect(await asked).to.equal(1);
    expect(noted).to.deep.equal(['a', 'closed']);
  });

  it('that could not be started has nothing to close', async () => {
    failure = new LockstepError('IO', 'it broke');
    const asked = reasonOf(worker.api.note('a'));
    await worker.close();
    expect(await asked).to.equal('IO');
    expect(noted).to.deep.equal([]);
  });
});
