import { ClusterInformation, newClusterInformation } from "../api/clusterinformation.ts";
import { builtInTiers, Tier } from "../api/tier.ts";
import type { Client } from "./client.ts";
import { DatastoreError } from "./errors.ts";

export interface InitialiseOptions {
  /** The version that runs; recorded when it differs. Absent: left as it is. */
  readonly calicoVersion?: string;
  /**
   * What the cluster is made of, separated by commas: what is missing from the recorded list is added to its end. On Kubernetes
   * `kdd` always comes last among what is added, as upstream's client has it.
   */
  readonly clusterType?: string;
}

const ATTEMPTS = 20;

/**
 * Makes sure that the datastore is ready for use: its ClusterInformation, and the tiers default, kube-admin and kube-baseline. Does
 * nothing to what is right already (never sets `datastoreReady` when it is false), and any number of processes may do it at
 * once. As upstream's client does it (clientv3 EnsureInitialized).
 */
export async function ensureInitialized(client: Client, options: InitialiseOptions = {}): Promise<void> {
  await ensureClusterInformation(client, client.capabilities.views ? onKubernetes(options) : options);
  const tiers = builtInTiers();
  const present = await Promise.all(tiers.map((tier) => client.get(Tier, { name: tier.metadata.name })));
  for (const [i, tier] of tiers.entries()) {
    if (present[i]) continue;
    try {
      await client.create(Tier, tier);
    } catch (error) {
      // Somebody else was quicker; or this user may not make tiers, which is for another one to do.
      if (!isCode(error, "EXISTS") && !isCode(error, "UNAUTHORIZED")) throw error;
    }
  }
}

function onKubernetes(options: InitialiseOptions): InitialiseOptions {
  const given = options.clusterType?.replace(/,$/, "") ?? "";
  return { ...options, clusterType: given === "" ? "kdd" : `${given},kdd` };
}

async function ensureClusterInformation(client: Client, options: InitialiseOptions): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await client.get(ClusterInformation, { name: "default" });
      if (!found) {
        const { calicoVersion = "", clusterType = "" } = options;
        await client.create(ClusterInformation, newClusterInformation({ calicoVersion, clusterType }));
        return;
      }
      const wanted = completed(found, options);
      if (wanted) await client.update(ClusterInformation, wanted);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS || !(isCode(error, "EXISTS") || isCode(error, "CONFLICT") || isCode(error, "NOT_FOUND")))
        throw error;
    }
  }
}

/** With what is missing filled in, or undefined when nothing is. */
function completed(found: ClusterInformation, options: InitialiseOptions): ClusterInformation | undefined {
  const spec = { ...found.spec };
  if (options.calicoVersion) spec.calicoVersion = options.calicoVersion;
  spec.clusterGUID ||= crypto.randomUUID().replaceAll("-", "");
  spec.datastoreReady ??= true;
  const types = (spec.clusterType ?? "").split(",").filter((type) => type !== "");
  for (const type of (options.clusterType ?? "").split(",")) if (type !== "" && !types.includes(type)) types.push(type);
  if (types.length > 0) spec.clusterType = types.join(",");
  const changed = (Object.keys(spec) as (keyof typeof spec)[]).some((field) => spec[field] !== found.spec[field]);
  return changed ? { ...found, spec } : undefined;
}

const isCode = (error: unknown, code: DatastoreError["code"]): boolean =>
  error instanceof DatastoreError && error.code === code;
