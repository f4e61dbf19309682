/**
 * A disk that fails on command, for whatever runs in the test's own thread: calls of node:fs that throw instead of being made.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * Until it is disposed, calls of this function throw an error with this errno; `when` chooses which, by their number from 1 and
 * their arguments. Default: all of them.
 */
export function failingCalls(
  name: keyof typeof fs,
  errno: string,
  when: (number: number, parameters: readonly unknown[]) => boolean = () => true,
): Disposable {
  let number = 0;
  return replacedCall(name, (call, parameters) => {
    if (when(++number, parameters)) throw Object.assign(new Error(`${errno}: made to fail, ${name}`), { code: errno });
    return call(parameters);
  });
}

/** Until it is disposed, `instead` is called with the function's arguments; it may make the call. */
export function replacedCall(
  name: keyof typeof fs,
  instead: (call: (parameters: readonly unknown[]) => unknown, parameters: readonly unknown[]) => unknown,
): Disposable {
  const original: unknown = Reflect.get(fs, name);
  if (typeof original !== 'function') throw new Error(`node:fs has no function ${name}`);
  const replace = (value: unknown): void => {
    Reflect.set(fs, name, value);
    syncBuiltinESMExports();
  };
  const call = (parameters: readonly unknown[]): unknown => Reflect.apply(original, fs, parameters);
  replace((...parameters: readonly unknown[]): unknown => instead(call, parameters));
  return { [Symbol.dispose]: () => replace(original) };
}
