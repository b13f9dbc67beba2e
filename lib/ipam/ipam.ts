import type { Client } from "../datastore/index.ts";
import { autoAssign } from "./assign.ts";
import { createContext } from "./context.ts";
import { readConfig } from "./reads.ts";
import { releaseByHandle } from "./release.ts";
import type { Ipam, IpamOptions } from "./types.ts";

/** An allocator over a datastore. Opens nothing and starts nothing; what a pod's ADD and DEL do not need is loaded when it is called. */
export function createIpam(client: Client, options: IpamOptions = {}): Ipam {
  const ctx = createContext(client, options);
  const owners = () => import("./owners.ts");
  return {
    autoAssign: (request) => autoAssign(ctx, request),
    requireRoom: async (request) => (await import("./room.ts")).requireRoom(ctx, request),
    assignIp: async (request) => (await import("./given.ts")).assignIp(ctx, request),
    releaseByHandle: (handle, more) => releaseByHandle(ctx, handle, more),
    releaseAddresses: async (requests) => (await import("./release-addresses.ts")).releaseAddresses(ctx, requests),
    ipsByHandle: async (handle) => (await import("./queries.ts")).ipsByHandle(ctx, handle),
    allocationOf: async (address) => (await import("./queries.ts")).allocationOf(ctx, address),
    claimAffinity: async (cidr, owner) => (await owners()).claimAffinity(ctx, cidr, owner),
    releaseOwner: async (owner, more) => (await owners()).releaseOwner(ctx, owner, more),
    releaseAffinities: async (cidr, more) => (await owners()).releaseAffinities(ctx, cidr, more),
    ensureBlock: async (request) => (await owners()).ensureBlock(ctx, request),
    collectCooled: async () => (await owners()).collectAllCooled(ctx),
    configuration: () => readConfig(ctx),
    configure: async (changes) => (await import("./config.ts")).configure(ctx, changes),
    utilisation: async (pools) => (await import("./utilisation.ts")).utilisation(ctx, pools),
    check: async (more) => (await import("./check.ts")).check(ctx, more),
    repair: async (more) => (await import("./repair.ts")).repair(ctx, more),
    splitPool: async (pool, parts) => (await import("./split.ts")).splitPool(ctx, pool, parts),
  };
}
