/**
 * The options of grpc-js by name, so that a misspelt one does not compile: grpc-js itself ignores unknown names.
 */
import type { ChannelOptions } from '@grpc/grpc-js';

/** ChannelOptions without its index signature. */
export type KnownOptions = {
  readonly [K in keyof ChannelOptions as string extends K ? never : number extends K ? never : K]?: ChannelOptions[K];
};

/** Sizes of HTTP/2 receive windows: how much a peer may have under way before we have read any of it. */
export interface ReceiveWindows {
  /** Per stream, in bytes. */
  readonly streamBytes: number;
  /** Per connection, in bytes: also what one connection can make us hold in memory. */
  readonly connectionBytes: number;
}

/** Room for 8 MiB per round trip on one stream; the HTTP/2 default of 64 KiB is 1.9 MB/s at 20 ms. */
export const DEFAULT_WINDOWS: ReceiveWindows = { streamBytes: 16 * 2 ** 20, connectionBytes: 32 * 2 ** 20 };

/** Largest message in either direction. A chunk is 256 KiB, a batch stays below. */
export const DEFAULT_MAX_MESSAGE_BYTES = 4 * 2 ** 20;

/** Both sides ask a silent peer this often whether it lives, in milliseconds, and wait this long for its answer. */
export const KEEPALIVE_TIME_MS = 20_000;
export const KEEPALIVE_TIMEOUT_MS = 10_000;
