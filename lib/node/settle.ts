/** Brings the Node resource to what it shall say: for start-up, and again whenever the machine's addresses change. */
import { API_VERSION } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import type { Client } from "../datastore/index.ts";
import { compareAddresses, formatAddress, tryParseAddress } from "../ip/index.ts";
import { type Conflict, conflictsOf, describeConflicts } from "./conflict.ts";
import { isCode } from "./defaults.ts";
import { isPolicyOnly } from "./environment.ts";
import { NodeError } from "./errors.ts";
import { type Addresses, addressesDiffer, decideAddresses, desiredNode, withoutAddresses } from "./node-resource.ts";
import type { Env, HostFacts, HostInterface, KubernetesFacts } from "./types.ts";

const ATTEMPTS = 20;

export interface Settled {
  /** As it is stored. Absent: there is none, and nothing to say in one. */
  readonly node?: Node;
  /** It was written. */
  readonly changed: boolean;
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}

export async function settleNode(
  client: Client,
  name: string,
  env: Env,
  facts: HostFacts,
  kubernetes: KubernetesFacts | undefined,
): Promise<Settled> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await settleOnce(client, name, env, facts, kubernetes);
    } catch (error) {
      // Somebody else wrote the Node meanwhile: what is to be said is decided anew from what it says now.
      if (attempt === ATTEMPTS || !isCode(error, "CONFLICT", "EXISTS", "NOT_FOUND")) throw error;
    }
  }
}

async function settleOnce(
  client: Client,
  name: string,
  env: Env,
  facts: HostFacts,
  kubernetes: KubernetesFacts | undefined,
): Promise<Settled> {
  const found = await client.get(Node, { name });
  if (!found && client.capabilities.views) {
    throw new NodeError(
      "NODE_MISSING",
      `Kubernetes has no Node ${name}; NODENAME must be the name that kubelet registered this machine by (see kubectl get nodes)`,
    );
  }
  const none: Addresses = { notes: [], warnings: [] };
  const addresses = isPolicyOnly(env) ? undefined : await decideAddresses(found?.spec.bgp, env, facts, kubernetes);
  const { notes, warnings } = addresses ?? none;
  const before: Node = found ?? { apiVersion: API_VERSION, kind: "Node", metadata: { name }, spec: {} };
  const wanted = desiredNode(before, addresses, env, facts);
  if (Bun.deepEquals(wanted.spec, before.spec))
    return { ...(found && { node: found }), changed: false, notes, warnings };

  const check = addressesDiffer(before, wanted) && env.DISABLE_NODE_IP_CHECK !== "true";
  if (check) {
    const conflicts = conflictsOf(wanted, (await client.list(Node)).items);
    if (conflicts.length > 0) {
      if (found)
        await release(
          client,
          found,
          conflicts.filter(({ version }) => env[version === 4 ? "IP" : "IP6"] === "autodetect"),
        );
      throw new NodeError("ADDRESS_CONFLICT", describeConflicts(name, conflicts));
    }
  }
  const node = found ? await client.update(Node, wanted) : await client.create(Node, wanted);
  if (check) {
    // Two that start at the same moment do not see each other before they have written; whoever sees the other then, gives way.
    const conflicts = conflictsOf(node, (await client.list(Node)).items);
    if (conflicts.length > 0) {
      await release(client, node, conflicts);
      throw new NodeError("ADDRESS_CONFLICT", describeConflicts(name, conflicts));
    }
  }
  const claimed = check ? await claimedByOthers(node, facts) : [];
  return { node, changed: true, notes, warnings: [...warnings, ...changesOf(before, node), ...claimed] };
}

/** Machines beyond this cluster, and those whose node is not up yet. They may be right: so it is said, and not acted upon. */
async function claimedByOthers(node: Node, facts: HostFacts): Promise<string[]> {
  const address = tryParseAddress(node.spec.bgp?.ipv4Address?.replace(/\/.*/, "") ?? "");
  if (!address || !facts.ownerOf) return [];
  const has = (on: HostInterface) => on.addresses.some((one) => compareAddresses(one.address, address) === 0);
  const on = facts.interfaces().find(has);
  const mac = on && (await facts.ownerOf(address, on.name));
  return mac === undefined
    ? []
    : [
        `the machine with the MAC ${mac} on the network of ${on?.name} has ${formatAddress(address)}, too; one of the two must have another`,
      ];
}

/** Takes addresses off the Node that are another's, or were ours and are not any more: they may be needed for whom they belong to. */
async function release(client: Client, node: Node, conflicts: readonly Conflict[]): Promise<void> {
  if (conflicts.length === 0) return;
  const freed = withoutAddresses(
    node,
    conflicts.map(({ version }) => version),
  );
  if (Bun.deepEquals(freed.spec, node.spec)) return;
  try {
    await client.update(Node, freed);
  } catch (error) {
    if (!isCode(error, "CONFLICT", "NOT_FOUND")) throw error;
  }
}

function changesOf(before: Node, after: Node): string[] {
  return (["ipv4Address", "ipv6Address"] as const).flatMap((field) => {
    const [was, is] = [before.spec.bgp?.[field], after.spec.bgp?.[field]];
    if (!was || !is || was.replace(/\/.*/, "") === is.replace(/\/.*/, "")) return [];
    return [
      `the address of node ${after.metadata.name} was ${was} and is ${is}; if that alternates, two machines have that name`,
    ];
  });
}
