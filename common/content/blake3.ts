/**
 * BLAKE3 from whatever this machine can run: the native addon, else WebAssembly. Both give the same digests.
 * OpenSSL, and so node:crypto, has no BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs).
 */
import { createRequire } from 'node:module';
import type { Blake3Hasher } from '@napi-rs/blake-hash';

/** One BLAKE3 computation. `digest` ends it: any further call throws. */
export interface Blake3State {
  update(data: Uint8Array): void;
  digest(): Buffer;
}

export interface Blake3 {
  readonly implementation: 'native' | 'wasm';
  digestOf(data: Uint8Array): Buffer;
  createHasher(): Blake3State;
}

/** The native implementation where its addon exists for this platform, else the WebAssembly one. */
export async function loadBlake3(): Promise<Blake3> {
  const native = loadNativeBlake3();
  if (native !== undefined) return native;
  const { loadWasmBlake3 } = await import('./blake3-wasm.ts');
  return loadWasmBlake3();
}

/** Undefined where the addon is not installed or has no build for this platform: both are normal. */
export function loadNativeBlake3(): Blake3 | undefined {
  let addon: typeof import('@napi-rs/blake-hash');
  try {
    addon = createRequire(import.meta.url)('@napi-rs/blake-hash') as typeof addon;
  } catch {
    return undefined; // The WebAssembly implementation takes over, and `implementation` says so in status and logs.
  }
  // Creating a native object costs three times what hashing 4 KiB does (12 against 3 us), so finished ones are reused.
  const idle: Blake3Hasher[] = [];
  const whole = new addon.Blake3Hasher();
  return {
    implementation: 'native',
    digestOf(data) {
      // Before, not after: an update that threw would leave its part behind.
      whole.reset();
      whole.update(data);
      return digestIn(whole);
    },
    createHasher: () => new NativeState(idle.pop() ?? new addon.Blake3Hasher(), idle),
  };
}

/** As text, because the addon's buffers live outside of the heap: one costs as much as hashing 2 KiB, and its release too. */
function digestIn(hasher: Blake3Hasher): Buffer {
  return Buffer.from(hasher.digest('hex'), 'hex');
}

const IDLE_HASHERS = 16;

class NativeState implements Blake3State {
  #hasher: Blake3Hasher | undefined;
  readonly #idle: Blake3Hasher[];

  constructor(hasher: Blake3Hasher, idle: Blake3Hasher[]) {
    this.#hasher = hasher;
    this.#idle = idle;
  }

  update(data: Uint8Array): void {
    if (this.#hasher === undefined) throw alreadyDigested();
    this.#hasher.update(data);
  }

  digest(): Buffer {
    const hasher = this.#hasher;
    if (hasher === undefined) throw alreadyDigested();
    this.#hasher = undefined;
    const digest = digestIn(hasher);
    if (this.#idle.length < IDLE_HASHERS) {
      hasher.reset();
      this.#idle.push(hasher);
    }
    return digest;
  }
}

export function alreadyDigested(): Error {
  return new Error('this hasher has already given its digest');
}
