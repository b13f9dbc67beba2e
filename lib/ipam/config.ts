import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { API_VERSION } from "../api/meta.ts";
import { type Context, retrying } from "./context.ts";
import { IpamError } from "./errors.ts";
import { DEFAULT_CONFIG } from "./reads.ts";
import type { IpamConfig } from "./types.ts";

/** See {@link Ipam.configure}. The rules across fields are upstream's; a datastore does not enforce them. */
export function configure(ctx: Context, changes: Partial<IpamConfig>): Promise<IpamConfig> {
  return retrying(ctx, "change the IPAM configuration", async () => {
    const current = await ctx.client.get(IPAMConfiguration, { name: "default" });
    const spec = { ...DEFAULT_CONFIG, ...current?.spec, ...changes };
    const problem = configProblem(spec);
    if (problem) throw new IpamError("IPAM_CONFIG", problem);
    if (current) return (await ctx.client.update(IPAMConfiguration, { ...current, spec })).spec;
    const made = { apiVersion: API_VERSION, kind: "IPAMConfiguration" as const, metadata: { name: "default" }, spec };
    return (await ctx.client.create(IPAMConfiguration, made)).spec;
  });
}

/** What is wrong with settings taken together; undefined when nothing is. */
export function configProblem(config: IpamConfig): string | undefined {
  if (!config.strictAffinity && !config.autoAllocateBlocks)
    return "autoAllocateBlocks: may only be off when strictAffinity is on: else nobody could assign anything";
  if (config.maxBlocksPerHost > 0 && !config.strictAffinity)
    return "maxBlocksPerHost: needs strictAffinity: a node at its limit would borrow from others' blocks instead";
  if (!isWithin(config.maxBlocksPerHost, 1_000_000))
    return "maxBlocksPerHost: must be a whole number from 0 to 1000000";
  if (!isWithin(config.ipCooldownSeconds, 1200)) return "ipCooldownSeconds: must be a whole number from 0 to 1200";
  return undefined;
}

const isWithin = (value: number, max: number): boolean => Number.isInteger(value) && value >= 0 && value <= max;
