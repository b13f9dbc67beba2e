/**
 * What programs that act for people need beyond the allocator: audits and their reports, and writes of resources with
 * the rules that need other objects. Loaded through {@link ipamAdmin}, because no plugin ever needs it.
 */
export { audit } from "./audit.ts";
export { auditText } from "./audit-text.ts";
export { borrowedAddresses } from "./borrowed.ts";
export { leakReport, leaksIn, parseLeakReport, refusals } from "./leak-report.ts";
export { reclaimBlock, settleHandle } from "./reclaim.ts";
export { settleAffinity } from "./repair.ts";
export { readReservations } from "./reservations.ts";
export { createResource, deleteResource, updateResource } from "./resources.ts";
