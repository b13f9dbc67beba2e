/**
 * Which address is the node's, when nobody says so: upstream's methods (node/pkg/lifecycle/startup/autodetection). The order of candidates is
 * upstream's, too: interfaces from the highest index down, their addresses as the kernel lists them. Beyond it, an address on what looks like a bridge
 * for containers or a tunnel is never taken without a word, and by first-found and skip-interface only where there is no other.
 */
import { type Address, type Cidr, containsAddress, formatAddress, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { NodeError } from "./errors.ts";
import { isGlobalUnicast } from "./host.ts";
import { isExcluded, suspicion } from "./interfaces.ts";
import type { HostAddress, HostFacts, HostInterface, KubernetesFacts } from "./types.ts";

export interface AutodetectOptions {
  readonly version: 4 | 6;
  /** first-found, can-reach=, interface=, skip-interface=, cidr=, kubernetes-internal-ip; absent or empty: first-found. */
  readonly method?: string;
  readonly facts: HostFacts;
  readonly kubernetes?: KubernetesFacts;
  /** The address that is recorded for the node, with or without a length. */
  readonly recorded?: string;
}

export interface Detected {
  /** `10.0.0.1/24`; absent: none. */
  readonly cidr?: string;
  readonly interface?: string;
  /** Why this one, or why none: for the log, and for the error. */
  readonly reason: string;
  readonly warnings: readonly string[];
}

/** IFA_F_DADFAILED: another machine has the address, says the kernel's duplicate address detection. */
const DAD_FAILED = 0x08;

export type Method =
  | { readonly name: "first-found" }
  | { readonly name: "interface" | "skip-interface"; readonly patterns: readonly RegExp[] }
  | { readonly name: "cidr"; readonly cidrs: readonly Cidr[] }
  | { readonly name: "can-reach"; readonly destination: string }
  | { readonly name: "kubernetes-internal-ip" };

/** `variable` is what errors name. Throws NodeError ENVIRONMENT. */
export function parseMethod(text: string, variable = "IP_AUTODETECTION_METHOD"): Method {
  const refuse = (why: string): never => {
    throw new NodeError("ENVIRONMENT", `${variable}=${text}: ${why}`);
  };
  const list = (value: string): string[] => value.split(/\s*,\s*/);
  const [name = "", value = ""] = split(text);
  switch (name) {
    case "":
    case "first-found":
      return { name: "first-found" };
    case "interface":
    case "skip-interface":
      return { name, patterns: list(value).map(pattern) };
    case "cidr":
      return { name, cidrs: list(value).map((item) => tryParseCidr(item) ?? refuse(`"${item}" is not a CIDR`)) };
    case "can-reach":
      return value === "" ? refuse("needs an address or a name after the =") : { name, destination: value };
    default:
      // Upstream takes anything that begins so.
      if (text.startsWith("kubernetes-internal-ip")) return { name: "kubernetes-internal-ip" };
      return refuse(
        "is no method; there are first-found, can-reach=DESTINATION, interface=REGEX,…, skip-interface=REGEX,…, cidr=CIDR,… and kubernetes-internal-ip",
      );
  }

  function pattern(source: string): RegExp {
    try {
      return new RegExp(source);
    } catch (error) {
      return refuse(`"${source}" is not a regular expression (${(error as Error).message})`);
    }
  }
}

function split(text: string): [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** Throws NodeError ENVIRONMENT for a method that is none. */
export async function autodetect(options: AutodetectOptions): Promise<Detected> {
  const { version, facts, kubernetes } = options;
  const variable = version === 4 ? "IP_AUTODETECTION_METHOD" : "IP6_AUTODETECTION_METHOD";
  const method = parseMethod(options.method ?? "", variable);
  const interfaces = [...facts.interfaces()].sort((a, b) => b.index - a.index);
  switch (method.name) {
    case "first-found":
      return firstFound(options, interfaces, variable);
    case "skip-interface": {
      const skipped = (name: string) => method.patterns.some((pattern) => pattern.test(name));
      const wanted = interfaces.filter(({ name }) => !isExcluded(name) && !skipped(name));
      return preferGood(candidates(wanted, version), options.method ?? "", variable, interfaces, version);
    }
    case "interface": {
      const wanted = interfaces.filter(({ name }) => method.patterns.some((pattern) => pattern.test(name)));
      return explicit(candidates(wanted, version)[0], options.method ?? "", interfaces, version);
    }
    case "cidr": {
      const within = ({ at }: Candidate) => method.cidrs.some((cidr) => containsAddress(cidr, at.address));
      return explicit(candidates(interfaces, version).find(within), options.method ?? "", interfaces, version);
    }
    case "can-reach": {
      const source = await sourceTowards(method.destination, version, facts);
      if (typeof source === "string") return none(`${options.method}: ${source}`);
      const found = source && holder(interfaces, source);
      if (source && !found) return none(`${options.method}: ${formatAddress(source)} is on no interface`);
      return explicit(found, options.method ?? "", interfaces, version);
    }
    case "kubernetes-internal-ip":
      return internal(kubernetes, interfaces, version, variable);
  }
}

interface Candidate {
  readonly on: HostInterface;
  readonly at: HostAddress;
}

const none = (reason: string, warnings: readonly string[] = []): Detected => ({ reason, warnings });

const textOf = ({ at }: Candidate): string => `${formatAddress(at.address)}/${at.length}`;

function candidates(interfaces: readonly HostInterface[], version: 4 | 6): Candidate[] {
  return interfaces.flatMap((on) =>
    on.addresses
      .filter(({ address, flags }) => address.version === version && isGlobalUnicast(address) && !(flags & DAD_FAILED))
      .map((at) => ({ on, at })),
  );
}

function holder(interfaces: readonly HostInterface[], address: Address): Candidate | undefined {
  for (const on of interfaces) {
    const at = on.addresses.find(
      (one) => one.address.version === address.version && one.address.value === address.value,
    );
    if (at) return { on, at };
  }
  return undefined;
}

function firstFound(options: AutodetectOptions, interfaces: readonly HostInterface[], variable: string): Detected {
  const { version, kubernetes, recorded } = options;
  const wanted = interfaces.filter(({ name }) => !isExcluded(name));
  const found = preferGood(candidates(wanted, version), options.method || "first-found", variable, interfaces, version);
  const address = internalAddress(kubernetes, version);
  const there = address && holder(interfaces, address);
  if (!there || textOf(there) === found.cidr) return found;
  const kubernetesSays = `Kubernetes calls ${formatAddress(there.at.address)} on ${there.on.name} this node's InternalIP`;
  // Who asked for first-found gets it; and a node that has run with its answer keeps its address.
  if (found.cidr !== undefined && (options.method || recorded === found.cidr)) {
    const advice = `${kubernetesSays}, but ${found.cidr} on ${found.interface} is used; set ${variable}=kubernetes-internal-ip to follow it`;
    return { ...found, warnings: [...found.warnings, advice] };
  }
  const rather =
    found.cidr === undefined ? "first-found finds nothing" : `not ${found.cidr} on ${found.interface}, which is first`;
  const warning = `${kubernetesSays}, and so it is used (${rather}); set ${variable} to say which it shall be`;
  return { ...take(there, "it is Kubernetes' InternalIP of this node"), warnings: [warning] };
}

/** The first that is not suspect; else, with a warning, the first. */
function preferGood(
  list: readonly Candidate[],
  method: string,
  variable: string,
  interfaces: readonly HostInterface[],
  version: 4 | 6,
): Detected {
  const [first] = list;
  if (!first) return none(nothing(method, interfaces, version));
  const good = list.find(({ on }) => suspicion(on) === undefined);
  if (good === first) return take(first, method);
  const passed = `${textOf(first)} on ${first.on.name} (${suspicion(first.on)})`;
  if (good) {
    const warning = `${method} would take ${passed}; ${textOf(good)} on ${good.on.name} is used. Set ${variable}=interface=${first.on.name} if it shall be the other`;
    return { ...take(good, method), warnings: [warning] };
  }
  const warning = `there is no better address than ${passed}; set ${variable} if it shall be another`;
  return { ...take(first, method), warnings: [warning] };
}

/** What the operator asked for by name is taken, whatever it is; but not silently. */
function explicit(
  found: Candidate | undefined,
  method: string,
  interfaces: readonly HostInterface[],
  version: 4 | 6,
): Detected {
  if (!found) return none(nothing(method, interfaces, version));
  const why = suspicion(found.on);
  if (why === undefined) return take(found, method);
  const warning = `${method} takes ${textOf(found)} on ${found.on.name}, which is ${why}: other nodes may not reach it`;
  return { ...take(found, method), warnings: [warning] };
}

const take = (found: Candidate, reason: string): Detected => ({
  cidr: textOf(found),
  interface: found.on.name,
  reason,
  warnings: [],
});

/** Names what there is and was not taken: that is where the answer lies. */
function nothing(method: string, interfaces: readonly HostInterface[], version: 4 | 6): string {
  const all = candidates(interfaces, version).map(
    (candidate) => `${textOf(candidate)} on ${candidate.on.name} (interface=${candidate.on.name} takes it)`,
  );
  const there = all.length === 0 ? "no interface has one" : `there are ${all.join(", ")}`;
  return `${method}: no IPv${version} address fits; ${there}`;
}

async function sourceTowards(
  destination: string,
  version: 4 | 6,
  facts: HostFacts,
): Promise<Address | string | undefined> {
  let targets: readonly Address[];
  const literal = tryParseAddress(destination);
  if (literal && literal.version !== version) return `${destination} is not an IPv${version} address`;
  try {
    targets = literal ? [literal] : await facts.resolve(destination, version);
  } catch (error) {
    return `${destination} has no IPv${version} address (${(error as Error).message})`;
  }
  for (const target of targets) {
    const source = facts.sourceTowards(target);
    if (source) return source;
  }
  return `there is no route to ${destination}`;
}

function internalAddress(kubernetes: KubernetesFacts | undefined, version: 4 | 6): Address | undefined {
  for (const text of kubernetes?.internalAddresses ?? []) {
    const address = tryParseAddress(text);
    if (address?.version === version) return address;
  }
  return undefined;
}

function internal(
  kubernetes: KubernetesFacts | undefined,
  interfaces: readonly HostInterface[],
  version: 4 | 6,
  variable: string,
): Detected {
  if (!kubernetes) return none(`${variable}=kubernetes-internal-ip: this is not a node of a Kubernetes cluster`);
  const address = internalAddress(kubernetes, version);
  if (!address) return none(`kubernetes-internal-ip: the Node has no InternalIP of IPv${version}`);
  const found = holder(interfaces, address);
  if (found) return take(found, "kubernetes-internal-ip");
  // Upstream cannot use an address without a network either.
  return none(`kubernetes-internal-ip: ${formatAddress(address)} is on no interface of this machine`);
}

/**
 * An address of the environment (IP, IP6) with the length of its network: as it was given, or as an interface has it, or alone. Throws NodeError
 * ENVIRONMENT.
 */
export function withNetwork(
  text: string,
  version: 4 | 6,
  variable: string,
  facts: HostFacts,
): { readonly cidr: string; readonly warnings: readonly string[] } {
  const slash = text.indexOf("/");
  const address = tryParseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address?.version !== version || (slash >= 0 && !tryParseCidr(text))) {
    const example = version === 4 ? "10.0.0.1, 10.0.0.1/24" : "fd00::1, fd00::1/64";
    throw new NodeError(
      "ENVIRONMENT",
      `${variable}=${text}: is not an IPv${version} address; must be one, such as ${example}, or autodetect, or none`,
    );
  }
  const found = holder(facts.interfaces(), address);
  const warnings = found ? [] : [`${variable}=${text}: no interface of this machine has that address`];
  const length = slash >= 0 ? text.slice(slash + 1) : (found?.at.length ?? (version === 4 ? 32 : 128));
  return { cidr: `${formatAddress(address)}/${length}`, warnings };
}

/** What is wrong with the address that is kept, or undefined. */
export function missingAddress(recorded: string, facts: HostFacts): string | undefined {
  const address = tryParseAddress(recorded.replace(/\/.*/, ""));
  if (address && holder(facts.interfaces(), address)) return undefined;
  return `no interface of this machine has ${recorded}, the address that the Node has`;
}
