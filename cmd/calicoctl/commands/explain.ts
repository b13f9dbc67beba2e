import { protocolNumber } from "../../../lib/api/protocol.ts";
import { type Call, CliError, type Command, styleFor, toJson, UsageError } from "../../../lib/cli/index.ts";
import type { Explanation, ProbeRequest, Query, Verification } from "../../../lib/explain/index.ts";
import { CONFIG_OPTION, withClient } from "../connect.ts";
import type { PolicyInputs } from "../policy-inputs.ts";

/** The calculation and what it needs are loaded when somebody asks. */
const lib = () => import("../../../lib/explain/index.ts");

/** This program again, as the process that sends the packet. Compiled it is its own file, by whichever of its names; from source bun runs it. */
const PROBE = [
  process.execPath,
  ...(Bun.main.startsWith("/$bunfs/") ? (process.execPath.endsWith("/calicoctl") ? [] : ["ctl"]) : [Bun.main]),
  "explain-probe",
];

/** Sends the packet of `--verify`, in whichever network namespace it was started in. */
export const probeCommand: Command = {
  name: "explain-probe",
  summary: "Send the packet of 'explain --verify'",
  hidden: true,
  positionals: [{ name: "request", type: "text" }],
  run: async ({ args, io }) => {
    const { probe } = await lib();
    const request = JSON.parse(args.text("request") ?? "{}") as ProbeRequest;
    io.stdout.write(`${JSON.stringify(await probe(request))}
`);
    return 0;
  },
};

export const explainCommand: Command = {
  name: "explain",
  summary: "Show which policy rule decides about a packet, and why the earlier ones do not match",
  description:
    "Show whether the first packet of a connection gets from SOURCE to DESTINATION, which tiers,\n" +
    "policies and rules it meets on its way, which of them decides, and why the earlier ones do\n" +
    "not match. Each end is NAMESPACE/POD, the name of a workload or host endpoint, or an address.\n\n" +
    "The resources are those of the datastore or, with -f, of files: then there need be no cluster.\n" +
    "Files may hold Calico's kinds and Kubernetes' own (NetworkPolicy, ClusterNetworkPolicy, Pod,\n" +
    "Namespace, ServiceAccount, EndpointSlice).\n\n" +
    "The exit status is 0 when there is an answer, whatever it is; with --expect it is 1 when the\n" +
    "answer is another, with --verify when the packet fares otherwise.",
  usage: "SOURCE DESTINATION",
  positionals: [
    { name: "source", type: "text" },
    { name: "destination", type: "text" },
  ],
  options: {
    ...CONFIG_OPTION,
    protocol: {
      type: "text",
      value: "PROTOCOL",
      summary: "TCP, UDP, SCTP, UDPLite, ICMP (an echo request), or a number.",
      default: "TCP",
    },
    port: { type: "text", value: "N", summary: "The port at the destination." },
    "source-port": { type: "text", value: "N", summary: "The port at the source." },
    "ip-version": { type: "text", value: "4|6", summary: "Where both ends have addresses of both; default 4." },
    filename: {
      type: "list",
      short: "f",
      value: "FILE",
      summary: "A YAML or JSON file, a folder, or - for standard input, instead of the datastore; several times.",
    },
    recursive: { type: "boolean", short: "R", summary: "Read the folders within the folder of -f as well." },
    "skip-empty": { type: "boolean", summary: "Files without resources are no error." },
    namespace: { type: "text", short: "n", value: "NAME", summary: "Namespace of resources in files that name none." },
    output: { type: "text", short: "o", value: "FORMAT", summary: "text or json.", default: "text" },
    verify: {
      type: "boolean",
      summary: "Also send the packet, from the source's network namespace on this machine (root), and compare.",
    },
    expect: { type: "text", value: "allow|deny", summary: "Exit with 1 when the answer is another." },
  },
  examples: [
    { comment: "May web reach the database?", line: "explain shop/web shop/db --port 5432" },
    {
      comment: "The same of files, in a test.",
      line: "explain shop/web shop/db --port 5432 -f ./manifests --expect allow",
    },
    { comment: "A ping from outside.", line: "explain 203.0.113.7 shop/web --protocol ICMP" },
  ],
  run: async (call) => {
    const query = queryOf(call);
    const output = call.args.text("output") ?? "text";
    if (output !== "text" && output !== "json") {
      throw new UsageError(`unrecognized output format '${output}': there is text and json`);
    }
    const expected = call.args.text("expect");
    if (expected !== undefined && expected !== "allow" && expected !== "deny") {
      throw new UsageError(`--expect must be allow or deny, not '${expected}'`);
    }
    const explanation = await explained(await gather(call), query);
    const verification = call.args.flag("verify") ? (await lib()).verify(explanation, PROBE) : undefined;
    const { agrees } = verification ?? {};
    call.io.stdout.write(
      output === "json"
        ? toJson({ ...explanation, ...(verification && { verification }) })
        : await text(call, explanation, verification),
    );
    if (agrees === false) return 1;
    if (expected === undefined || expected === explanation.verdict) return 0;
    call.io.stderr.write(`expected ${expected}, but the answer is ${explanation.verdict}\n`);
    return 1;
  },
};

