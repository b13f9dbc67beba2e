import { FelixConfiguration } from "../../lib/api/felixconfiguration.ts";
import type { Resource } from "../../lib/api/meta.ts";
import { Profile } from "../../lib/api/profile.ts";
import { builtInTiers } from "../../lib/api/tier.ts";
import { type Call, CliError } from "../../lib/cli/index.ts";
import type { Client } from "../../lib/datastore/index.ts";
import type { EndpointToHostAction } from "../../lib/explain/index.ts";
import type { Input } from "../../lib/policy-agent/calc/index.ts";
import { chooseConfigurations, resolveConfig } from "../../lib/policy-agent/config/index.ts";
import { toInput, watchInputs } from "../../lib/policy-agent/intake/index.ts";
import { namespaceOf, targetsOfFiles } from "./targets.ts";

/** What policy is calculated from, and what is wrong with it. */
export interface PolicyInputs {
  readonly inputs: readonly Input[];
  readonly problems: readonly string[];
  readonly assumptions: readonly Assumption[];
  /** Those that can be read. */
  readonly configurations: readonly FelixConfiguration[];
}

/** Something that files do not say. It matters to who asks about the address, or about an endpoint in the namespace. */
export interface Assumption {
  readonly address?: string;
  readonly namespace?: string;
  readonly text: string;
}

/** How long a datastore may take to say everything, in milliseconds. */
const PATIENCE = 60_000;

/** Everything that policy depends on, as a datastore has it now. */
export async function inputsOfDatastore(client: Client): Promise<PolicyInputs> {
  const inputs: Input[] = [];
  const problems: string[] = [];
  const troubles = new Map<string, string>();
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  let complete = false;
  try {
    await watchInputs({
      client,
      signal: stop.signal,
      sink: (input) => void inputs.push(input),
      onProblem: (what, found) => void problems.push(...found.map((problem) => `${what}: ${problem}`)),
      onInSync: () => {
        complete = true;
        stop.abort();
      },
      onTrouble: (kind, why) => void (why === undefined ? troubles.delete(kind) : troubles.set(kind, why)),
    }).done;
  } finally {
    clearTimeout(timer);
  }
  if (!complete) {
    const reasons = [...troubles].map(([kind, why]) => `${kind}: ${why}`).join("; ");
    throw new CliError("DATASTORE", `the datastore did not say everything: ${reasons || "it takes too long"}`);
  }
  const { items: configurations } = await client.list(FelixConfiguration);
  return { inputs, problems, assumptions: [], configurations };
}

/**
 * The same of files, for which there need be no cluster. What every cluster has is added: the built-in tiers, the built-in profile, and the
 * namespaces and service accounts of the pods. A pod that runs nowhere yet gets a node and an address of its own.
 */
export async function inputsOfFiles(call: Call, paths: readonly string[]): Promise<PolicyInputs> {
  const problems: string[] = [];
  const given: Resource[] = [];
  for (const path of paths) {
    for (const target of await targetsOfFiles(call, path)) {
      if (target.resource === undefined) continue;
      problems.push(...target.problems.map((problem) => `${target.where}: ${problem}`));
      const namespace = namespaceOf(target, { namespace: call.args.text("namespace") });
      const inNamespace = namespace === undefined ? {} : { namespace };
      given.push({ ...target.resource, metadata: { ...target.resource.metadata, ...inNamespace } });
    }
  }
  const assumptions: Assumption[] = [];
  const placed = given.map((resource, i) =>
    resource.kind === "Pod" ? placedPod(resource as Pod, i, assumptions) : resource,
  );
  const inputs: Input[] = [];
  for (const resource of [...assumed(placed, assumptions), ...placed]) {
    const { input, problems: found } = toInput(resource);
    problems.push(...found.map((problem) => `${nameOf(resource)}: ${problem}`));
    if (input !== undefined) inputs.push(input);
  }
  const configurations = given.filter(({ kind }) => kind === FelixConfiguration.kind) as FelixConfiguration[];
  return { inputs, problems, assumptions, configurations };
}

