/**
 * How the two sides' spans of one batch find each other without a byte on the wire: the batch's id, 16 random bytes that
 * both have anyway, is the trace's id, and its first half the id of the span in which it was sent. Sampling depends on
 * the trace's id alone, so both sides choose the same traces. Pure.
 */

/** As OTLP writes them: lower-case hexadecimal. */
export interface BatchTrace {
  readonly traceId: string;
  /** Of the span in which the batch was sent. */
  readonly sendSpanId: string;
}

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;

/** Undefined for an id that cannot be a trace's (W3C Trace Context: neither half may be nothing but zeros). */
export function batchTrace(batchId: Uint8Array): BatchTrace | undefined {
  const first = batchId.subarray(0, SPAN_ID_BYTES);
  if (batchId.length !== TRACE_ID_BYTES || first.every((byte) => byte === 0)) return undefined;
  return { traceId: hexOf(batchId), sendSpanId: hexOf(first) };
}

/** Whether a trace is among the share that is sent, 0 to 1; as TraceIdRatioBased samplers do it, by its last bytes. */
export function isSampled(batchId: Uint8Array, share: number): boolean {
  if (share >= 1) return true;
  // 48 bits are exact in a double, and fine enough.
  const last = Buffer.from(batchId.buffer, batchId.byteOffset, batchId.length).readUIntBE(batchId.length - 6, 6);
  return last < share * 2 ** 48;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
