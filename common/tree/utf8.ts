/**
 * Which bytes are UTF-8: the one definition that the wire spelling and the display spelling share.
 * Pure; works on the latin1 form (one char per byte) of names.
 */

/**
 * Length of the well-formed UTF-8 sequence that starts at `at` (1..4), or 0 when the byte there is not part of one.
 * Source: The Unicode Standard, table 3-7 (no overlong forms, no surrogates, nothing beyond U+10FFFF).
 */
export function utf8SequenceLength(latin1: string, at: number): 0 | 1 | 2 | 3 | 4 {
  const lead = latin1.charCodeAt(at);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const second = latin1.charCodeAt(at + 1);
  if (lead < 0xe0) return isContinuation(second) ? 2 : 0;
  if (!(second >= lowestSecond(lead) && second <= highestSecond(lead))) return 0;
  if (!isContinuation(latin1.charCodeAt(at + 2))) return 0;
  if (lead < 0xf0) return 3;
  return isContinuation(latin1.charCodeAt(at + 3)) ? 4 : 0;
}

/** False beyond the end, where the char code is NaN. */
function isContinuation(code: number): boolean {
  return code >= 0x80 && code <= 0xbf;
}

function lowestSecond(lead: number): number {
  if (lead === 0xe0) return 0xa0;
  return lead === 0xf0 ? 0x90 : 0x80;
}

function highestSecond(lead: number): number {
  if (lead === 0xed) return 0x9f;
  return lead === 0xf4 ? 0x8f : 0xbf;
}
