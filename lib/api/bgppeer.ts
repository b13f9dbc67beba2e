import { tryParseAddress } from "../ip/index.ts";
import { DURATION } from "./felixfields.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

/** What a text field that is parsed, or takes part in a rule on the API server, may hold at most (upstream's definition). */
const MAX = { name: 253, selector: 1024, address: 64 } as const;

const MODES = ["None", "BFDIfDirectlyConnected"] as const;

/**
 * Annotations for clusters whose definition of the kind is upstream's, which drops the field failureDetectionMode. The first says what
 * the field does, wins over it, and has one value more: `BFD`, also over hops. The others set BFD's times (Go durations) and multiplier.
 */
export const FAILURE_DETECTION = {
  mode: "projectcalico.org/failureDetectionMode",
  minReceive: "projectcalico.org/bfdMinimumRecvInterval",
  minSend: "projectcalico.org/bfdMinimumSendInterval",
  multiplier: "projectcalico.org/bfdMultiplier",
} as const;

const password = s.lazy(() =>
  s.object(
    {
      secretKeyRef: s.optional(
        s.object(
          {
            name: s.optional(s.string({ doc: "The Secret." })),
            key: s.string({ doc: "Which of its values." }),
            optional: s.optional(s.boolean({ doc: "Without the Secret or value the peering has no password." })),
          },
          { doc: "Where it is kept: a value of a Secret in the namespace of the node's pod." },
        ),
      ),
    },
    { doc: "The password of these peerings (TCP MD5, RFC 2385)." },
  ),
);

const spec = s.lazy(() =>
  s.object({
    node: s.optional(
      s.string({
        doc: "The one node that has the peering. Without it and without nodeSelector all nodes have it.",
        format: "name",
        maxLength: MAX.name,
      }),
    ),
    nodeSelector: s.optional(
      s.string({ doc: "The nodes that have the peering.", format: "selector", maxLength: MAX.selector }),
    ),
    peerIP: s.optional(
      s.string({
        doc: "The peer's address, and its port where that is not 179: 10.0.0.1, 10.0.0.1:1790, fd00::1 or [fd00::1]:1790. The port of a node is known from its BGPConfiguration.",
        maxLength: MAX.address,
      }),
    ),
    asNumber: s.optional(s.integer({ doc: "The peer's AS number.", min: 0, max: 4294967295, text: "as-number" })),
    localASNumber: s.optional(
      s.integer({
        doc: "The AS number that nodes go by in these peerings; absent: their own.",
        min: 0,
        max: 4294967295,
        text: "as-number",
      }),
    ),
    peerSelector: s.optional(
      s.string({
        doc: "The nodes to peer with, instead of peerIP and asNumber: over each address family that both ends have.",
        format: "selector",
        maxLength: MAX.selector,
      }),
    ),
    keepOriginalNextHop: s.optional(
      s.boolean({
        doc: "Deprecated: nextHopMode Keep does the same. True: routes to a peer of another AS keep their next hop.",
      }),
    ),
    nextHopMode: s.optional(
      s.oneOf(["Auto", "Self", "Keep"], {
        doc: "The next hop of routes that are sent to the peer: as BGP has it (Auto), always this node (Self), or as it was learned (Keep). Absent: Auto.",
      }),
    ),
    password: s.optional(password()),
    sourceAddress: s.optional(
      s.oneOf(["UseNodeIP", "None"], {
        doc: "The address that nodes speak from: their own of the family (UseNodeIP), or as the kernel routes (None). Absent: UseNodeIP.",
      }),
    ),
    maxRestartTime: s.optional(
      s.string({
        doc: "How long the peer keeps a node's routes while it restarts (graceful restart, RFC 4724), as a Go duration: 2m30s. Absent: 120s.",
        pattern: DURATION,
      }),
    ),
    keepaliveTime: s.optional(
      s.string({
        doc: "The time between KEEPALIVE messages, as a Go duration; absent: a third of the hold time.",
        pattern: DURATION,
      }),
    ),
    numAllowedLocalASNumbers: s.optional(
      s.integer({
        doc: "How often the node's own AS number may be in the path of a route that is taken. It takes away what prevents loops.",
        min: -2147483648,
        max: 2147483647,
      }),
    ),
    ttlSecurity: s.optional(
      s.integer({
        doc: "At most so many hops away is the peer: packets from farther away are dropped (GTSM, RFC 5082). 0: off.",
        unit: "hops",
        min: 0,
        max: 255,
      }),
    ),
    reachableBy: s.optional(
      s.string({
        doc: "The gateway towards peerIP: nodes get a static route to the peer by it, so that the way to a peer is never learned from it.",
        format: "ip",
        maxLength: MAX.address,
      }),
    ),
    filters: s.optional(
      s.array(s.string({ format: "name" }), { doc: "BGPFilters, in the order in which they are asked." }),
    ),
    localWorkloadSelector: s.optional(
      s.string({
        doc: "Workloads that the node they run on peers with, instead of peerIP; asNumber is theirs.",
        format: "selector",
        maxLength: MAX.selector,
      }),
    ),
    reversePeering: s.optional(
      s.oneOf(["Auto", "Manual"], {
        doc: "Where the peer is a node, whether it gets its end of the peering by itself (Auto) or by a BGPPeer of its own (Manual). Absent: Auto.",
      }),
    ),
    failureDetectionMode: s.optional(
      s.oneOf(MODES, {
        doc: `Whether BFD (RFC 5880) watches over the peerings: never (None), or with peers on a network of the node (BFDIfDirectlyConnected). Absent: None. Where the cluster's definition of the kind has no such field, the annotation ${FAILURE_DETECTION.mode} says it.`,
      }),
    ),
  }),
);

