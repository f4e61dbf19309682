/**
 * The table of cases, in the order in which they run and are shown.
 */
import type { BenchCase } from '../harness/case.ts';
import { again } from './again.ts';
import { bulk } from './bulk.ts';
import { burst } from './burst.ts';
import { durable } from './durable.ts';
import { edit } from './edit.ts';
import { growth } from './growth.ts';
import { idle } from './idle.ts';
import { insert } from './insert.ts';
import { latency } from './latency.ts';
import { memory } from './memory.ts';
import { rename } from './rename.ts';
import { small } from './small.ts';
import { wan } from './wan.ts';
import { wire } from './wire.ts';

export const CASES: readonly BenchCase[] = [
  bulk,
  small,
  again,
  edit,
  insert,
  rename,
  wire,
  wan,
  latency,
  burst,
  memory,
  idle,
  durable,
  growth,
];