/**
 * What becomes of packets from a node's workloads to itself, as far as a FelixConfiguration says it; undefined: none does. What the node's own
 * environment and file say goes before it, and is not known here.
 */
export function endpointToHostAction(
  { inputs, configurations }: Pick<PolicyInputs, "inputs" | "configurations">,
  name: string,
): EndpointToHostAction | undefined {
  const node = inputs.findLast((input) => input.kind === "Node" && input.name === name);
  const labels = node === undefined || node.kind === "Policy" ? undefined : (node.resource?.metadata.labels ?? {});
  const resources = chooseConfigurations(configurations, { name, labels });
  const { config, settings } = resolveConfig({ resources });
  return settings.DefaultEndpointToHostAction === undefined ? undefined : config.DefaultEndpointToHostAction;
}

type Pod = Resource<"Pod"> & {
  readonly spec?: { readonly nodeName?: string; readonly serviceAccountName?: string };
  readonly status?: { readonly podIP?: string; readonly podIPs?: readonly object[] };
};

const nameOf = ({ kind, metadata: { namespace, name } }: Resource): string =>
  `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;

/** Addresses that no network has: 198.18.0.0/15 is for benchmarks (RFC 2544). */
const madeUpAddress = (index: number): string => `198.18.${(index >> 8) & 255}.${index & 255}`;

/** Where a pod has no node and no address, it gets them, so that it can be asked about. */
function placedPod(pod: Pod, index: number, assumptions: Assumption[]): Pod {
  const { nodeName } = pod.spec ?? {};
  const hasAddress =
    Boolean(pod.status?.podIP) ||
    (pod.status?.podIPs ?? []).length > 0 ||
    Object.keys(pod.metadata.annotations ?? {}).some((key) => key.startsWith("cni.projectcalico.org/podIP"));
  if (nodeName && hasAddress) return pod;
  const address = madeUpAddress(index + 1);
  if (!hasAddress) {
    assumptions.push({ address, text: `${nameOf(pod)} has no address in the files: ${address} stands for it` });
  }
  return {
    ...pod,
    spec: { ...pod.spec, nodeName: nodeName || "node" },
    ...(hasAddress ? {} : { status: { ...pod.status, podIP: address } }),
  };
}

/** What the files need not say. */
function assumed(given: readonly Resource[], assumptions: Assumption[]): Resource[] {
  const has = (kind: string, name: string, namespace?: string) =>
    given.some(
      ({ kind: other, metadata }) => other === kind && metadata.name === name && metadata.namespace === namespace,
    );
  const found: Resource[] = builtInTiers().filter(({ metadata }) => !has("Tier", metadata.name));
  const profile = Profile.builtIn?.make();
  if (profile !== undefined && !has("Profile", profile.metadata.name)) found.push(profile);
  const pods = given.filter(({ kind }) => kind === "Pod") as Pod[];
  const namespaces = new Set(pods.map(({ metadata }) => metadata.namespace ?? "default"));
  for (const name of namespaces) {
    if (has("Namespace", name) || has("Profile", `kns.${name}`)) continue;
    const text = `there is no Namespace ${name} in the files: it is taken to have no labels but its name`;
    assumptions.push({ namespace: name, text });
    const labels = { "kubernetes.io/metadata.name": name };
    found.push({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  }
  const accounts = new Set(
    pods.map(({ metadata, spec }) => JSON.stringify([metadata.namespace ?? "default", spec?.serviceAccountName ?? ""])),
  );
  for (const account of accounts) {
    const [namespace = "", name = ""] = JSON.parse(account) as string[];
    if (name === "" || has("ServiceAccount", name, namespace) || has("Profile", `ksa.${namespace}.${name}`)) continue;
    found.push({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } });
  }
  return found;
}
