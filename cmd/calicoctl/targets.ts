import type { Kind } from "../../lib/api/kind.ts";
import type { Resource } from "../../lib/api/meta.ts";
import { ALL_KINDS, parseResource } from "../../lib/api/registry.ts";
import { describeProblem } from "../../lib/api/schema.ts";
import {
  type Args,
  type Call,
  CliError,
  collectSources,
  type Document,
  describeDocument,
  didYouMean,
  type Option,
  readDocuments,
  UsageError,
} from "../../lib/cli/index.ts";
import { kindNamed } from "./kinds.ts";

/** Flags that say which resources are meant; the same for every verb. */
export const TARGET_OPTIONS: Readonly<Record<string, Option>> = {
  filename: {
    type: "text",
    short: "f",
    value: "FILE",
    summary: "A YAML or JSON file, a folder, or - for standard input.",
  },
  recursive: { type: "boolean", short: "R", summary: "Read the folders within the folder of -f as well." },
  "skip-empty": { type: "boolean", summary: "Files without resources are no error." },
  namespace: { type: "text", short: "n", value: "NAME", summary: "Namespace of the resource." },
};

/** One resource that the command line means. */
export interface Target {
  readonly kind: Kind;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly resourceVersion?: string };
  /** Completed; absent when the resource was only named. */
  readonly resource?: Resource;
  /** What is wrong with it: problems that are reported when its turn comes. */
  readonly problems: readonly string[];
  /** `pool.yaml: document 2 (IPPool "a")`; absent when the resource was only named. */
  readonly where?: string;
}

/** The resources of the files that -f names. Throws when a file cannot be read, or a document is of no known kind. */
export async function targetsOfFiles(call: Call, path: string): Promise<Target[]> {
  const skipEmpty = call.args.flag("skip-empty");
  const { sources, folder } = await collectSources(path, call.io, { recursive: call.args.flag("recursive") });
  const targets: Target[] = [];
  for (const source of sources) {
    const documents = await readDocuments(source.text, source.name).catch((cause: Error) => {
      throw new CliError("DOCUMENT", `failed to execute command: ${cause.message}`, { cause });
    });
    if (documents.length === 0 && !skipEmpty) {
      throw new CliError("EMPTY", `no resources specified in file ${source.name}`);
    }
    targets.push(...documents.map(targetOf));
  }
  if (targets.length === 0 && folder !== undefined && !skipEmpty) {
    throw new CliError("EMPTY", `no resources specified in directory ${folder}`);
  }
  return targets;
}

/** The resources that `KIND [NAME...]` means; without a name, one target with the name "". */
export function targetsOfArguments(args: Args): Target[] {
  const kindName = args.text("kind");
  if (kindName === undefined) throw new UsageError("say which resources: KIND [NAME...], or -f FILE");
  const kind = kindNamed(kindName);
  const names = args.list("names");
  if (names.includes("")) throw new CliError("USAGE", "resource name may not be empty");
  return (names.length === 0 ? [""] : names).map((name) => ({ kind, metadata: { name }, problems: [] }));
}

function targetOf(document: Document): Target {
  const where = describeDocument(document);
  const refuse = (problem: string) => new CliError("DOCUMENT", `failed to execute command: ${where}: ${problem}`);
  const { apiVersion, kind: kindName } = document.value;
  const parsed = parseResource(document.value);
  if (!parsed.kind || !parsed.resource) {
    const near =
      typeof kindName === "string"
        ? didYouMean(
            kindName,
            ALL_KINDS.map((kind) => kind.kind),
          )
        : "";
    throw refuse(`${parsed.problems.map(describeProblem).join("; ")}${near}`);
  }
  const version = parsed.problems.find((problem) => problem.path === "apiVersion");
  if (version)
    throw refuse(
      `unknown resource type (${parsed.kind.kind}) and/or version (${String(apiVersion)}): ${describeProblem(version)}`,
    );
  const { metadata } = parsed.resource;
  return {
    kind: parsed.kind,
    metadata: {
      name: typeof metadata?.name === "string" ? metadata.name : "",
      ...(typeof metadata?.namespace === "string" ? { namespace: metadata.namespace } : {}),
      ...(typeof metadata?.resourceVersion === "string" ? { resourceVersion: metadata.resourceVersion } : {}),
    },
    resource: parsed.resource,
    problems: parsed.problems.map(describeProblem),
    where,
  };
}

/** Where to look for a target: its own namespace, that of -n, "default", or undefined for all of them (-A) and for kinds without. */
export function namespaceOf(
  target: Target,
  options: { namespace?: string | undefined; all?: boolean },
): string | undefined {
  const { kind, metadata } = target;
  const own = metadata.namespace === "" ? undefined : metadata.namespace;
  const given = options.namespace === "" ? undefined : options.namespace;
  const all = options.all === true;
  if (!kind.namespaced) {
    if (own !== undefined) {
      throw new CliError(
        "NAMESPACE",
        `namespace should not be specified for a non-namespaced resource. ${kind.kind} is not a namespaced resource`,
      );
    }
    if (all || given !== undefined) throw new CliError("NAMESPACE", `${kind.kind} is not namespaced`);
    return undefined;
  }
  if (all && given !== undefined) {
    throw new CliError("NAMESPACE", "cannot use both --namespace and --all-namespaces flags at the same time");
  }
  if (all) return undefined;
  if (own !== undefined && given !== undefined && own !== given) {
    throw new CliError("NAMESPACE", `resource namespace does not match client namespace. ${own} != ${given}`);
  }
  return own ?? given ?? "default";
}

/** Upstream's way to name a resource in messages: `IPPool(a)`, `WorkloadEndpoint(ns/name)`, `NetworkPolicy.networking.k8s.io(ns/name)`. */
export function identify(kind: Kind, name: string, namespace: string | undefined): string {
  const isShared = kind.verbatim && ALL_KINDS.some((other) => other !== kind && other.kind === kind.kind);
  const group = isShared ? `.${kind.apiVersion.split("/")[0]}` : "";
  return `${kind.kind}${group}(${namespace === undefined ? name : `${namespace}/${name}`})`;
}
