/**
 * Node's permission model (`node --permission`), where an operator has switched it on (docs/security.md, "Hardening"). What a
 * program cannot do without is asked for at its start, not missed hours later.
 */
import { LockstepError } from './errors.ts';

const FLAGS = { worker: '--allow-worker', child: '--allow-child-process' } as const;

/** Node has `process.permission` only where the model is on. */
export const permissionModel: NodeJS.ProcessPermission | undefined =
  'permission' in process ? process.permission : undefined;

/** Node itself refused, and not the system. */
export function isNodeRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_ACCESS_DENIED';
}

/**
 * @param what needs it, for the message
 * @throws LockstepError USAGE
 */
export function assertPermitted(
  permission: keyof typeof FLAGS,
  what: string,
  model: Pick<NodeJS.ProcessPermission, 'has'> | undefined = permissionModel,
): void {
  if (model === undefined || model.has(permission)) return;
  throw new LockstepError('USAGE', `${what} needs ${FLAGS[permission]} beside Node's --permission`);
}
