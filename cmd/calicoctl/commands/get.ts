import type { Column, Kind } from "../../../lib/api/kind.ts";
import type { Resource } from "../../../lib/api/meta.ts";
import { type Call, CliError, type Command, columns, styleFor, toJson, toYaml } from "../../../lib/cli/index.ts";
import { CONFIG_OPTION, withClient } from "../connect.ts";
import { kindHelp } from "../kinds.ts";
import { get, list, type ResourceList } from "../manage.ts";
import { TARGET_OPTIONS, type Target, targetsOfArguments, targetsOfFiles } from "../targets.ts";
import { forEach } from "./run.ts";

export const getCommand: Command = {
  name: "get",
  summary: "Show resources by kind and name, or those that a file describes",
  description:
    "Show all resources of a kind, those of given names, or those that a file describes. The\n" +
    `YAML and JSON output can be fed back into apply.\n\nKinds (each also in the plural):\n${kindHelp()}`,
  usage: "[KIND [NAME...]]",
  positionals: [
    { name: "kind", type: "text" },
    { name: "names", type: "list" },
  ],
  options: {
    ...CONFIG_OPTION,
    ...TARGET_OPTIONS,
    output: {
      type: "text",
      short: "o",
      value: "FORMAT",
      summary: "ps, wide, yaml, json, or custom-columns=NAME,CIDR,... with the titles of the wide table.",
      default: "ps",
    },
    "all-namespaces": { type: "boolean", short: "A", summary: "Show those of all namespaces." },
    "all-namespaces-a": { type: "boolean", short: "a", summary: "The same as -A.", hidden: true },
    export: { type: "boolean", summary: "Leave out what belongs to this cluster only, such as uid; with names." },
  },
  examples: [
    { comment: "All IP pools.", line: "get ippools" },
    { comment: "One of them, as YAML.", line: "get ippool my-pool -o yaml" },
    { comment: "The endpoints of all namespaces, with more columns.", line: "get workloadendpoints -A -o wide" },
  ],
  run: async (call) => {
    const print = printerOf(call.args.text("output") ?? "ps");
    const targets = await targetsOf(call);
    const allNamespaces = call.args.flag("all-namespaces") || call.args.flag("all-namespaces-a");
    const failures = await withClient(call, async (client) => {
      const unreadable: string[] = [];
      const results = await forEach(call, targets, { allNamespaces }, async (job): Promise<Shown> => {
        const { kind, metadata, namespace } = job;
        if (metadata.name === "") {
          const { value, failures } = await list(client, kind, namespace);
          unreadable.push(...failures);
          return { kind, value };
        }
        if (kind.namespaced && allNamespaces) {
          throw new CliError("NAMESPACE", "cannot use --all-namespaces flag for getting a single resource");
        }
        const resource = await get(client, job);
        return { kind, value: call.args.flag("export") ? exported(resource) : resource };
      });
      const shown = results.done.flatMap((one) => one ?? []);
      if (shown.length > 0) {
        call.io.stdout.write(await print(call, shown, allNamespaces || Boolean(call.args.text("namespace"))));
      }
      // The others are shown all the same, but a list that is not whole must not look like one.
      return [...results.failures, ...unreadable];
    });
    if (failures.length > 0) throw new CliError("FAILED", failures.join("\n"));
    return 0;
  },
};

interface Shown {
  readonly kind: Kind;
  readonly value: Resource | ResourceList;
}

type Printer = (call: Call, shown: readonly Shown[], withNamespace: boolean) => Promise<string> | string;

async function targetsOf(call: Call): Promise<Target[]> {
  const path = call.args.text("filename");
  if (path) return targetsOfFiles(call, path);
  try {
    return targetsOfArguments(call.args);
  } catch (cause) {
    if (!(cause instanceof CliError) || cause.code !== "UNKNOWN_KIND") throw cause;
    throw new CliError("UNKNOWN_KIND", `failed to get resources: ${cause.message}`, { cause });
  }
}

function printerOf(format: string): Printer {
  const [name, value] = format.split(/=(.*)/s);
  if (value === undefined) {
    switch (name) {
      case "yaml":
      case "yml":
        return (_, shown) => toYaml(valueShown(shown));
      case "json":
        return (_, shown) => toJson(valueShown(shown));
      case "ps":
      case "wide":
        return (call, shown, withNamespace) =>
          tables(call, shown, withNamespace, (kind) =>
            kind.columns.filter(({ wide }) => wide === undefined || wide === (name === "wide")),
          );
    }
  }
  if (name === "custom-columns") {
    const titles = (value ?? "").split(",").filter((title) => title !== "");
    if (titles.length === 0) throw new CliError("USAGE", "need to specify at least one column");
    return (call, shown) => tables(call, shown, false, (kind) => titles.map((title) => columnOf(kind, title)));
  }
  const templates = name === "go-template" || name === "go-template-file" ? "; templates are not in this version" : "";
  throw new CliError(
    "USAGE",
    `unrecognized output format '${format}'${templates}: there is ps, wide, yaml, json and custom-columns=...`,
  );
}

/** One resource or list by itself, several as an array: upstream's way. */
function valueShown(shown: readonly Shown[]): unknown {
  const values = shown.map(({ value }) =>
    "items" in value ? { ...value, items: value.items.map(ordered) } : ordered(value),
  );
  return values.length === 1 ? values[0] : values;
}

/** Fields in the order in which Go prints them; those of Kubernetes' own kinds as they were given. */
function ordered({ kind, apiVersion, metadata, status, ...others }: Resource) {
  return { kind, apiVersion, metadata, ...others, ...(status === undefined ? {} : { status }) };
}

const NAMESPACE: Column<Resource> = { title: "NAMESPACE", value: ({ metadata }) => metadata.namespace ?? "" };

/** A table for each, an empty line after each. */
function tables(
  { io, env }: Call,
  shown: readonly Shown[],
  withNamespace: boolean,
  columnsOf: (kind: Kind) => readonly Column<Resource>[],
): string {
  const heading = styleFor(io.stdout, env).bold;
  return shown
    .map(({ kind, value }) => {
      const chosen = [...(withNamespace && kind.namespaced ? [NAMESPACE] : []), ...columnsOf(kind)];
      const resources = "items" in value ? value.items : [value];
      const rows = resources.map((resource) => chosen.map((column) => column.value(resource)));
      return `${columns({ headings: chosen.map(({ title }) => title), rows, heading })}\n`;
    })
    .join("");
}

function columnOf(kind: Kind, title: string): Column<Resource> {
  const known = kind.namespaced ? [NAMESPACE, ...kind.columns] : kind.columns;
  const column = known.find((candidate) => candidate.title === title);
  if (column) return column;
  const titles = known.map((candidate) => candidate.title);
  throw new CliError("USAGE", `unknown heading ${title}, valid values are: ${titles.join(", ")}`);
}

/** Without what another cluster, or another object of the same name, would not share. */
function exported(resource: Resource): Resource {
  const { name, labels, annotations, generateName, ownerReferences, finalizers } = resource.metadata;
  const metadata = { name, labels, annotations, generateName, ownerReferences, finalizers };
  const kept = Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined));
  return { ...resource, metadata: { ...kept, name } };
}
