import { formatAddress, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { fieldsOf, listOf, textOf } from "./fields.ts";
import type { Message, Pool } from "./messages.ts";
import { netKey, netText } from "./nets.ts";

type NodeAddresses = { readonly ipv4?: string; readonly ipv6?: string };

/** What of pools, nodes and the addresses of Services the dataplane needs to know; it depends on nothing else. */
export class Cluster {
  readonly #pools = new Map<string, Pool>();
  readonly #sentPools = new Map<string, Pool>();
  readonly #nodes = new Map<string, NodeAddresses>();
  readonly #sentNodes = new Map<string, NodeAddresses>();
  readonly #changedNodes = new Set<string>();
  #serviceCidrs: readonly string[] = [];
  #sentServiceCidrs = "[]";
  #poolsChanged = false;

  /** Whether there may be something to say. */
  get hasChanged(): boolean {
    return (
      this.#poolsChanged || this.#changedNodes.size > 0 || JSON.stringify(this.#serviceCidrs) !== this.#sentServiceCidrs
    );
  }

  updatePool(name: string, resource: unknown): void {
    const pool = resource === undefined ? undefined : readPool(resource);
    if (pool === undefined) this.#pools.delete(name);
    else this.#pools.set(name, pool);
    this.#poolsChanged = true;
  }

  updateNode(name: string, resource: unknown): void {
    if (resource === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, readNode(resource));
    this.#changedNodes.add(name);
  }

  /** Only `default` counts. */
  updateBgpConfiguration(name: string, resource: unknown): void {
    if (name !== "default") return;
    const spec = fieldsOf(fieldsOf(resource).spec);
    const cidrs: string[] = [];
    for (const field of ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"]) {
      for (const entry of listOf(spec[field])) {
        const key = netKey(textOf(fieldsOf(entry).cidr));
        if (key !== undefined) cidrs.push(netText(key));
      }
    }
    this.#serviceCidrs = [...new Set(cidrs)];
  }

  *flush(emit: (message: Message) => void): Generator<void, void, undefined> {
    if (this.#poolsChanged) {
      this.#poolsChanged = false;
      const wanted = new Map<string, Pool>();
      for (const [, pool] of [...this.#pools].sort(([a], [b]) => (a < b ? 1 : -1))) wanted.set(pool.cidr, pool);
      for (const cidr of this.#sentPools.keys()) {
        if (wanted.has(cidr)) continue;
        this.#sentPools.delete(cidr);
        emit({ type: "pool-removed", cidr });
      }
      for (const [cidr, pool] of wanted) {
        if (Bun.deepEquals(this.#sentPools.get(cidr), pool)) continue;
        this.#sentPools.set(cidr, pool);
        emit({ type: "pool", pool });
      }
    }
    for (const name of this.#changedNodes) {
      yield;
      this.#changedNodes.delete(name);
      const [wanted, sent] = [this.#nodes.get(name), this.#sentNodes.get(name)];
      if (wanted === undefined) {
        if (this.#sentNodes.delete(name)) emit({ type: "node-removed", name });
      } else if (sent === undefined || sent.ipv4 !== wanted.ipv4 || sent.ipv6 !== wanted.ipv6) {
        this.#sentNodes.set(name, wanted);
        emit({ type: "node", name, ...wanted });
      }
    }
    const cidrs = JSON.stringify(this.#serviceCidrs);
    if (cidrs !== this.#sentServiceCidrs) {
      this.#sentServiceCidrs = cidrs;
      emit({ type: "service-cidrs", cidrs: this.#serviceCidrs });
    }
  }
}

function readPool(resource: unknown): Pool | undefined {
  const { cidr, natOutgoing, ipipMode, vxlanMode } = fieldsOf(fieldsOf(resource).spec);
  const key = netKey(textOf(cidr));
  if (key === undefined) return undefined;
  return {
    cidr: netText(key),
    natOutgoing: natOutgoing === true,
    ipipMode: mode(ipipMode),
    vxlanMode: mode(vxlanMode),
  };
}

const mode = (value: unknown): Pool["ipipMode"] => (value === "Always" || value === "CrossSubnet" ? value : "Never");

/** What BGP uses; else what the node or Kubernetes say, addresses inside the cluster first (felix/calc/dataplane_passthru.go). */
function readNode(resource: unknown): NodeAddresses {
  const { bgp, addresses } = fieldsOf(fieldsOf(resource).spec);
  const { ipv4Address, ipv6Address } = fieldsOf(bgp);
  const listed = listOf(addresses).map(fieldsOf);
  const ofType = (wanted: string) => listed.filter(({ type }) => type === wanted).map(({ address }) => textOf(address));
  const candidates = [...ofType("InternalIP"), ...ofType("ExternalIP")];
  const find = (first: unknown, version: 4 | 6) =>
    [textOf(first), ...candidates].map((text) => addressOf(text, version)).find((text) => text !== undefined);
  const [ipv4, ipv6] = [find(ipv4Address, 4), find(ipv6Address, 6)];
  return { ...(ipv4 !== undefined && { ipv4 }), ...(ipv6 !== undefined && { ipv6 }) };
}

function addressOf(text: string, version: 4 | 6): string | undefined {
  const slash = text.indexOf("/");
  if (slash >= 0 && tryParseCidr(text) === undefined) return undefined;
  const address = tryParseAddress(slash < 0 ? text : text.slice(0, slash));
  return address?.version === version ? formatAddress(address) : undefined;
}