export type BGPPeerSpec = s.Infer<ReturnType<typeof spec>>;
export type BGPPeer = Resource<"BGPPeer", BGPPeerSpec>;

/** Which nodes have BGP sessions with whom, beyond the mesh: with routers by address, with each other, or with their workloads. */
export const BGPPeer: Kind<BGPPeer> = {
  kind: "BGPPeer",
  apiVersion: API_VERSION,
  plural: "bgppeers",
  namespaced: false,
  aliases: ["bgpp", "bgpps", "bp", "bps"],
  doc: "Which nodes have BGP sessions with whom, beyond the mesh: with routers by address, with each other, or with their workloads.",
  get spec() {
    return spec();
  },
  complete({ spec }) {
    // A Go reader takes none of them for a duration.
    for (const field of ["maxRestartTime", "keepaliveTime"] as const) if (spec[field] === "") delete spec[field];
  },
  check,
  get columns(): Columns<BGPPeer> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "PEERIP", value: ({ spec }) => spec.peerIP ?? "" },
      { title: "NODE", value: ({ spec }) => spec.node || spec.nodeSelector || "(global)" },
      { title: "ASN", value: ({ spec }) => String(spec.asNumber ?? 0) },
    ];
  },
};

/** An address with an optional port. */
export interface PeerAddress {
  /** As it is written, without brackets. */
  readonly address: string;
  readonly version: 4 | 6;
  readonly port?: number;
}

/** What `peerIP` says: `10.0.0.1`, `10.0.0.1:1790`, `fd00::1` or `[fd00::1]:1790`; undefined when it says none of these. */
export function parsePeerIP(text: string): PeerAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const version = tryParseAddress(address)?.version;
  if (version === undefined || (bracketed !== undefined && version !== 6)) return undefined;
  if (digits === undefined) return { address, version };
  const port = Number(digits);
  return port >= 1 && port <= 65535 ? { address, version, port } : undefined;
}

/** The rules of upstream's definition and validator (validateBGPPeerSpec, validateIPPort), and what our annotations may say. */
function check({ metadata, spec }: BGPPeer): s.Problem[] {
  const problems: s.Problem[] = [];
  const report = (field: keyof BGPPeerSpec, message: string) =>
    problems.push({ path: `spec.${field}`, value: spec[field], message });
  const { node, nodeSelector, peerIP, peerSelector, localWorkloadSelector, asNumber, reachableBy } = spec;

  if (node && nodeSelector) report("nodeSelector", "cannot be there together with node; remove one of them");
  const peer = peerIP ? parsePeerIP(peerIP) : undefined;
  if (peerIP && !peer) {
    report("peerIP", "must be an address, or one with a port from 1 to 65535: 10.0.0.1:1790 or [fd00::1]:1790");
  }
  if (peerSelector) {
    if (peerIP) report("peerSelector", "cannot be there together with peerIP; remove one of them");
    if (asNumber && !localWorkloadSelector)
      report("asNumber", "must be absent together with peerSelector: the nodes' own AS numbers count");
  }
  if (localWorkloadSelector) {
    if (peerIP) report("peerIP", "must be absent together with localWorkloadSelector: the workload's address counts");
    if (peerSelector) report("peerSelector", "cannot be there together with localWorkloadSelector; remove one of them");
    if (!asNumber) report("asNumber", "is missing; with localWorkloadSelector it must be the workload's AS number");
  }
  if (reachableBy) {
    const gateway = tryParseAddress(reachableBy);
    if (!peerIP) report("reachableBy", "must be absent without peerIP, whose gateway it is");
    else if (peer && gateway && peer.version !== gateway.version) {
      report("reachableBy", `must be an IPv${peer.version} address, as peerIP is`);
    }
  }
  if (spec.keepOriginalNextHop && spec.nextHopMode) {
    report("keepOriginalNextHop", "cannot be there together with nextHopMode, which replaces it; remove it");
  }
  return [...problems, ...checkAnnotations(metadata.annotations ?? {})];
}

function checkAnnotations(annotations: Readonly<Record<string, string>>): s.Problem[] {
  return Object.entries(ANNOTATIONS).flatMap(([key, { pattern, means }]) => {
    const value = annotations[key];
    if (value === undefined || pattern.test(value)) return [];
    return [{ path: `metadata.annotations["${key}"]`, value, message: `must be ${means}` }];
  });
}

const INTERVAL = { pattern: new RegExp(`^(?=.)${DURATION.source}$`), means: DURATION.means };
const ANNOTATIONS = {
  [FAILURE_DETECTION.mode]: {
    pattern: /^(None|BFDIfDirectlyConnected|BFD)$/,
    means: `one of ${MODES.join(", ")}, BFD`,
  },
  [FAILURE_DETECTION.minReceive]: INTERVAL,
  [FAILURE_DETECTION.minSend]: INTERVAL,
  [FAILURE_DETECTION.multiplier]: {
    pattern: /^([1-9]\d?|1\d\d|2[0-4]\d|25[0-5])$/,
    means: "a number from 1 to 255",
  },
};
