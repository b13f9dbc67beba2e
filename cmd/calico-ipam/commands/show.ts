import { IPAMBlock } from "../../../lib/api/ipamblock.ts";
import { type Call, type Command, styleFor, table, toJson, type UsageRow, usageTable } from "../../../lib/cli/index.ts";
import type { Client } from "../../../lib/datastore/index.ts";
import { formatAddress } from "../../../lib/ip/index.ts";
import {
  type Allocation,
  type BlockUtilisation,
  createIpam,
  type IpamConfig,
  ipamAdmin,
  type UnreadableBlock,
  type UtilisationReport,
} from "../../../lib/ipam/index.ts";
import { CONFIG_OPTION, withClient } from "../../calicoctl/connect.ts";
import { addressOption } from "./address.ts";
import { JSON_OPTION, wantsJson } from "./output.ts";

export const show: Command = {
  name: "show",
  summary: "Show how full the pools are, or what is known of an address",
  description:
    "Show how full the IP pools are. The flags go deeper: into one address, the blocks of\n" +
    "each pool, addresses that are borrowed from other nodes' blocks, or the settings.\n\n" +
    "An address that was allocated before it was reserved counts as both; IPS FREE counts\n" +
    "those that are neither, which is what can still be assigned. A block that cannot be read\n" +
    "counts as in use, and is named below the table.",
  options: {
    ...CONFIG_OPTION,
    ...JSON_OPTION,
    ip: { type: "text", value: "ADDRESS", summary: "Say whether this address is in use, and by whom." },
    "show-blocks": { type: "boolean", summary: "List the blocks of each pool as well." },
    "show-borrowed": { type: "boolean", summary: "List addresses that a node uses from a block of another." },
    "show-configuration": { type: "boolean", summary: "Show the cluster-wide IPAM settings." },
  },
  examples: [
    { comment: "How full the pools are.", line: "show" },
    { comment: "The same with the blocks of each pool.", line: "show --show-blocks" },
    { comment: "Who uses an address.", line: "show --ip=10.0.0.1" },
    { comment: "Free addresses of each pool, for a script.", line: "show -o json | jq '.pools[] | {name, available}'" },
  ],
  run: (call) => {
    const address = addressOption(call);
    const json = wantsJson(call);
    return withClient(call, async (client) => {
      if (address) await showAddress(call, client, formatAddress(address), json);
      else if (call.args.flag("show-borrowed")) await showBorrowed(call, client, json);
      else if (call.args.flag("show-configuration")) await showConfiguration(call, client, json);
      else await showUsage(call, client, json);
      return 0;
    });
  },
};

async function showUsage({ args, env, io }: Call, client: Client, json: boolean): Promise<void> {
  const report = await createIpam(client).utilisation();
  const blocks = args.flag("show-blocks");
  const { unreadable } = report;
  if (json) {
    const pools = report.pools.map(({ blocks: inside, ...pool }) => (blocks ? { ...pool, blocks: inside } : pool));
    io.stdout.write(toJson(blocks ? { pools, orphans: report.orphans, unreadable } : { pools, unreadable }));
    return;
  }
  io.stdout.write(usageTable(usageRows(report, blocks), styleFor(io.stdout, env)));
  io.stdout.write(unreadableText(unreadable, "all of whose addresses are counted as in use"));
}

/** What a table cannot say of blocks that cannot be read; nothing when there are none. `what` says what that means for the table. */
function unreadableText(blocks: readonly UnreadableBlock[], what: string): string {
  if (blocks.length === 0) return "";
  const lines = blocks.map(({ cidr, problem }) => `  ${cidr}: ${problem}\n`);
  return `\nWARNING: blocks that cannot be read, ${what}: ${blocks.length}\n${lines.join("")}`;
}

