/**
 * Whose rules hold for names, permission bits and directories: those of the system that this runs on. Tests run whole programs
 * under those of another one, as far as the kernel that is there can follow.
 */

/** For the tests of whole programs, and for nothing else: `paths` on a system that has handles, or `windows`. */
export const TEST_VARIABLE = 'LOCKSTEP_TEST_WAY';

export function chooseSystem(
  platform: NodeJS.Platform = process.platform,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): NodeJS.Platform {
  return environment[TEST_VARIABLE] === 'windows' ? 'win32' : platform;
}

export const SYSTEM = chooseSystem();
