import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import type { Client } from "../datastore/index.ts";
import { parseCidr } from "../ip/index.ts";
import { blockProblems, collectCooled, isEmpty, mendBlock, ordinalsOfHandle } from "./block.ts";
import { check } from "./check.ts";
import { claimBlock, releaseAffinity } from "./claim.ts";
import { type Context, createContext, isRace, isUnreadable, retrying } from "./context.ts";
import { recountHandle } from "./counts.ts";
import { releaseOwner } from "./owners.ts";
import { listBlocks, readBlock, readConfig } from "./reads.ts";
import { releaseAddresses } from "./release-addresses.ts";
import type { Finding, IpamConfig, IpamOptions, Owner, RepairOptions, RepairReport } from "./types.ts";

/**
 * See {@link Ipam.repair}. Each repair reads again what it is about and writes it as it was read, so a finding that has
 * become wrong in the meantime changes nothing that is right.
 */
export async function repair(ctx: Context, options: RepairOptions = {}): Promise<RepairReport> {
  const config = await readConfig(ctx, true);
  const before = await check(ctx, { endpoints: options.unused ?? false });
  const wanted = before.findings.filter((finding) => isRepaired(finding, options));
  for (const block of unique(wanted, "block-corrupt", ({ detail }) => detail.block)) await mend(ctx, config, block);
  for (const handle of unique(wanted, "unreadable", ({ detail }) => detail.handle)) await remake(ctx, handle);
  await releaseFound(ctx, wanted);
  const gone = unique(wanted, "affinity-node-gone", ({ detail }) => detail.owner?.name);
  for (const name of gone) await releaseOwner(ctx, { type: "host", name });
  for (const { kind, detail } of wanted) {
    if (!detail.block || !detail.owner || gone.includes(detail.owner.name)) continue;
    if (kind === "affinity-without-block" || kind === "affinity-of-another" || kind === "block-without-affinity")
      await settle(ctx, config, detail.owner, detail.block);
  }
  for (const handle of handlesOf(wanted)) {
    const named = wanted.filter(({ detail }) => detail.handle === handle).flatMap(({ detail }) => detail.block ?? []);
    await recountHandle(ctx, handle, named, true);
  }
  const after = await check(ctx, { endpoints: options.unused ?? false });
  const remaining = new Set(after.findings.map(key));
  return { repaired: wanted.filter((finding) => !remaining.has(key(finding))), remaining: after.findings };
}

const key = (finding: Finding): string =>
  [finding.kind, finding.subject, finding.detail.block, finding.detail.owner?.name, finding.detail.handle].join("|");

function isRepaired({ kind, repair: remedy }: Finding, options: RepairOptions): boolean {
  switch (kind) {
    case "node-gone":
    case "affinity-node-gone":
      return options.goneNodes ?? false;
    case "not-in-use":
      return options.unused ?? false;
    case "outside-pools":
    case "blocks-overlap":
    case "not-allocated":
      return false;
    case "unreadable":
      return remedy !== undefined;
    default:
      return true;
  }
}

function unique(
  findings: readonly Finding[],
  kind: Finding["kind"],
  of: (finding: Finding) => string | undefined,
): string[] {
  const found = new Set<string>();
  for (const finding of findings) {
    const value = finding.kind === kind ? of(finding) : undefined;
    if (value !== undefined) found.add(value);
  }
  return [...found];
}

const HANDLE_KINDS: readonly Finding["kind"][] = ["handle-missing", "handle-empty", "handle-count"];

function handlesOf(findings: readonly Finding[]): string[] {
  return HANDLE_KINDS.flatMap((kind) => unique(findings, kind, ({ detail }) => detail.handle)).filter(
    (handle, index, all) => all.indexOf(handle) === index,
  );
}

async function mend(ctx: Context, config: IpamConfig, cidr: string): Promise<void> {
  await retrying(ctx, `mend block ${cidr}`, async () => {
    const block = await readBlock(ctx, parseCidr(cidr));
    if (!block || blockProblems(block.spec).length === 0) return;
    mendBlock(block.spec);
    collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
    block.spec.sequenceNumber += 1n;
    await ctx.client.update(IPAMBlock, block);
  });
}

/** Puts what the blocks say in the place of a handle that cannot be read. */
async function remake(ctx: Context, id: string): Promise<void> {
  const hidden: string[] = [];
  const blocks = await listBlocks(ctx, undefined, (cidr) => void hidden.push(cidr));
  // It may hold addresses there.
  if (hidden.length > 0) return;
  try {
    await ctx.client.get(IPAMHandle, ipamHandleRef(id));
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    // There is no revision to guard this by; nothing but another repair writes over what cannot be read.
    await ctx.client.delete(IPAMHandle, ipamHandleRef(id)).catch((failure: unknown) => {
      if (!isRace(failure)) throw failure;
    });
  }
  const holding = blocks.filter(({ spec }) => ordinalsOfHandle(spec, id).length > 0);
  await recountHandle(
    ctx,
    id,
    holding.map(({ spec }) => spec.cidr),
  );
}

/** Releases addresses of nodes that are gone and addresses that nothing uses, each only while it is the same allocation. */
async function releaseFound(ctx: Context, findings: readonly Finding[]): Promise<void> {
  const requests = findings
    .filter(({ kind }) => kind === "node-gone" || kind === "not-in-use")
    .map(({ subject, detail }) => ({
      address: subject,
      ...(detail.handle === undefined ? {} : { handle: detail.handle }),
      ...(detail.sequenceNumber === undefined ? {} : { sequenceNumber: detail.sequenceNumber }),
    }));
  await releaseAddresses(ctx, requests);
}

/** As {@link repair} brings an affinity and its block to agree, for one block of one owner. */
export async function settleAffinity(
  client: Client,
  owner: Owner,
  cidr: string,
  options: IpamOptions = {},
): Promise<void> {
  const ctx = createContext(client, options);
  await settle(ctx, await readConfig(ctx, true), owner, cidr);
}

/** Brings an affinity and its block to agree: an empty block is given up, one in use is its owner's again. */
async function settle(ctx: Context, config: IpamConfig, owner: Owner, cidr: string): Promise<void> {
  const network = parseCidr(cidr);
  const block = await readBlock(ctx, network);
  if (block) collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
  if (block && !isEmpty(block.spec)) await claimBlock(ctx, owner, network);
  else await releaseAffinity(ctx, config, owner, network, { mustBeEmpty: true });
}