/** A row a pool, its blocks after it when asked for, and last the blocks that no pool contains. */
function usageRows(report: UtilisationReport, blocks: boolean): UsageRow[] {
  const row = (
    grouping: UsageRow["grouping"],
    use: BlockUtilisation | UtilisationReport["pools"][number],
  ): UsageRow => {
    const { cidr, capacity, inUse, reserved, available } = use;
    return { grouping, cidr, capacity, inUse, reserved, free: available };
  };
  const rows = report.pools.flatMap((pool) => [
    row("IP Pool", pool),
    ...(blocks ? pool.blocks.map((block) => row("Block", block)) : []),
  ]);
  return blocks ? [...rows, ...report.orphans.map((block) => row("Block", block))] : rows;
}

async function showAddress({ io }: Call, client: Client, address: string, json: boolean): Promise<void> {
  const allocation = await createIpam(client).allocationOf(address);
  if (json) io.stdout.write(toJson({ address, inUse: allocation !== undefined, ...allocation }));
  else io.stdout.write(allocation ? allocationText(allocation) : `${address} is not assigned\n`);
}

/** In upstream's words, and what else is known. */
function allocationText(allocation: Allocation): string {
  const owner = (title: string, attributes: Allocation["attributes"]) =>
    `${title}:\n${Object.keys(attributes)
      .sort()
      .map((key) => `  ${key}: ${attributes[key]}\n`)
      .join("")}`;
  const { address, handle, attributes, alternateAttributes, releasedAt } = allocation;
  const active = Object.keys(attributes).length > 0;
  return [
    releasedAt === undefined
      ? `IP ${address} is in use\n`
      : `IP ${address} cools down, it was released at ${releasedAt}\n`,
    `Handle ID: ${handle ?? "<none>"}\n`,
    active ? owner("Active Owner Attributes", attributes) : "No Active Owner attributes defined\n",
    alternateAttributes && Object.keys(alternateAttributes).length > 0
      ? owner("Alternate Owner Attributes", alternateAttributes)
      : "",
  ].join("");
}

async function showBorrowed({ env, io }: Call, client: Client, json: boolean): Promise<void> {
  const { items, ...list } = await client.list(IPAMBlock);
  const unreadable = list.unreadable.map(({ ref, error }) => ({
    cidr: String(ref.spec?.cidr),
    problem: error.message,
  }));
  const { borrowed, unclassified } = (await ipamAdmin()).borrowedAddresses(items);
  if (json) {
    io.stdout.write(toJson({ borrowed, unclassified, unreadable }));
    return;
  }
  io.stdout.write(
    table({
      headings: ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"],
      rows: borrowed.map((one) => [one.ip, one.borrowingNode, one.block, one.blockOwner, one.type, one.allocatedTo]),
      heading: styleFor(io.stdout, env).bold,
    }),
  );
  io.stdout.write(unreadableText(unreadable, "whose borrowed addresses are not listed"));
  if (unclassified > 0) {
    io.stdout.write(
      `\nNote: found ${unclassified} IP allocations without an explicit node association. Unable to determine if they are borrowed.\n`,
    );
  }
}

async function showConfiguration({ env, io }: Call, client: Client, json: boolean): Promise<void> {
  const configuration = await createIpam(client).configuration();
  if (json) io.stdout.write(toJson(configuration));
  else {
    io.stdout.write(
      table({
        headings: ["PROPERTY", "VALUE"],
        rows: PROPERTIES.map(([title, key]) => [title, String(configuration[key])]),
        heading: styleFor(io.stdout, env).bold,
      }),
    );
  }
}

/** Upstream's names, which are those of the fields of its Go structure. */
const PROPERTIES: readonly (readonly [string, keyof IpamConfig])[] = [
  ["StrictAffinity", "strictAffinity"],
  ["AutoAllocateBlocks", "autoAllocateBlocks"],
  ["MaxBlocksPerHost", "maxBlocksPerHost"],
  ["KubeVirtVMAddressPersistence", "kubeVirtVMAddressPersistence"],
  ["IPCooldownSeconds", "ipCooldownSeconds"],
];
