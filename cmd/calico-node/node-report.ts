/** What the process for BGP says of the node, beside what its back end says of the sessions. */
import { type BgpStatus, ControlError, type ControlSource } from "../../lib/bgp/control/index.ts";
import type { Backend } from "../../lib/bgp/index.ts";
import type { UnservedPool } from "../../lib/node/index.ts";

export class NodeReport {
  /** Why the datastore cannot be used; undefined: it can. */
  datastore: string | undefined;
  /** Why start-up failed the last time; undefined: it did not. */
  start: string | undefined;
  /** Why pods cannot be attached to this node, or soon cannot; undefined: nothing is known to be in the way. */
  cni: string | undefined;
  /** Start-up is done. */
  prepared = false;
  /** When the back end was told last what BGP shall be, in milliseconds since 1970. */
  configuredAt: number | undefined;
  readonly startedAt = Date.now();
  unserved: readonly UnservedPool[] = [];
  /** Kinds that have not told everything yet. */
  missing: Iterable<string> = [];
  readonly #troubles = new Map<string, string>();

  /** A kind that cannot be watched, and why; undefined: it can again. */
  trouble(kind: string, why: string | undefined): void {
    if (why === undefined) this.#troubles.delete(kind);
    else this.#troubles.set(kind, why);
  }

  /** A datastore that is away is one trouble, not one of each kind. */
  #troublesInWords(): string[] {
    const kinds = Map.groupBy(this.#troubles.keys(), (kind) => this.#troubles.get(kind)!);
    return [...kinds].map(([why, of]) => `${of.join(", ")} cannot be watched: ${why}`);
  }

  /**
   * What start-up has not done yet, in words. Without it nobody knows of this node, so a pod on it would have no network however long one waits: unlike
   * a peer that is away, it is this node's own.
   */
  notPrepared({ backend, node }: Pick<BgpStatus, "backend" | "node">): readonly string[] {
    const waitsFor = [
      ...(this.datastore === undefined ? [] : [`the datastore cannot be used: ${this.datastore}`]),
      ...(this.prepared || this.start === undefined ? [] : [`the node is not prepared: ${this.start}`]),
    ];
    if (waitsFor.length > 0) return waitsFor;
    const hasBgp = backend !== "none";
    if (hasBgp && this.configuredAt === undefined) {
      const troubles = this.#troublesInWords();
      const missing = [...this.missing];
      const told = missing.length === 0 ? "everything" : `its ${missing.join(", ")}`;
      return [
        troubles.length > 0
          ? `BGP has no configuration yet: ${troubles.join("; ")}`
          : `BGP has no configuration yet: the datastore has not told ${told}`,
      ];
    }
    if (!this.prepared) return ["the node is being prepared"];
    return hasBgp && node === "" ? ["BGP has not taken its configuration yet"] : [];
  }

  /** What the back end says, with what there is to say of the node. */
  over(status: BgpStatus): BgpStatus {
    const troubles = this.#troublesInWords();
    const notServed = this.unserved.map(({ message }) => message);
    const waitsFor = [...this.notPrepared(status), ...(this.cni === undefined ? [] : [this.cni])];
    return {
      ...status,
      problems: [...waitsFor, ...notServed, ...(this.configuredAt ? troubles : []), ...status.problems],
      waitsFor,
      notServed,
    };
  }
}

/** What a back end would say where there is none. */
export const NO_BGP: BgpStatus = {
  ...{ node: "", asn: 0, routerId: "", backend: "none", restarting: false },
  ...{ peers: [], problems: [] },
};

/** What the control socket serves. Without a back end it says that there is no BGP here, and still what start-up has to say. */
export function controlSource(node: string, backend: Backend | undefined, report: NodeReport): ControlSource {
  if (backend) {
    return {
      status: async () => report.over(await backend.status()),
      explain: (prefix) => backend.explain(prefix),
      routes: (which, peer) => backend.routes(which, peer),
    };
  }
  const refuse = (): never => {
    throw new ControlError("BGP_REFUSED", "this node does no BGP, as CALICO_NETWORKING_BACKEND says");
  };
  return { status: () => report.over({ ...NO_BGP, node }), explain: refuse, routes: refuse };
}
