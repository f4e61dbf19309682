/**
 * Its own module, because the threads that fill buffers need nothing else of the protocol.
 */

/** Bytes that a buffer keeps free before a chunk, for the fields of the message around it. */
export const UPLOAD_HEAD_ROOM_BYTES = 32;
