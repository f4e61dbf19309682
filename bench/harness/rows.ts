/**
 * From measurements to rows of the table. Pure.
 */
import type { Measured } from './compare.ts';
import type { Sample } from './contenders/contender.ts';
import type { Resources, Row, Target, Unit } from './outcome.ts';
import { median } from './statistics.ts';

export function atMostOfPeer(ratio: number): Target {
  return { kind: 'ratio', atMost: ratio };
}

export function atMost(value: number): Target {
  return { kind: 'value', atMost: value };
}

export function atLeast(value: number): Target {
  return { kind: 'least', atLeast: value };
}

export interface RowOptions {
  readonly label: string;
  readonly unit: Unit;
  readonly targets?: readonly Target[];
}

/** A row of medians. The first of `measured` is ours, the second, if any, the peer. */
export function rowOf(measured: readonly Measured[], options: RowOptions, pick: (sample: Sample) => number): Row {
  const [ours, peer] = measured;
  if (ours === undefined) throw new RangeError('a row without ours');
  const peerSamples = peer?.samples.map(pick) ?? [];
  const against = peer === undefined ? null : { name: peer.contender, values: peerSamples };
  return rowOfValues(options, ours.samples.map(pick), against);
}

export function rowOfValues(
  options: RowOptions,
  ours: readonly number[],
  peer: { readonly name: string; readonly values: readonly number[] } | null,
): Row {
  return {
    label: options.label,
    unit: options.unit,
    ours: median(ours),
    peer: peer === null ? null : { name: peer.name, value: median(peer.values) },
    targets: [...(options.targets ?? [])],
    samples: { ours: [...ours], peer: [...(peer?.values ?? [])] },
  };
}

/** The wall time of each run. */
export function timeRow(measured: readonly Measured[], label: string, ...targets: readonly Target[]): Row {
  return rowOf(measured, { label, unit: 's', targets }, (sample) => sample.wallSeconds);
}

/** What went over the wire in the counted run, both ways. */
export function wireRow(measured: readonly Measured[], label: string, ...targets: readonly Target[]): Row {
  const bytes = measured.map(({ contender, wire }) => ({
    name: contender,
    values: [wire.forwardBytes + wire.backwardBytes],
  }));
  const [ours, peer] = bytes;
  return rowOfValues({ label, unit: 'B', targets }, ours?.values ?? [], peer ?? null);
}

/** Processor time is the median of the runs, peak memory the largest. */
export function resourcesOf(measured: readonly Measured[], label: string): Resources[] {
  return measured.map(({ contender, samples }) => ({
    label,
    contender,
    clientCpuSeconds: medianOfKnown(samples.map((sample) => sample.client.cpuSeconds)),
    clientPeakBytes: largestOfKnown(samples.map((sample) => sample.client.peakBytes)),
    serverCpuSeconds: medianOfKnown(samples.map((sample) => sample.server.cpuSeconds)),
    serverPeakBytes: largestOfKnown(samples.map((sample) => sample.server.peakBytes)),
  }));
}

function known(values: readonly (number | null)[]): readonly number[] {
  return values.filter((value) => value !== null);
}

function medianOfKnown(values: readonly (number | null)[]): number | null {
  return known(values).length === 0 ? null : median(known(values));
}

function largestOfKnown(values: readonly (number | null)[]): number | null {
  return known(values).length === 0 ? null : Math.max(...known(values));
}
