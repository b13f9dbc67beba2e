import type { BGPConfigurationSpec } from "../../api/bgpconfiguration.ts";
import type { BlockAffinity } from "../../api/blockaffinity.ts";
import type { IPPool } from "../../api/ippool.ts";
import { formatCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import {
  type Block,
  type Community,
  type Family,
  type FamilyBgp,
  type LogLevel,
  NORMAL_PRIORITY,
  type NodeBgp,
  type Pool,
  type PrefixCommunities,
} from "../model/index.ts";
import { connectedTo } from "./bfd.ts";
import { type Cluster, readCluster } from "./cluster.ts";
import { parseCommunity, readFilters } from "./filters.ts";
import { DEFAULT_NAMESPACE, passwords } from "./passwords.ts";
import { inOrder, readPeerings } from "./peerings.ts";
import { peerRoutes, sessions } from "./peers.ts";
import { byText, Problems, quoted } from "./problems.ts";
import { byKey, servicePrefixes } from "./services.ts";
import type { BgpInputs, NodeBgpOptions } from "./types.ts";

const DEFAULT_CONFIGURATION = "BGPConfiguration default";

/**
 * What BGP shall be on the node. The same resources give the same answer, in whatever order they come. Never throws: what cannot be
 * used is told in `problems`, with the resource, the field and what is done instead.
 */
export function nodeBgp(inputs: BgpInputs, options: NodeBgpOptions): NodeBgp {
  const problems = new Problems();
  const cluster = readCluster(inputs, options.node, problems);
  const { configuration, ownConfiguration, self } = cluster;
  const isPrepared = options.isPrepared?.() ?? true;
  if (!self && isPrepared)
    problems.add(
      `Node ${options.node}`,
      "there is no such resource; BGP has no address to speak from, and no sessions",
    );
  const unreadable = [...(inputs.unreadable ?? [])];
  for (const { kind, name, message } of unreadable) {
    const instead =
      kind === "BGPFilter"
        ? "unless an earlier version is known, it lets nothing pass"
        : "it is left out, or as it was";
    problems.add(`${kind} ${name}`, `cannot be read (${message}); ${instead}`);
  }
  const unreadableFilters = unreadable.flatMap(({ kind, name }) => (kind === "BGPFilter" ? [name] : []));
  const filters = readFilters(inputs.filters, unreadableFilters, problems);
  const passwordOf = passwords(inputs.secrets, options.secretNamespace || DEFAULT_NAMESPACE);
  const peerings = readPeerings(
    {
      cluster,
      node: options.node,
      peers: inOrder(inputs.peers),
      filterNames: new Set(Object.keys(filters)),
      endpoints: inputs.endpoints ?? [],
      profiles: inputs.profiles ?? [],
      passwordOf,
    },
    problems,
  );
  const prefixes = servicePrefixes(
    {
      configuration,
      advertiseClusterIps: options.advertiseClusterIps,
      nodeLabels: self?.labels ?? {},
      kubernetesNode: options.kubernetesNode || kubernetesName(inputs, options.node),
      services: inputs.services ?? [],
      endpointSlices: inputs.endpointSlices ?? [],
    },
    problems,
  );
  const pools = readPools(inputs.pools, problems);
  const blocks = options.usePodCidr
    ? podBlocks(inputs, options.node, problems)
    : readBlocks(inputs.affinities, options.node, problems);
  const communities = readCommunities(cluster, options.node, problems);
  const programs = routePrograms(configuration?.programClusterRoutes, problems);
  const meshPassword = passwordOf(configuration?.nodeMeshPassword);
  const networks = [
    ...Object.values(self?.addresses ?? {}).map(({ subnet }) => subnet),
    ...(options.connectedNetworks ?? []),
  ];
  const isConnected = connectedTo(networks);

  const family = (of: Family): FamilyBgp => {
    const found = self?.addresses[of];
    if (self && !found)
      tellUnreachable(
        peerings.filter(({ family, isNamed }) => family === of && isNamed),
        of,
        problems,
      );
    // Kubernetes may have cut podCIDRs of a family that no pod has.
    if (self && !found && blocks[of].length > 0 && !options.usePodCidr && (options.isPrepared?.() ?? true))
      problems.add(`Node ${options.node}`, unreachableBlocks(of, blocks[of]));
    return {
      family: of,
      ...(found ?? {}),
      peers:
        self && found
          ? sessions(
              { cluster, self, family: of, address: found.address, meshPassword, peerings, isConnected },
              problems,
            )
          : [],
      blocks: blocks[of],
      ...prefixes[of],
      pools: pools[of],
      communities: communities[of],
      peerRoutes: peerRoutes(peerings, of, found?.address),
      normalPriority: configuration?.[`ipv${of}NormalRoutePriority`] ?? NORMAL_PRIORITY,
      wireguardPeers: wireguardPeers(cluster, of),
      programs,
    };
  };
  const [ipv4, ipv6] = [family(4), family(6)];
  const port = ownConfiguration?.listenPort || configuration?.listenPort;
  return {
    node: options.node,
    asn: self?.asn ?? cluster.asn,
    routerId: routerId(options, ipv4.address, problems),
    ...(self?.clusterId === undefined ? {} : { clusterId: self.clusterId }),
    log: logLevel(ownConfiguration?.logSeverityScreen || configuration?.logSeverityScreen),
    listen: { ...(port ? { port } : {}), onlyNodeAddresses: configuration?.bindMode === "NodeIP" },
    ignoredInterfaces: configuration?.ignoredInterfaces ?? [],
    ipv4,
    ipv6,
    filters,
    problems: problems.all,
  };
}

function tellUnreachable(
  peerings: readonly { readonly reason: string; readonly address: string }[],
  family: Family,
  problems: Problems,
): void {
  for (const { reason, address } of peerings) {
    problems.add(reason, `spec.peerIP ${quoted(address)}: this node has no IPv${family} address; there is no session`);
  }
}

/** No session of the family, and nobody who learns the way to pods of this node. */
function unreachableBlocks(family: Family, blocks: readonly Block[]): string {
  const cidrs = blocks.map(({ cidr }) => cidr).join(", ");
  const variable = family === 4 ? "IP" : "IP6";
  return `has blocks of IPv${family} addresses (${cidrs}) and no IPv${family} address of its own: no other node learns the way to their pods. Set ${variable} to autodetect, or to the address`;
}

/** What endpoints call a node, as the start of the node agent wrote it down. */
function kubernetesName({ nodes }: BgpInputs, name: string): string {
  for (const { metadata, spec } of nodes ?? []) {
    if (metadata.name !== name) continue;
    return spec.orchRefs?.find(({ orchestrator }) => orchestrator === "k8s")?.nodeName || name;
  }
  return name;
}

function routerId(
  { node, routerId, isPrepared }: NodeBgpOptions,
  address: string | undefined,
  problems: Problems,
): string {
  if (routerId === "hash") return hashedId(node);
  if (routerId) {
    if (!routerId.includes(":") && tryParseAddress(routerId)?.version === 4 && routerId !== "0.0.0.0") return routerId;
    problems.add(
      "environment",
      `CALICO_ROUTER_ID ${quoted(routerId)}: must be like 10.0.0.1, or hash; it is taken for ${address ? "absent" : "hash"}`,
    );
  }
  if (address !== undefined) return address;
  if (!routerId && (isPrepared?.() ?? true)) {
    problems.add(
      `Node ${node}`,
      "has no IPv4 address to be its router ID; a hash of its name is. Set CALICO_ROUTER_ID to hash to say so, or to an ID",
    );
  }
  return hashedId(node);
}

/** The first four bytes of the name's SHA-256, out of the range of multicast (upstream's HashToIPv4). */
function hashedId(node: string): string {
  const [first = 0, ...others] = new Bun.CryptoHasher("sha256").update(node).digest().subarray(0, 4);
  return [first > 223 ? first - 32 : first, ...others].join(".");
}

function logLevel(severity: string | undefined): LogLevel {
  const level = (severity || "Info").toLowerCase();
  return level === "debug" || level === "info" ? level : "none";
}

const PROGRAMS: Readonly<Record<string, FamilyBgp["programs"]>> = {
  Enabled: { noEncap: true, ipip: true },
  Disabled: { noEncap: false, ipip: false },
  EnabledIPIPOnly: { noEncap: false, ipip: true },
  EnabledNoEncapOnly: { noEncap: true, ipip: false },
};
const DEFAULT_PROGRAM = "EnabledNoEncapOnly";

function routePrograms(mode: string | undefined, problems: Problems): FamilyBgp["programs"] {
  const known = Object.hasOwn(PROGRAMS, mode || DEFAULT_PROGRAM) ? PROGRAMS[mode || DEFAULT_PROGRAM] : undefined;
  if (known) return known;
  problems.add(
    DEFAULT_CONFIGURATION,
    `spec.programClusterRoutes ${quoted(mode)}: must be one of ${Object.keys(PROGRAMS).join(", ")}; it is ${DEFAULT_PROGRAM}`,
  );
  return PROGRAMS[DEFAULT_PROGRAM]!;
}

type PerFamily<T> = Readonly<Record<Family, readonly T[]>>;

/** Those that are disabled as well: their addresses may be in use still. */
function readPools(pools: Iterable<IPPool> | undefined, problems: Problems): PerFamily<Pool> {
  const read = new Map<string, { readonly version: Family; readonly pool: Pool }>();
  for (const { metadata, spec } of pools ?? []) {
    const cidr = tryParseCidr(spec.cidr);
    if (!cidr) {
      problems.add(
        `IPPool ${metadata.name}`,
        `spec.cidr ${quoted(spec.cidr)}: must be a CIDR; its routes are handled as those of no pool`,
      );
      continue;
    }
    const text = formatCidr(cidr);
    const { ipipMode, vxlanMode } = spec;
    read.set(text, {
      version: cidr.version,
      pool: {
        cidr: text,
        encapsulation:
          vxlanMode === "Always"
            ? "vxlan"
            : vxlanMode === "CrossSubnet"
              ? "vxlan-cross-subnet"
              : ipipMode === "Always"
                ? "ipip"
                : ipipMode === "CrossSubnet"
                  ? "ipip-cross-subnet"
                  : "none",
        exported: spec.disableBGPExport !== true,
      },
    });
  }
  const of = (family: Family): Pool[] =>
    [...read.values()]
      .flatMap(({ version, pool }) => (version === family ? [pool] : []))
      .sort((a, b) => byText(a.cidr, b.cidr));
  return { 4: of(4), 6: of(6) };
}

/** The node's own, but what it is still about to get. */
function readBlocks(
  affinities: Iterable<BlockAffinity> | undefined,
  node: string,
  problems: Problems,
): PerFamily<Block> {
  const read = new Map<string, { readonly version: Family; readonly block: Block }>();
  for (const { metadata, spec } of affinities ?? []) {
    if (spec.node !== node || (spec.type || "host") !== "host" || spec.deleted || spec.state === "pending") continue;
    const cidr = tryParseCidr(spec.cidr);
    if (!cidr) {
      problems.add(
        `BlockAffinity ${metadata.name}`,
        `spec.cidr ${quoted(spec.cidr)}: must be a CIDR; the block is not advertised`,
      );
      continue;
    }
    const text = formatCidr(cidr);
    read.set(text, { version: cidr.version, block: { cidr: text, ...(spec.state ? { state: spec.state } : {}) } });
  }
  const of = (family: Family): Block[] =>
    [...read.values()]
      .flatMap(({ version, block }) => (version === family ? [block] : []))
      .sort((a, b) => byKey(a.cidr, b.cidr));
  return { 4: of(4), 6: of(6) };
}

/** Where another allocator assigns from what Kubernetes gave the node. */
function podBlocks({ nodes }: BgpInputs, node: string, problems: Problems): PerFamily<Block> {
  const own = [...(nodes ?? [])].find(({ metadata }) => metadata.name === node);
  const blocks = (own?.status?.podCIDRs ?? []).flatMap((text): Block[] => {
    const cidr = tryParseCidr(text);
    if (cidr) return [{ cidr: formatCidr(cidr), state: "confirmed" }];
    problems.add(`Node ${node}`, `status.podCIDRs ${quoted(text)}: must be a CIDR; it is not advertised`);
    return [];
  });
  const of = (family: Family): Block[] =>
    blocks.filter(({ cidr }) => cidr.includes(":") === (family === 6)).sort((a, b) => byKey(a.cidr, b.cidr));
  return { 4: of(4), 6: of(6) };
}

/** The advertisements of the node's own configuration, or else those of all; names of communities are those of the same resource. */
function readCommunities(cluster: Cluster, node: string, problems: Problems): PerFamily<PrefixCommunities> {
  const isOwn = cluster.ownConfiguration?.prefixAdvertisements !== undefined;
  const resource = isOwn ? `BGPConfiguration node.${node}` : DEFAULT_CONFIGURATION;
  const spec: Partial<BGPConfigurationSpec> = (isOwn ? cluster.ownConfiguration : cluster.configuration) ?? {};
  const values = new Map<string, string>();
  for (const { name, value } of spec.communities ?? []) if (name && value && !values.has(name)) values.set(name, value);
  const read: Record<Family, PrefixCommunities[]> = { 4: [], 6: [] };
  for (const [i, { cidr, communities = [] }] of (spec.prefixAdvertisements ?? []).entries()) {
    if (!cidr) continue;
    const prefix = tryParseCidr(cidr);
    if (!prefix) {
      problems.add(resource, `spec.prefixAdvertisements[${i}].cidr ${quoted(cidr)}: must be a CIDR; it is left out`);
      continue;
    }
    const texts = new Set(
      communities.map((text) => (/^\d+(:\d+){1,2}$/.test(text) ? text : (values.get(text) ?? text))),
    );
    const parsed = [...texts].sort(byText).flatMap((text): Community[] => {
      const community = parseCommunity(text);
      if (community) return [community];
      problems.add(
        resource,
        `spec.prefixAdvertisements[${i}].communities ${quoted(text)}: must be a community, or the name of one in spec.communities; it is left out`,
      );
      return [];
    });
    if (parsed.length > 0) read[prefix.version].push({ prefix: cidr, communities: parsed });
  }
  return read;
}

/** None where this node is not reached through WireGuard: it then reaches the others as everybody else. */
function wireguardPeers({ nodes, self }: Cluster, family: Family): string[] {
  if (!self?.wireguard[family]) return [];
  return nodes
    .flatMap((node) => {
      const address = node.addresses[family]?.address;
      return node === self || !node.wireguard[family] || address === undefined ? [] : [address];
    })
    .sort(byText);
}
