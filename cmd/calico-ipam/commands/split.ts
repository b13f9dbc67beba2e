import { IPPool } from "../../../lib/api/ippool.ts";
import { CliError, type Command, toJson, UsageError } from "../../../lib/cli/index.ts";
import type { Client } from "../../../lib/datastore/index.ts";
import { sameCidr, tryParseCidr } from "../../../lib/ip/index.ts";
import { createIpam } from "../../../lib/ipam/index.ts";
import { CONFIG_OPTION, withClient } from "../../calicoctl/connect.ts";
import { JSON_OPTION, wantsJson } from "./output.ts";

export const split: Command = {
  name: "split",
  summary: "Split an IP pool into a number of smaller ones",
  description:
    "Replace an IP pool by NUMBER pools of equal size; NUMBER is a power of two. Addresses that\n" +
    "are in use stay where they are. Useful to give each zone or rack a pool of its own.\n\n" +
    "The datastore must be locked, so that nothing is assigned meanwhile.",
  usage: "NUMBER",
  positionals: [{ name: "number", type: "text" }],
  options: {
    ...CONFIG_OPTION,
    ...JSON_OPTION,
    cidr: { type: "text", value: "CIDR", summary: "The pool of this CIDR." },
    name: { type: "text", value: "NAME", summary: "The pool of this name." },
  },
  examples: [{ comment: "Four pools out of one.", line: "split 4 --name=my-pool" }],
  run: (call) => {
    const text = call.args.text("number");
    if (text === undefined) throw new UsageError("say into how many pools to split: split NUMBER");
    const parts = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(parts)) {
      throw new UsageError(`error reading number to split IP pools into. ${text} is not a valid number`);
    }
    if (parts < 2 || !Number.isInteger(Math.log2(parts))) {
      throw new UsageError(`number to split CIDR into is not a valid power of 2: ${text}`);
    }
    const [name, cidr] = [call.args.text("name"), call.args.text("cidr")];
    if (!name && !cidr) {
      throw new UsageError("no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split");
    }
    const json = wantsJson(call);
    return withClient(call, async (client) => {
      const pool = name ? await byName(client, name) : await byCidr(client, cidr ?? "");
      const result = await createIpam(client).splitPool(pool, parts);
      if (json) {
        call.io.stdout.write(toJson(result));
        return 0;
      }
      call.io.stdout.write(
        `IP Pool ${result.removed} was successfully split into ${result.created.length} smaller pools.\n`,
      );
      for (const created of result.created)
        call.io.stdout.write(`Created ${created.name} with CIDR ${created.cidr}.\n`);
      call.io.stdout.write("You may now unlock the data store.\n");
      return 0;
    });
  },
};

async function byName(client: Client, name: string): Promise<string> {
  if (await client.get(IPPool, { name })) return name;
  throw new CliError("NOT_FOUND", `unable to find IP pool with name ${name}`);
}

async function byCidr(client: Client, text: string): Promise<string> {
  const wanted = tryParseCidr(text);
  const { items } = await client.list(IPPool);
  const found = items.find(({ spec }) => {
    const cidr = tryParseCidr(spec.cidr);
    return spec.cidr === text || (wanted !== undefined && cidr !== undefined && sameCidr(wanted, cidr));
  });
  if (found) return found.metadata.name;
  throw new CliError("NOT_FOUND", `unable to find IP pool covering the specified CIDR ${text}`);
}
