import type { Kubernetes, KubernetesObject, ResourcePath } from "../../kubernetes/index.ts";
import { KubernetesError } from "../../kubernetes/index.ts";

/** Other Calicos mark objects of IPAM (`spec.deleted`) before they delete them; they count as absent from then on. */
const PLURALS = ["ipamblocks", "blockaffinities", "ipamhandles"] as const;
const GROUPS = [
  { group: "crd.projectcalico.org", version: "v1" },
  { group: "projectcalico.org", version: "v3" },
] as const;

interface Marked extends KubernetesObject {
  /** Of an affinity in crd.projectcalico.org it is a text. */
  readonly spec?: { readonly deleted?: boolean | string };
}

/**
 * Deletes what somebody marked as deleted and then died: no list of the datastore shows it, so nobody else ever would. What was marked the same when
 * it was looked at last, and no other, so that a deletion that is under way is left to whoever makes it.
 */
export class Tombstones {
  #seen = new Map<string, string>();

  /** Answers how many are left to be looked at again. */
  async sweep(kubernetes: Kubernetes): Promise<number> {
    const seen = new Map<string, string>();
    for (const one of GROUPS) {
      for (const plural of PLURALS) {
        for (const { metadata, spec } of await listed(kubernetes, { ...one, plural })) {
          const { name = "", uid, resourceVersion = "" } = metadata ?? {};
          if (String(spec?.deleted) !== "true") continue;
          const key = `${plural}/${name}`;
          if (this.#seen.get(key) !== resourceVersion) {
            seen.set(key, resourceVersion);
            continue;
          }
          const preconditions = { ...(uid !== undefined && { uid }), resourceVersion };
          await kubernetes.delete({ ...one, plural, name }, { preconditions }).catch((error: unknown) => {
            // It was used again, or has been deleted.
            if (!(error instanceof KubernetesError && (error.code === "CONFLICT" || error.code === "NOT_FOUND")))
              throw error;
          });
        }
      }
    }
    this.#seen = seen;
    return seen.size;
  }
}

async function listed(kubernetes: Kubernetes, path: ResourcePath): Promise<readonly Marked[]> {
  try {
    return (await kubernetes.list<Marked>(path)).items;
  } catch (error) {
    if (error instanceof KubernetesError && error.resourceMissing) return [];
    throw error;
  }
}
