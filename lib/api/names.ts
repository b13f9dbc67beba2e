/**
 * Names that other Calicos compute as well, and which must therefore be equal to the byte: of endpoints, host
 * interfaces, blocks, affinities and handles. All functions are pure.
 *
 * An endpoint's name joins its parts by single dashes and doubles the dashes inside of them, so parts can neither begin
 * nor end with one (libcalico-go/lib/names/workloadendpoint.go).
 */

import type { KindKey } from "./kind.ts";

/** How profiles are found, without what a profile holds: a plugin asks whether there is one, and hardly ever makes one. */
export const PROFILE_KEY = {
  kind: "Profile",
  plural: "profiles",
  namespaced: false,
  /** The profile that allows everything, for endpoints whose namespace has none of its own. */
  builtIn: { name: "projectcalico-default-allow" },
} as const satisfies KindKey;

/** What makes the name of a workload endpoint. */
export interface EndpointId {
  readonly node: string;
  /** `k8s` uses pod, `cni` containerID, `libnetwork` neither, others workload. */
  readonly orchestrator: string;
  readonly pod?: string;
  readonly containerID?: string;
  readonly workload?: string;
  /** The interface inside the workload: `eth0`. */
  readonly endpoint?: string;
}

/** `<node>-k8s-<pod>-<endpoint>` and its kin, every dash of a part doubled. Throws a RangeError that names the missing or malformed part. */
export function endpointName(id: EndpointId): string {
  // A loop: the first `map` costs a new process 0.1 ms, and each ADD and DEL is a new process.
  const escaped: string[] = [];
  for (const [field, value] of parts(id)) {
    if (value === "") throw new RangeError(`the name of an endpoint needs ${article(field)}`);
    escaped.push(escapeDashes(field, value));
  }
  return escaped.join("-");
}

/**
 * The beginning that the names of all matching endpoints share, ending in a dash; parts after the first missing one do not
 * count. With all parts given it is the whole name. Throws a RangeError without a node, or when a part is malformed.
 */
export function endpointNamePrefix(id: EndpointId): string {
  if (id.node === "") throw new RangeError("the name of an endpoint needs a node");
  const given: string[] = [];
  for (const [field, value] of parts(id)) {
    if (value === "") return `${given.join("-")}-`;
    given.push(escapeDashes(field, value));
  }
  return given.join("-");
}

/** The parts of an endpoint's name, or of a prefix of one; undefined when it has too many or none. Missing parts are absent. */
export function parseEndpointName(name: string): EndpointId | undefined {
  if (name === "") return undefined;
  const [node = "", orchestrator = "", workload, endpoint, ...rest] = split(name);
  if (rest.length > 0) return undefined;
  return {
    node,
    orchestrator,
    ...(workload && orchestrator !== "libnetwork" ? { [workloadField(orchestrator)]: workload } : {}),
    ...(endpoint ? { endpoint } : {}),
  };
}

/**
 * Whether a name has all the parts that `id` gives; those it leaves out may be anything. To be asked of everything a list by
 * prefix finds: "n-k8s-pod-" begins the name "n-k8s-pod--1-eth0" of another pod too.
 */
export function endpointNameMatches(id: EndpointId, name: string): boolean {
  const wanted = parts(id);
  const found = split(name);
  return (
    name.length >= 2 * wanted.length - 1 &&
    found.length === wanted.length &&
    wanted.every(([, value], i) => value === "" || value === found[i])
  );
}

/** The interface on the host for a Kubernetes pod: `prefix` and the first 11 hex digits of SHA-1(`namespace.pod`). */
export function podInterfaceName(namespace: string, pod: string, prefix = "cali"): string {
  return prefix + new Bun.CryptoHasher("sha1").update(`${namespace}.${pod}`).digest("hex").slice(0, 11);
}

/** The interface on the host for any other container: `prefix` and the first 11 characters of its id. */
export function containerInterfaceName(containerId: string, prefix = "cali"): string {
  return prefix + containerId.slice(0, 11);
}

/** 192.168.0.0/26 -> 192-168-0-0-26; fd00::/122 -> fd00---122. The text must be canonical. */
export function cidrName(cidr: string): string {
  return cidr.replaceAll(".", "-").replaceAll(":", "-").replaceAll("/", "-");
}

/** A Kubernetes name is shorter than this many characters. */
const MAX_NAME = 253;

/**
 * Name of an affinity object: `<owner>-<cidr name>`. Where that would be too long, the owner is cut and 11 hex digits of
 * SHA-256(`<owner>+<cidr name>`) are added, as in libcalico-go/lib/backend/k8s/resources/ipam_affinity_v1.go.
 */
export function affinityName(owner: string, cidr: string): string {
  const block = cidrName(cidr);
  const name = `${owner}-${block}`;
  if (name.length < MAX_NAME) return name;
  const hash = new Bun.CryptoHasher("sha256").update(`${owner}+${block}`).digest("hex").slice(0, 11);
  return `${owner.slice(0, MAX_NAME - 1 - block.length - 13)}-${block}-${hash}`;
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Base32 (RFC 4648, unpadded) of SHA3-256: the `projectcalico.org/hostname-hash` label of affinities. */
export function hostnameHash(hostname: string): string {
  const hash = new Bun.CryptoHasher("sha3-256").update(hostname).digest();
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of hash) {
    held = ((held << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
  }
  return bits > 0 ? text + BASE32[(held << (5 - bits)) & 31] : text;
}

type Field = "node" | "orchestrator" | "pod" | "containerID" | "workload" | "endpoint";

function parts(id: EndpointId): (readonly [Field, string])[] {
  const field = workloadField(id.orchestrator);
  return [
    ["node", id.node],
    ["orchestrator", id.orchestrator],
    [field, (field === "orchestrator" ? id.orchestrator : id[field]) ?? ""],
    ["endpoint", id.endpoint ?? ""],
  ];
}

/** Which field is the third part of a name. */
function workloadField(orchestrator: string): "pod" | "containerID" | "workload" | "orchestrator" {
  switch (orchestrator) {
    case "k8s":
      return "pod";
    case "cni":
      return "containerID";
    case "libnetwork":
      return "orchestrator";
    default:
      return "workload";
  }
}

const article = (field: Field): string => (/^[aeo]/.test(field) ? `an ${field}` : `a ${field}`);

function escapeDashes(field: Field, value: string): string {
  if (value.startsWith("-") || value.endsWith("-")) {
    throw new RangeError(`the ${field} "${value}" of an endpoint must not begin or end with a dash`);
  }
  return value.replaceAll("-", "--");
}

/** The parts between single dashes, with doubled dashes undone. The first character belongs to the first part in any case. */
function split(name: string): string[] {
  const found: string[] = [];
  let from = 0;
  for (let i = 1; i < name.length; i++) {
    if (name[i] !== "-") continue;
    if (name[i + 1] === "-") {
      i++;
      continue;
    }
    found.push(name.slice(from, i).replaceAll("--", "-"));
    from = i + 1;
  }
  found.push(name.slice(from).replaceAll("--", "-"));
  return found;
}
