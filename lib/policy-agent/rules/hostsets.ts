/** Sets that no policy names: pools, hosts, this host's addresses (felix/dataplane/linux/{masq,ipset_hosts,hostip}_mgr.go). */
import { type Cidr, cidrContains, formatCidr, hostCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import type { Message, Pool } from "../calc/index.ts";
import { isVersion, type RenderContext } from "./context.ts";
import type { IpVersion } from "./ir.ts";
import { SET } from "./names.ts";
import type { Program } from "./program.ts";
import type { Tunnels } from "./static.ts";

type NodeMessage = Extract<Message, { type: "node" }>;

export class HostSets {
  readonly #context: RenderContext;
  readonly #programs: readonly Program[];
  readonly #pools = new Map<string, Pool>();
  readonly #nodes = new Map<string, NodeMessage>();
  #poolsDirty = true;
  #hostsDirty = true;
  #thisHostDirty = true;

  constructor(context: RenderContext, programs: readonly Program[]) {
    this.#context = context;
    this.#programs = programs;
  }

  setPool(pool: Pool): void {
    this.#pools.set(pool.cidr, pool);
    this.#poolsDirty = true;
  }
  removePool(cidr: string): void {
    if (this.#pools.delete(cidr)) this.#poolsDirty = true;
  }
  setNode(node: NodeMessage): void {
    const before = this.#nodes.get(node.name);
    this.#nodes.set(node.name, node);
    if (before?.ipv4 !== node.ipv4 || before?.ipv6 !== node.ipv6) this.#hostsDirty = true;
  }
  removeNode(name: string): void {
    if (this.#nodes.delete(name)) this.#hostsDirty = true;
  }
  /** The addresses of the host's interfaces are no longer the same. */
  addressesChanged(): void {
    this.#thisHostDirty = true;
  }

  tunnels(version: IpVersion): Tunnels {
    const { ipipEnabled, vxlanEnabled } = this.#context.config;
    const pools = [...this.#pools.values()].filter((pool) => isVersion(pool.cidr, version));
    return {
      ipip: version === 4 && (ipipEnabled ?? pools.some((pool) => pool.ipipMode !== "Never")),
      vxlan: vxlanEnabled ?? pools.some((pool) => pool.vxlanMode !== "Never"),
    };
  }

  hasNatOutgoing(version: IpVersion): boolean {
    return [...this.#pools.values()].some((pool) => pool.natOutgoing && isVersion(pool.cidr, version));
  }

  /** Writes what changed. Returns whether pools did. */
  flush(addresses: Iterable<ReadonlySet<string>>): boolean {
    const poolsChanged = this.#poolsDirty;
    if (this.#poolsDirty) this.#writePools();
    if (this.#hostsDirty) this.#writeHosts();
    if (this.#thisHostDirty)
      this.#write(
        SET.thisHost,
        [...addresses].flatMap((each) => hostNets(each)),
      );
    this.#poolsDirty = this.#hostsDirty = this.#thisHostDirty = false;
    return poolsChanged;
  }

  #writePools(): void {
    const pools = [...this.#pools.values()];
    const cidrs = (some: readonly Pool[]): Cidr[] => some.flatMap((pool) => tryParseCidr(pool.cidr) ?? []);
    this.#write(SET.pools, cidrs(pools));
    this.#write(SET.natPools, cidrs(pools.filter((pool) => pool.natOutgoing)));
  }

  #writeHosts(): void {
    const nodes = [...this.#nodes.values()].flatMap(({ ipv4, ipv6 }) => hostNets([ipv4 ?? "", ipv6 ?? ""]));
    const externals = this.#context.config.externalNodes.flatMap((cidr) => tryParseCidr(cidr) ?? hostNets([cidr]));
    this.#write(SET.hosts, [...nodes, ...externals]);
    this.#write(SET.vxlanHosts, [...nodes, ...externals]);
  }

  #write(set: string, cidrs: readonly Cidr[]): void {
    const members = withoutOverlap(cidrs).map(formatCidr);
    for (const program of this.#programs) program.setSet(set, "net", members);
  }
}

/** Each address as a net of its own; what is none is left out. */
function hostNets(addresses: Iterable<string>): Cidr[] {
  return [...addresses].flatMap((text) => {
    const address = tryParseAddress(text);
    return address ? [hostCidr(address)] : [];
  });
}

/** Members of a set may not overlap: the larger net stands for those within it. */
export function withoutOverlap(cidrs: readonly Cidr[]): Cidr[] {
  const sorted = [...cidrs].sort(
    (a, b) => a.version - b.version || (a.base < b.base ? -1 : a.base > b.base ? 1 : a.length - b.length),
  );
  const kept: Cidr[] = [];
  for (const cidr of sorted) {
    const last = kept.at(-1);
    // Sorted by base, larger first: what contains it, if anything, is the last one kept.
    if (last === undefined || last.version !== cidr.version || !cidrContains(last, cidr)) kept.push(cidr);
  }
  return kept;
}
