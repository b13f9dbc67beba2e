import { readFileSync } from "node:fs";
import { ClusterInformation } from "../../../lib/api/clusterinformation.ts";
import { IPAMHandle } from "../../../lib/api/ipamhandle.ts";
import { type Call, CliError, type Command, toJson, UsageError } from "../../../lib/cli/index.ts";
import { type Client, DatastoreError } from "../../../lib/datastore/index.ts";
import { formatAddress } from "../../../lib/ip/index.ts";
import {
  createIpam,
  type HandleInfo,
  ipamAdmin,
  type ReleaseOutcome,
  type ReleaseRequest,
} from "../../../lib/ipam/index.ts";
import { VERSION } from "../../../lib/telemetry/index.ts";
import { CONFIG_OPTION, withClient } from "../../calicoctl/connect.ts";
import { addressOption } from "./address.ts";
import { JSON_OPTION, wantsJson } from "./output.ts";

export const release: Command = {
  name: "release",
  summary: "Release an address, or all leaked addresses of a report",
  description:
    "Release one address with --ip, or what reports of 'check' call leaked. An address is only\n" +
    "released while it is still the same allocation that the report saw. Of several reports,\n" +
    "only what all of them call leaked is released.\n\n" +
    "An address that a running workload uses must not be released: it would be assigned again.",
  options: {
    ...CONFIG_OPTION,
    ...JSON_OPTION,
    ip: { type: "text", value: "ADDRESS", summary: "The address to release." },
    "from-report": { type: "list", value: "FILE", summary: "Release what this report calls leaked. May be repeated." },
    force: {
      type: "boolean",
      summary: "Do so although the datastore is not locked, or the report is by another version.",
    },
  },
  examples: [
    { comment: "Release one address.", line: "release --ip=10.0.0.1" },
    {
      comment: "Release what two reports agree on.",
      line: "release --from-report=a.json --from-report=b.json --force",
    },
  ],
  run: (call) => {
    const reports = call.args.list("from-report");
    const address = addressOption(call);
    if (reports.length === 0 && !address)
      throw new UsageError("give an address with --ip, or a report with --from-report");
    const json = wantsJson(call);
    return withClient(call, async (client) => {
      if (reports.length > 0) await releaseReports(call, client, reports, json);
      else if (address) await releaseAddress(call, client, formatAddress(address), json);
      return 0;
    });
  },
};

async function releaseAddress({ io }: Call, client: Client, address: string, json: boolean): Promise<void> {
  const [result] = await createIpam(client).releaseAddresses([{ address }]);
  if (result?.outcome === "not-allocated") throw new CliError("NOT_ASSIGNED", `IP address ${address} is not assigned`);
  if (result?.outcome === "unreadable") {
    throw new CliError("UNREADABLE", unreadable(result));
  }
  if (result?.outcome === "refused") {
    throw new CliError("REFUSED", `IP address ${address} was not released: ${result.reason ?? "it changed meanwhile"}`);
  }
  io.stdout.write(json ? toJson({ released: [address] }) : `Successfully released IP address ${address}\n`);
}

function unreadable({ address, reason }: ReleaseOutcome): string {
  return `IP address ${address} was not released, its block cannot be read: ${reason}`;
}

async function releaseReports(call: Call, client: Client, paths: readonly string[], json: boolean): Promise<void> {
  const { io } = call;
  const say = (text: string) => {
    if (!json) io.stdout.write(`${text}\n`);
  };
  const { leaksIn, parseLeakReport, refusals } = await ipamAdmin();
  const reports = paths.map((path) => ({ path, report: parseLeakReport(read(path), path) }));
  const cluster = await client.get(ClusterInformation, { name: "default" });
  const { errors, warnings } = refusals(reports, cluster, VERSION, call.args.flag("force"));
  if (errors.length > 0) throw new CliError("REFUSED", errors.join("\n"));
  for (const warning of warnings) (json ? io.stderr : io.stdout).write(`WARNING: ${warning}\n`);

  const leaks = leaksIn(reports.map(({ report }) => report));
  const { unread, ...counts } = await releaseAll(client, leaks.addresses, say);
  const handles = await deleteHandles(client, leaks.handles, say);
  const addresses = unread.length > 0 ? { ...counts, unreadable: unread.length } : counts;
  if (json) io.stdout.write(toJson({ addresses, handles }));
  else io.stdout.write("You may now unlock the data store.\n");
  if (unread.length > 0) throw new CliError("UNREADABLE", unread.join("\n"));
}

interface Counts {
  readonly released: number;
  /** Changed or gone since the report was made. */
  readonly skipped: number;
}

async function releaseAll(
  client: Client,
  requests: readonly ReleaseRequest[],
  say: (text: string) => void,
): Promise<Counts & { readonly unread: readonly string[] }> {
  if (requests.length === 0) {
    say("Report didn't contain any leaked IPs to clean up.");
    return { released: 0, skipped: 0, unread: [] };
  }
  say(`Releasing ${requests.length} old IPs...`);
  const outcomes = await createIpam(client).releaseAddresses(requests);
  const count = (outcome: string) => outcomes.filter((one) => one.outcome === outcome).length;
  const [released, free, refused] = [count("released"), count("not-allocated"), count("refused")];
  if (released > 0) say(`Released ${released} IPs successfully`);
  if (free > 0) say(`${free} addresses marked as leaked in the report had already been cleaned up.`);
  if (refused > 0) say(`${refused} addresses were left alone, because they are assigned to somebody else by now.`);
  const unread = outcomes.flatMap((one) => (one.outcome === "unreadable" ? [unreadable(one)] : []));
  return { released, skipped: free + refused, unread };
}

async function deleteHandles(
  client: Client,
  wanted: readonly HandleInfo[],
  say: (text: string) => void,
): Promise<Counts & { errors: number }> {
  const counts = { released: 0, skipped: 0, errors: 0 };
  if (wanted.length === 0) {
    say("Report didn't contain any handles to clean up.");
    return counts;
  }
  say(`Deleting ${wanted.length} handles...`);
  const { items } = await client.list(IPAMHandle);
  const existing = new Map(items.map((handle) => [handle.spec.handleID, handle]));
  for (const { id, revision } of wanted) {
    const handle = existing.get(id);
    if (handle === undefined || handle.metadata.resourceVersion !== revision) {
      counts.skipped++;
      continue;
    }
    try {
      const { name, uid } = handle.metadata;
      await client.delete(
        IPAMHandle,
        { name, spec: { handleID: id } },
        { resourceVersion: revision, ...(uid === undefined ? {} : { uid }) },
      );
      counts.released++;
    } catch (error) {
      if (!(error instanceof DatastoreError)) throw error;
      if (error.code === "CONFLICT" || error.code === "NOT_FOUND") counts.skipped++;
      else {
        counts.errors++;
        say(`Deleting handle ${id} failed: ${error.message}`);
      }
    }
  }
  say(`Released ${counts.released} handles; ${counts.skipped} skipped; ${counts.errors} errors.`);
  return counts;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CliError("FILE", `cannot read the report ${path}: ${(cause as Error).message}`, { cause });
  }
}
