/**
 * At the end of a group: the rows get the identities that only the disk could tell, and names that share an inode with one
 * that was touched hear of it.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { GRAVEYARD } from './layout.ts';
import type { Performer } from './performer.ts';
import type { Planner } from './planner.ts';

export function settleIdentities(planner: Planner, performer: Performer, root: SafeRoot): void {
  performer.shared.buried(GRAVEYARD);
  planner.graves.clear();
  for (const path of performer.remade.splice(0)) planner.lateIdentities.add(path);
  planner.lateIdentities.resolve(root);
  performer.shared.tell();
}
