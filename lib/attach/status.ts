import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPPool } from "../api/ippool.ts";
import { IPReservation } from "../api/ipreservation.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { cidrContains, formatCidr, parseCidr, subnetAt } from "../ip/index.ts";
import { createIpam } from "../ipam/index.ts";
import { callIpamPlugin, familiesWanted, isOwnIpam } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { step } from "./failure.ts";
import type { Host } from "./host.ts";
import { readMtu, readNodename } from "./settings.ts";
import { askGate } from "./wait.ts";

/**
 * STATUS, by the specification's two codes. 50, an ADD cannot be served: this node's name or MTU is not known yet, the
 * datastore is away or locked, or no pool has room. 51, and existing containers may have limited connectivity as well: a
 * readiness gate (calico-node) is not ready.
 */
export async function statusOfPlugin(call: Invocation, host: Host): Promise<void> {
  try {
    for (const gate of call.config.readinessGates) {
      const problem = await askGate(gate);
      if (problem !== undefined) {
        throw new CniError(errorCode.limitedConnectivity, `the readiness gate ${gate} is not ready: ${problem}`);
      }
    }
    readNodename(call.config, host);
    readMtu(call.config, host);
    await withClient(call.config, host, async (client) => {
      await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client)));
      if (isOwnIpam(call)) await step("pools cannot be read", () => requireRoom(call, host, client));
    });
    if (!isOwnIpam(call)) await callIpamPlugin(call, host, "STATUS");
  } catch (error) {
    throw notAvailable(error);
  }
}

/** `-t`: whether the datastore can be used. Install scripts wait for this before they write the network configuration. */
export async function testDatastore(call: Pick<Invocation, "config">, host: Host): Promise<void> {
  await withClient(call.config, host, async (client) => {
    await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client)));
  });
}

/** STATUS has two codes of its own; a configuration that is wrong stays what it is. */
function notAvailable(error: unknown): unknown {
  if (!(error instanceof CniError)) return error;
  const keeps: readonly number[] = [
    errorCode.notAvailable,
    errorCode.limitedConnectivity,
    errorCode.unsupportedField,
    errorCode.invalidConfiguration,
    errorCode.incompatibleVersion,
  ];
  if (keeps.includes(error.code)) return error;
  return new CniError(errorCode.notAvailable, error.message, error.details, { cause: error });
}

/** Every family that pods get an address of needs a pool with a free one. */
async function requireRoom(call: Invocation, host: Host, client: Client): Promise<void> {
  const wanted = familiesWanted(call);
  const node = readNodename(call.config, host);
  const [{ items: pools }, { items: reservations }, { items: own }] = await Promise.all([
    client.list(IPPool),
    client.list(IPReservation),
    client.list(IPAMBlock, { node, affinityType: "host" }),
  ]);
  for (const [version, count, asked] of [
    [4, wanted.num4, call.config.ipam.ipv4Pools],
    [6, wanted.num6, call.config.ipam.ipv6Pools],
  ] as const) {
    if (count === 0) continue;
    const usable = pools.filter(({ metadata, spec }) => {
      if (spec.disabled || !spec.allowedUses.includes("Workload") || spec.cidr.includes(":") !== (version === 6))
        return false;
      return asked.length === 0
        ? spec.assignmentMode === "Automatic"
        : asked.includes(metadata.name) || asked.includes(spec.cidr);
    });
    if (reservations.length === 0 && (hasFree(usable, own) || (await hasUnclaimed(client, usable)))) continue;
    const names = new Set(usable.map(({ metadata }) => metadata.name));
    // Rare: pools that are nearly all claimed, or whose addresses are reserved in part, are counted.
    const report = names.size === 0 ? undefined : await createIpam(client).utilisation([...names]);
    if (report?.pools.some((pool) => pool.available > 0n)) continue;
    throw new CniError(
      errorCode.notAvailable,
      names.size === 0
        ? `there is no IPv${version} pool that pods may use`
        : `no IPv${version} pool has a free address: ${[...names].join(", ")}`,
      names.size === 0
        ? "make one with calicoctl, or enable one"
        : "add a pool, or look for leaked addresses with calico-ipam check",
    );
  }
}

/** Whether a block of this node has a free address of one of the pools. */
function hasFree(pools: readonly IPPool[], blocks: readonly IPAMBlock[]): boolean {
  const cidrs = pools.map(({ spec }) => parseCidr(spec.cidr));
  return blocks.some(
    ({ spec }) => spec.unallocated.length > 0 && cidrs.some((pool) => cidrContains(pool, parseCidr(spec.cidr))),
  );
}

/** How many places of a pool are looked at, spread over it. */
const PROBES = 8n;

/** Whether a place for a block is free in one of the pools: one of a few that are looked at, which is nearly all pools' case. */
async function hasUnclaimed(client: Client, pools: readonly IPPool[]): Promise<boolean> {
  for (const { spec } of pools) {
    const pool = parseCidr(spec.cidr);
    const length = spec.blockSize || (pool.version === 4 ? 26 : 122);
    if (length < pool.length) continue;
    const places = 1n << BigInt(length - pool.length);
    const probes = places < PROBES ? places : PROBES;
    const reads: Promise<IPAMBlock | undefined>[] = [];
    for (let probe = 1n; probe <= probes; probe++) {
      const place = subnetAt(pool, length, (places * probe) / probes - 1n);
      reads.push(client.get(IPAMBlock, ipamBlockRef(formatCidr(place))));
    }
    if ((await Promise.all(reads)).includes(undefined)) return true;
  }
  return false;
}
