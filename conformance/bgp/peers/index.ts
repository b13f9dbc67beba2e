/**
 * Real BGP daemons as peers of ours: Debian's BIRD 2, FRR, GoBGP and ExaBGP, one file each, behind one interface. Each runs in a node
 * of the lab of its own and is asked in its own way; what comes back are neutral values.
 */
import { bird2 } from "./bird2.ts";
import { exabgp } from "./exabgp.ts";
import { frr } from "./frr.ts";
import { gobgp } from "./gobgp.ts";
import type { Driver } from "./types.ts";

export { bird2 } from "./bird2.ts";
export { exabgp } from "./exabgp.ts";
export { frr } from "./frr.ts";
export { gobgp } from "./gobgp.ts";
export type * from "./types.ts";

export const DRIVERS: readonly Driver[] = [bird2, frr, gobgp, exabgp];