async function gather(call: Call): Promise<PolicyInputs> {
  const { inputsOfDatastore, inputsOfFiles } = await import("../policy-inputs.ts");
  const paths = call.args.list("filename");
  return paths.length > 0 ? inputsOfFiles(call, paths) : withClient(call, inputsOfDatastore);
}

async function text({ io, env }: Call, explanation: Explanation, verification?: Verification): Promise<string> {
  const { renderExplanation, verificationText } = await lib();
  const rendered = renderExplanation(explanation, { style: styleFor(io.stdout, env) });
  return verification === undefined ? rendered : `${rendered}\n${verificationText(verification)}\n`;
}

async function explained(gathered: PolicyInputs, query: Query): Promise<Explanation> {
  const { ExplainError, explain } = await lib();
  const { endpointToHostAction } = await import("../policy-inputs.ts");
  const { inputs, problems, assumptions } = gathered;
  try {
    const explanation = explain(inputs, query, {
      problems,
      endpointToHostAction: (node) => endpointToHostAction(gathered, node),
    });
    const ends = [explanation.source, explanation.destination];
    const relevant = assumptions.filter(({ address, namespace }) =>
      ends.some((end) => end.address === address || (namespace !== undefined && end.endpoint?.namespace === namespace)),
    );
    return { ...explanation, warnings: [...explanation.warnings, ...relevant.map(({ text }) => text)] };
  } catch (cause) {
    if (!(cause instanceof ExplainError)) throw cause;
    throw new CliError(cause.code, cause.message, { cause });
  }
}

/** TCP, UDP, SCTP, UDPLite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132, 136]);

function queryOf({ args }: Call): Query {
  const [source, destination] = [args.text("source"), args.text("destination")];
  if (!source || !destination) throw new UsageError("say from where to where: SOURCE DESTINATION");
  const name = args.text("protocol") ?? "TCP";
  const protocol = name.toLowerCase() === "icmp" ? "icmp" : protocolNumber(name);
  if (protocol === undefined || (protocol !== "icmp" && protocol > 255)) {
    throw new UsageError(`'${name}' is no protocol: there is TCP, UDP, SCTP, UDPLite, ICMP, and numbers up to 255`);
  }
  const isIcmp6 = name.toLowerCase() === "icmpv6";
  const version = args.text("ip-version") ?? (isIcmp6 ? "6" : undefined);
  if (version !== undefined && version !== "4" && version !== "6") throw new UsageError("--ip-version must be 4 or 6");
  if (isIcmp6 && version === "4") throw new UsageError("ICMPv6 is of IPv6: leave --ip-version out, or ask for ICMP");
  const [port, sourcePort] = [portOf("port", args.text("port")), portOf("source-port", args.text("source-port"))];
  if ((port ?? sourcePort) !== undefined && (protocol === "icmp" || !WITH_PORTS.has(protocol))) {
    throw new UsageError(
      `${name} has no ports: leave --port and --source-port out, or ask for TCP, UDP, SCTP or UDPLite`,
    );
  }
  return {
    source,
    destination,
    protocol,
    ...(port === undefined ? {} : { destinationPort: port }),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(version === undefined ? {} : { ipVersion: version === "4" ? 4 : 6 }),
  };
}

function portOf(option: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const port = Number(given);
  if (/^\d+$/.test(given) && port >= 1 && port <= 65535) return port;
  throw new UsageError(`--${option} must be a number from 1 to 65535, not '${given}'`);
}
