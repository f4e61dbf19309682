/** BLAKE3 in WebAssembly, for platforms without the native addon: a module of its own, because nobody else needs to load it. */
import { createBLAKE3, type IHasher } from 'hash-wasm';
import { alreadyDigested, type Blake3, type Blake3State } from './blake3.ts';

/**
 * One WebAssembly instance, because creating one is asynchronous; computations under way take turns in it by saving
 * and loading their state (2 KB).
 */
export async function loadWasmBlake3(): Promise<Blake3> {
  const instance: WasmInstance = { hasher: await createBLAKE3(), current: undefined };
  return {
    implementation: 'wasm',
    digestOf(data) {
      const state = new WasmState(instance);
      state.update(data);
      return state.digest();
    },
    createHasher: () => new WasmState(instance),
  };
}

interface WasmInstance {
  readonly hasher: IHasher;
  /** Whose state the instance holds. */
  current: WasmState | undefined;
}

class WasmState implements Blake3State {
  readonly #instance: WasmInstance;
  #saved: Uint8Array | undefined;
  #stage: 'fresh' | 'running' | 'digested' = 'fresh';

  constructor(instance: WasmInstance) {
    this.#instance = instance;
  }

  update(data: Uint8Array): void {
    this.#enter().update(data);
  }

  digest(): Buffer {
    const bytes = this.#enter().digest('binary');
    this.#instance.current = undefined;
    this.#stage = 'digested';
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The instance's hasher with this computation's state in it. */
  #enter(): IHasher {
    const instance = this.#instance;
    if (instance.current === this) return instance.hasher;
    if (this.#stage === 'digested') throw alreadyDigested();
    if (instance.current !== undefined) instance.current.#saved = instance.hasher.save();
    if (this.#saved === undefined) instance.hasher.init();
    else instance.hasher.load(this.#saved);
    this.#saved = undefined;
    this.#stage = 'running';
    instance.current = this;
    return instance.hasher;
  }
}
