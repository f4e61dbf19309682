/**
 * Which names of a tree each operating system can hold, and how it spells them (E08). Pure: the system is an argument.
 *
 * A name in a tree is bytes, one char each. Linux takes any; macOS takes UTF-8; Windows keeps UTF-16, which Node speaks UTF-8
 * with, and forbids characters, endings and the names of its devices. What a system cannot hold is one entry's problem.
 */
import { LockstepError } from '../ops/errors.ts';
import { isUtf8 } from 'node:buffer';
import { win32 } from 'node:path';
import { displayPath, type TreePath } from '../tree/tree-path.ts';

/** Longest name of NTFS, in UTF-16 code units. */
const MAX_WINDOWS_UNITS = 255;

/** With or without an extension, in any case; Windows takes the superscript digits for digits. */
const WINDOWS_DEVICE = /^(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:[.:]|$)/i;

/** The bytes for `node:fs`. @throws LockstepError NAME_UNSUPPORTED, which also looks like EILSEQ of a system call */
export function toSystemName(name: string, platform: NodeJS.Platform): Buffer {
  const problem = nameProblem(name, platform);
  if (problem === undefined) return Buffer.from(name, 'latin1');
  const message = `the name "${displayPath(name as TreePath)}" ${problem}`;
  throw Object.assign(new LockstepError('NAME_UNSUPPORTED', message), { code: 'EILSEQ' });
}

/** What `node:fs` gave, as a component of a tree path. Windows may show what no tree of ours can hold. @throws as above */
export function fromSystemName(bytes: Buffer, platform: NodeJS.Platform): string {
  const name = bytes.toString('latin1');
  toSystemName(name, platform);
  return name;
}

/** Why the system cannot hold this name; undefined where it can. `name` is one component, one char for each byte. */
export function nameProblem(name: string, platform: NodeJS.Platform): string | undefined {
  if (platform !== 'darwin' && platform !== 'win32') return undefined;
  const bytes = Buffer.from(name, 'latin1');
  if (!isUtf8(bytes)) return 'is not UTF-8, which this system asks for';
  return platform === 'win32' ? windowsProblem(bytes.toString()) : undefined;
}

/**
 * A symbolic link's target for `node:fs`. Windows separates by backslashes, which Node puts for slashes, and Node makes absolute
 * targets complete and normal ones.
 * @throws LockstepError NAME_UNSUPPORTED as above where another target would come back
 */
export function toSystemTarget(target: Buffer, platform: NodeJS.Platform): Buffer {
  if (platform !== 'win32' || (isUtf8(target) && isKeptByWindows(target.toString()))) return target;
  const shown = displayPath(target.toString('latin1') as TreePath);
  const message = `the link's target "${shown}" is none that Windows keeps as it is`;
  throw Object.assign(new LockstepError('NAME_UNSUPPORTED', message), { code: 'EILSEQ' });
}

function isKeptByWindows(target: string): boolean {
  if (target.includes('\\')) return false;
  return !win32.isAbsolute(target) || `\\\\?\\${target.replaceAll('/', '\\')}` === win32.toNamespacedPath(target);
}

export function fromSystemTarget(target: Buffer, platform: NodeJS.Platform): Buffer {
  return platform === 'win32' ? Buffer.from(target.toString().replaceAll('\\', '/')) : target;
}

function windowsProblem(text: string): string | undefined {
  const forbidden = /[<>:"|?*\\\u0001-\u001f]/.exec(text)?.[0];
  if (forbidden !== undefined) return `holds ${JSON.stringify(forbidden)}, which Windows does not allow`;
  if (/[. ]$/.test(text)) return 'ends in a dot or a space, which Windows takes away';
  if (WINDOWS_DEVICE.test(text)) return 'is that of a device of Windows';
  return text.length > MAX_WINDOWS_UNITS ? 'is longer than Windows allows' : undefined;
}
