/**
 * The `[[bandwidth]]` tables of a configuration file: which limit holds from when to when.
 */
import * as z from 'zod/mini';
import { parsed } from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { parseRate } from '../../../common/ops/units.ts';
import type { BandwidthSettings } from '../push/bandwidth.ts';

/**
 * Minutes since midnight of "08:00"; "24:00" is midnight as well.
 * @throws LockstepError USAGE
 */
export function parseTimeOfDay(text: string): number {
  const [, hours = '', minutes = ''] = /^(\d{2}):(\d{2})$/.exec(text) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  if (hours !== '' && Number(minutes) < 60 && minute <= 1440) return minute % 1440;
  throw new LockstepError('USAGE', `"${text}" is not a time of day; write for example 08:00 or 23:30`);
}

const time = parsed(parseTimeOfDay);

export const bandwidthSchedule = z.array(
  z.pipe(
    z.strictObject({ from: time, to: time, limit: parsed(parseRate) }),
    z.transform(({ from, to, limit }) => ({ fromMinute: from, toMinute: to, rate: limit })),
  ),
);

/** Of a process, from its options. */
export function bandwidthSettings(values: {
  readonly bandwidthLimit: number | undefined;
  readonly bandwidth: z.output<typeof bandwidthSchedule> | undefined;
}): BandwidthSettings {
  return { rate: values.bandwidthLimit, schedule: values.bandwidth ?? [] };
}
