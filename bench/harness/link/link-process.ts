/**
 * Entry point of the process that holds a link, apart from the benchmark so that neither disturbs the other.
 * Its one argument is a LinkSettings in JSON.
 */
import { LinkServer } from './link-server.ts';
import type { LinkAnswer, LinkRequest, LinkSettings } from './messages.ts';

// JSON has no Infinity.
const settings = JSON.parse(process.argv[2] ?? '', (key, value: unknown) =>
  key === 'bytesPerMs' && value === null ? Infinity : value,
) as LinkSettings;
const link = new LinkServer(settings);
const answer = (message: LinkAnswer): void => {
  process.send?.(message);
};
process.on('message', (request: LinkRequest) => {
  const totals = link.totals();
  if (request === 'reset') link.reset();
  answer({ kind: 'totals', totals });
});
// The benchmark is gone, or wants no more of it.
process.on('disconnect', () => process.exit(0));
answer({ kind: 'listening', port: await link.listen() });
