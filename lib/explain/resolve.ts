import { ExplainError } from "./errors.ts";
import { type FoundEndpoint, plainAddress, type Resources } from "./resources.ts";
import type { Query } from "./types.ts";

/** One end of the way: what was asked for, the address, and what has it. */
export interface ResolvedEnd {
  readonly given: string;
  readonly address: string;
  readonly endpoint?: FoundEndpoint;
}

export interface ResolvedEnds {
  readonly ipVersion: 4 | 6;
  readonly source: ResolvedEnd;
  readonly destination: ResolvedEnd;
}

/** What a person named, before it is known which of its addresses is meant. */
interface Named {
  readonly given: string;
  readonly addresses: readonly string[];
  readonly endpoint?: FoundEndpoint;
}

/** Who the two ends are, and which addresses they use. Throws ExplainError. */
export function resolveEnds(resources: Resources, query: Query): ResolvedEnds {
  const source = named(resources, query.source);
  const destination = named(resources, query.destination);
  const has = (one: Named, version: 4 | 6) => one.addresses.some((address) => versionOf(address) === version);
  const wanted: readonly (4 | 6)[] = query.ipVersion === undefined ? [4, 6] : [query.ipVersion];
  const ipVersion = wanted.find((version) => has(source, version) && has(destination, version));
  if (ipVersion === undefined) {
    const which = query.ipVersion === undefined ? "one IP version" : `IPv${query.ipVersion}`;
    const text = (one: Named) => `${one.given} has ${one.addresses.join(" and ") || "no address"}`;
    throw new ExplainError(
      "EXPLAIN_NO_ADDRESS",
      `the two ends need addresses of ${which}: ${text(source)}, ${text(destination)}`,
    );
  }
  const end = ({ given, addresses, endpoint }: Named): ResolvedEnd => {
    const address = addresses.find((one) => versionOf(one) === ipVersion)!;
    const found = endpoint ?? endpointAt(resources, address);
    return { given, address, ...(found === undefined ? {} : { endpoint: found }) };
  };
  return { ipVersion, source: end(source), destination: end(destination) };
}

const versionOf = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);

function named(resources: Resources, given: string): Named {
  // An address may come with the length of a whole one, as endpoints have it: 10.0.0.1/32.
  const address =
    given.includes("/") && !/^[\d.]+\/32$|^[\da-f:.]+\/128$/i.test(given) ? undefined : plainAddress(given);
  if (address !== undefined) return { given, addresses: [address] };
  const endpoint = endpointNamed(resources, given);
  if (endpoint.addresses.length > 0) return { given, addresses: endpoint.addresses, endpoint };
  throw new ExplainError(
    "EXPLAIN_NO_ADDRESS",
    endpoint.name.kind === "HostEndpoint"
      ? `${endpoint.name.title} has no expectedIPs: ask for the address of its interface instead`
      : `${endpoint.name.title} has no address: it does not run yet, or not any more`,
  );
}

function endpointNamed({ endpoints }: Resources, given: string): FoundEndpoint {
  const [namespace, rest] = given.includes("/") ? given.split(/\/(.*)/s) : [undefined, given];
  const name = rest ?? "";
  const candidates = endpoints.filter(
    (one) =>
      (namespace === undefined || one.name.namespace === namespace) &&
      (one.aliases.includes(name) || one.name.name === name),
  );
  if (candidates.length > 1) {
    const names = candidates.map((one) => `${one.name.title} on ${one.name.node} (${one.addresses.join(", ")})`);
    throw new ExplainError(
      "EXPLAIN_AMBIGUOUS",
      `${given} may be ${names.join(" or ")}; ask for namespace/pod, or for the address`,
    );
  }
  const found = candidates[0];
  if (found !== undefined) return found;
  const near = endpoints.filter(
    (one) => one.name.name.includes(name) || one.aliases.some((alias) => alias.includes(name)),
  );
  const hint =
    name === "" || near.length === 0
      ? whatThereIs(endpoints, namespace)
      : `did you mean ${near.slice(0, 3).map(nameToAsk).join(" or ")}?`;
  throw new ExplainError("EXPLAIN_NOT_FOUND", `there is no endpoint or address ${given}; ${hint}`);
}

/** How many endpoints are named to one who asked for another. */
const MOST_NAMED = 8;

const nameToAsk = ({ name }: FoundEndpoint): string => name.title.replace(/^HostEndpoint /, "");

function whatThereIs(endpoints: readonly FoundEndpoint[], namespace: string | undefined): string {
  const inNamespace = endpoints.filter(({ name }) => namespace !== undefined && name.namespace === namespace);
  if (inNamespace.length === 0 && namespace !== undefined && endpoints.length > 0) {
    const found = new Set(endpoints.flatMap(({ name }) => name.namespace ?? []));
    return `the namespace ${namespace} has no endpoint, and these do: ${someOf([...found])}`;
  }
  const asked = inNamespace.length > 0 ? inNamespace : endpoints;
  if (asked.length === 0) return "there are no endpoints at all";
  return `there are ${someOf(asked.map(nameToAsk))}`;
}

function someOf(names: readonly string[]): string {
  const rest = names.length - MOST_NAMED;
  return `${names.slice(0, MOST_NAMED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

/**
 * The workload that has the address; else the host endpoint of the interface that has it, before the one for all interfaces of the node whose
 * address it is; of several the first by name, as the dataplane resolves them.
 */
function endpointAt(resources: Resources, address: string): FoundEndpoint | undefined {
  const { endpoints } = resources;
  const workload = endpoints.find(
    ({ name, addresses }) => name.kind === "WorkloadEndpoint" && addresses.includes(address),
  );
  if (workload !== undefined) return workload;
  const node = resources.nodeOf(address);
  const isEvery = ({ name }: FoundEndpoint) => name.interfaceName === "*";
  const hosts = endpoints
    .filter(({ name }) => name.kind === "HostEndpoint")
    .sort((a, b) => (a.name.name < b.name.name ? -1 : 1));
  const exact = hosts.find((one) => !isEvery(one) && one.addresses.includes(address));
  return (
    exact ??
    hosts.find(
      (one) => isEvery(one) && (one.addresses.includes(address) || (node !== undefined && one.name.node === node)),
    )
  );
}
