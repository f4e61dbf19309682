/**
 * Which bandwidth the process may use now: what was said by hand, else what the day's schedule says, else the general limit. One
 * for all directories of a process, because they share the line. How it is kept to is the token bucket's.
 */
import { type Clock, TokenBucket } from './token-bucket.ts';

const MINUTES_PER_DAY = 24 * 60;

/** Bytes per second, undefined for no limit. */
export type Rate = number | undefined;

/** From one minute of the local day (0..1439) until before another; over midnight when the end comes first. */
export interface ScheduledRate {
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly rate: Rate;
}

export interface BandwidthSettings {
  /** Where no part of the schedule holds. */
  readonly rate: Rate;
  /** The first that holds counts. */
  readonly schedule: readonly ScheduledRate[];
}

export const UNLIMITED: BandwidthSettings = { rate: undefined, schedule: [] };

export class Bandwidth {
  readonly bucket: TokenBucket;
  readonly #now: () => Date;
  #settings: BandwidthSettings;
  #byHand: { readonly rate: Rate } | undefined;

  constructor(settings: BandwidthSettings, now: () => Date = () => new Date(), clock?: Clock) {
    this.#settings = settings;
    this.#now = now;
    this.bucket = new TokenBucket(() => this.rate, clock);
  }

  /** What holds now. */
  get rate(): Rate {
    if (this.#byHand !== undefined) return this.#byHand.rate;
    const { schedule } = this.#settings;
    return schedule.length === 0 ? this.#settings.rate : rateAt(this.#settings, minuteOfDay(this.#now()));
  }

  /** Whether somebody has said otherwise than the settings do. */
  get isByHand(): boolean {
    return this.#byHand !== undefined;
  }

  /** Holds until the process ends, or `byItself`. */
  byHand(rate: Rate): void {
    this.#byHand = { rate };
    this.bucket.refresh();
  }

  /** Back to what the settings say. */
  byItself(): void {
    this.#byHand = undefined;
    this.bucket.refresh();
  }

  /** Other settings from now on; what was said by hand goes on. */
  configure(settings: BandwidthSettings): void {
    this.#settings = settings;
    this.bucket.refresh();
  }
}

/** Pure. */
export function rateAt({ rate, schedule }: BandwidthSettings, minute: number): Rate {
  const part = schedule.find((one) => holdsAt(one, minute));
  return part === undefined ? rate : part.rate;
}

function holdsAt({ fromMinute, toMinute }: ScheduledRate, minute: number): boolean {
  const lengthMinutes = (toMinute - fromMinute + MINUTES_PER_DAY) % MINUTES_PER_DAY;
  return (minute - fromMinute + MINUTES_PER_DAY) % MINUTES_PER_DAY < (lengthMinutes || MINUTES_PER_DAY);
}

/** Of the machine's own time zone: people mean their own morning. */
function minuteOfDay(date: Date): number {
  return date.getHours() * 60 + date.getMinutes();
}
