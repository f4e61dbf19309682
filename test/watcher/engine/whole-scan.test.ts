import { expect } from 'chai';
import { WholeScan } from '../../../clients/watcher/engine/whole-scan.ts';

describe('the scan of the whole tree', () => {
  let scan: WholeScan;
  beforeEach(() => {
    scan = new WholeScan({ intervalMs: 1_000, random: () => 0.5 }, 10);
  });

  it('is followed by another one that is wanted while it runs, and not begun anew (E27)', () => {
    scan.begin(Number.POSITIVE_INFINITY);
    scan.want({ reason: 'overflow', detail: 'first' }, 30);
    scan.want({ reason: 'overflow', detail: 'second' }, 40);
    expect(scan.state).to.equal('running');
    expect(scan.oldestSeenMs).to.equal(10);
    scan.end(50);
    expect(scan.state).to.equal('wanted');
    expect(scan.cause).to.deep.equal({ reason: 'overflow', detail: 'second' });
    expect(scan.oldestSeenMs).to.equal(30);
    scan.begin(Number.POSITIVE_INFINITY);
    expect(scan.dueMs).to.equal(Number.POSITIVE_INFINITY);
    scan.end(60);
    expect(scan.state).to.equal('done');
    expect(scan.oldestSeenMs).to.equal(undefined);
    expect(scan.dueMs).to.equal(1_060);
  });

  it('makes those wait for the next one who ask while it runs for what was seen before all (E124)', () => {
    scan.begin(Number.POSITIVE_INFINITY);
    scan.want({ reason: 'file-system', detail: 'EIO' }, 0);
    expect(scan.oldestSeenMs).to.equal(0);
    scan.end(50);
    expect(scan.oldestSeenMs).to.equal(0);
  });
});
