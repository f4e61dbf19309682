/**
 * Whether time tells what words do not (S19): asked over a real socket, in turns, so that whatever else the machine does hits both
 * alike; what is compared are medians. A secret compared byte by byte, or a name that is looked up on one way only, shows as a
 * difference that does not shrink with more questions.
 */
import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Metadata } from '@grpc/grpc-js';
import { expect } from 'chai';
import { unary } from '../../../common/rpc/unary.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';
import { bearer, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const ROUNDS = 500;
/** Far above what remains here, far below one look at a disk. */
const MAX_DIFFERENCE_US = 25;
const MAX_TRIES = 12;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** A token that is well-formed and wrong. */
function forged(id: string): string {
  const secret = createHash('sha256').update(randomBytes(32)).digest('hex');
  return `lockstep_${id}_${secret}${crc32(`${id}_${secret}`).toString(16).padStart(8, '0')}`;
}

describe('the time of a refusal (S19)', function () {
  this.timeout(180_000);
  let fixture: SyncFixture;
  let own: Metadata;
  let knownId = '';
  before(async () => {
    fixture = await SyncFixture.start({ folders: ['default', 'other'] });
    const create = (folder: string) =>
      new TokenStore(fixture.stateDirectory(folder)).create({
        folder,
        scope: 'read',
        label: '',
        expiresInMs: undefined,
      });
    const { text, record } = create('default');
    create('other');
    knownId = record.id;
    own = bearer(text);
  });
  after(() => fixture.stop());

  async function microsecondsOf(folder: string, metadata: Metadata, reason: RegExp): Promise<number> {
    const startedMs = performance.now();
    const call = unary(fixture.client, fixture.client.getEntry, { folder, path: '' }, { metadata });
    const got = await reasonOf(call);
    const tookMs = performance.now() - startedMs;
    expect(got).to.match(reason);
    return tookMs * 1000;
  }

  /** The difference of the medians; the smallest of some tries, because noise only ever adds to it. */
  async function difference(one: () => Promise<number>, other: () => Promise<number>): Promise<number> {
    let smallest = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < MAX_TRIES && smallest >= MAX_DIFFERENCE_US; attempt++) {
      const times: [number[], number[]] = [[], []];
      for (let round = 0; round < ROUNDS; round++) {
        // In turns, and each of them first as often as second.
        const isFirst = round % 2 === 0;
        times[isFirst ? 0 : 1].push(await (isFirst ? one : other)());
        times[isFirst ? 1 : 0].push(await (isFirst ? other : one)());
      }
      smallest = Math.min(smallest, Math.abs(median(times[0]) - median(times[1])));
    }
    if (process.env['SHOW_TIMES'] !== undefined) process.stdout.write(`      ${smallest.toFixed(1)} us\n`);
    return smallest;
  }

  it('does not tell a folder of somebody else from one that does not exist', async () => {
    const reason = /^FOLDER_NOT_FOUND$/;
    const found = await difference(
      () => microsecondsOf('other', own, reason),
      () => microsecondsOf('ether', own, reason),
    );
    expect(found).to.be.lessThan(MAX_DIFFERENCE_US);
  });

  it('does not tell a token whose id exists from one whose id does not', async () => {
    // The first hundred are written down, and answered with another reason than the rest.
    for (let count = 0; count < 150; count++) {
      await reasonOf(
        unary(fixture.client, fixture.client.getEntry, { folder: '', path: '' }, { metadata: bearer('x') }),
      );
    }
    // One more each second is answered as at first.
    const reason = /^(LIMIT_EXCEEDED|UNAUTHENTICATED)$/;
    const [known, unknown] = [bearer(forged(knownId)), bearer(forged('0123456789abcdef'))];
    const found = await difference(
      () => microsecondsOf('default', known, reason),
      () => microsecondsOf('default', unknown, reason),
    );
    expect(found).to.be.lessThan(MAX_DIFFERENCE_US);
  });
});
