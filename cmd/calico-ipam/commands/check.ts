import { writeFileSync } from "node:fs";
import { ClusterInformation } from "../../../lib/api/clusterinformation.ts";
import { IPAMBlock } from "../../../lib/api/ipamblock.ts";
import { IPAMHandle } from "../../../lib/api/ipamhandle.ts";
import { IPPool } from "../../../lib/api/ippool.ts";
import { Node } from "../../../lib/api/node.ts";
import { WorkloadEndpoint } from "../../../lib/api/workloadendpoint.ts";
import { type Call, CliError, type Command, styleFor, toJson } from "../../../lib/cli/index.ts";
import type { Client } from "../../../lib/datastore/index.ts";
import { type Audit, createIpam, type Finding, type FindingKind, ipamAdmin } from "../../../lib/ipam/index.ts";
import { VERSION } from "../../../lib/telemetry/index.ts";
import { CONFIG_OPTION, withClient } from "../../calicoctl/connect.ts";

export const check: Command = {
  name: "check",
  summary: "Check the integrity of the IPAM data, and find leaked addresses",
  description:
    "Compare blocks, affinities and handles with each other and with the nodes and endpoints\n" +
    "that use addresses, and report what does not fit. Nothing is changed.\n\n" +
    "The report file can later be given to 'release'. To be safe beside pods that are just\n" +
    "being started, lock the datastore, or make two reports some minutes apart and give both.",
  options: {
    ...CONFIG_OPTION,
    "show-all-ips": { type: "boolean", summary: "List every address that is looked at." },
    "show-problem-ips": { type: "boolean", summary: "List every address that is leaked or not allocated properly." },
    output: {
      type: "text",
      short: "o",
      value: "FILE",
      summary: "Write the report to this file, as JSON. 'json' prints it instead of the text.",
    },
    kubeconfig: { type: "text", value: "FILE", summary: "Accepted for scripts.", hidden: true },
  },
  examples: [
    { comment: "Check, and keep a report of leaked addresses.", line: "check --show-problem-ips -o report.json" },
    { comment: "The report on stdout, for a script.", line: "check -o json" },
  ],
  run: (call) =>
    withClient(call, async (client) => {
      const { audit, auditText, leakReport } = await ipamAdmin();
      const result = audit(await everything(client));
      const report = leakReport(result, await client.get(ClusterInformation, { name: "default" }), VERSION);
      const { findings } = await createIpam(client).check();
      const output = call.args.text("output");
      if (output === "json") {
        call.io.stdout.write(toJson({ ...report, problems: result.problems, findings }));
        return 0;
      }
      const options = {
        allAddresses: call.args.flag("show-all-ips"),
        problemAddresses: call.args.flag("show-problem-ips"),
      };
      call.io.stdout.write(auditText(result, options));
      call.io.stdout.write(furtherText(call, result, findings));
      if (output !== undefined) save(output, toJson(report));
      return 0;
    }),
};

async function everything(client: Client) {
  const [blocks, handles, pools, nodes, endpoints] = await Promise.all([
    client.list(IPAMBlock),
    client.list(IPAMHandle),
    client.list(IPPool),
    client.list(Node),
    client.list(WorkloadEndpoint),
  ]);
  // Addresses of an endpoint that is passed over would look leaked, and be released. A handle is only the blocks' index.
  for (const { unreadable } of [blocks, pools, nodes, endpoints]) for (const { error } of unreadable) throw error;
  return {
    blocks: blocks.items,
    handles: handles.items,
    unreadableHandles: handles.unreadable.map(({ ref }) => String(ref.spec?.handleID)),
    pools: pools.items,
    nodes: nodes.items,
    endpoints: endpoints.items,
  };
}

/** What the part of the report that is upstream's has said already. */
const SAID: readonly FindingKind[] = ["not-in-use", "not-allocated", "handle-empty", "block-corrupt"];

function furtherText({ io, env, program }: Call, result: Audit, findings: readonly Finding[]): string {
  const style = styleFor(io.stdout, env);
  const further = findings.filter(({ kind }) => !SAID.includes(kind));
  const remedy =
    result.leaked.length + result.leakedHandles.length > 0
      ? `\nTo release what is leaked: '${program} check -o report.json', then '${program} release --from-report report.json'.\n`
      : "";
  if (further.length === 0) return remedy;
  const items = further.map(({ kind, message, repair }) => {
    const hint = repair === undefined ? "" : style.dim(` (${repair})`);
    return `  ${style.yellow(kind)}: ${message}${hint}\n`;
  });
  return `\nFurther findings about affinities, handles, pools and nodes: ${further.length}\n${items.join("")}${remedy}`;
}

function save(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new CliError("FILE", `cannot write the report ${path}: ${(cause as Error).message}`, { cause });
  }
}
