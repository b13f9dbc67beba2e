import { protocolNumber } from "../../api/protocol.ts";
import { fieldsOf, listOf, textOf } from "./fields.ts";
import { addressText, type NetKey, netKey } from "./nets.ts";
import { PROTOCOL_NAMES } from "./set-definition.ts";

/** What one EndpointSlice contributes. */
interface Slice {
  readonly service: string;
  readonly addresses: readonly NetKey[];
  /** `tcp:80`. */
  readonly ports: readonly string[];
}

const SERVICE_LABEL = "kubernetes.io/service-name";

/**
 * The addresses and ports behind Services, by EndpointSlice. Whether an endpoint is ready makes no difference, and a slice without ports
 * contributes none (felix/serviceindex).
 */
export class Services {
  readonly #slices = new Map<string, Slice>();
  readonly #byService = new Map<string, Set<string>>();

  /** One slice, or undefined when it is gone; answers what it contributed before and contributes now. */
  update(namespace: string, name: string, resource: unknown): { readonly before?: Slice; readonly now?: Slice } {
    const key = `${namespace}/${name}`;
    const before = this.#slices.get(key);
    if (before !== undefined) {
      this.#slices.delete(key);
      const slices = this.#byService.get(before.service)!;
      slices.delete(key);
      if (slices.size === 0) this.#byService.delete(before.service);
    }
    const now = resource === undefined ? undefined : readSlice(namespace, resource);
    if (now !== undefined) {
      this.#slices.set(key, now);
      const slices = this.#byService.get(now.service);
      if (slices === undefined) this.#byService.set(now.service, new Set([key]));
      else slices.add(key);
    }
    return { ...(before && { before }), ...(now && { now }) };
  }

  /** Members of a set for a service (`namespace/name`); the same one perhaps several times. */
  *membersOf(service: string, withPorts: boolean): Generator<NetKey, void, undefined> {
    for (const key of this.#byService.get(service) ?? []) yield* sliceMembers(this.#slices.get(key)!, withPorts);
  }
}

/** What a slice contributes to a set. */
export function* sliceMembers(slice: Slice, withPorts: boolean): Generator<NetKey, void, undefined> {
  for (const address of slice.addresses) {
    if (!withPorts) yield address;
    else for (const port of slice.ports) yield `${addressText(address)},${port}`;
  }
}

function readSlice(namespace: string, resource: unknown): Slice {
  const { metadata, endpoints, ports } = fieldsOf(resource);
  const service = textOf(fieldsOf(fieldsOf(metadata).labels)[SERVICE_LABEL]);
  const addresses: NetKey[] = [];
  for (const endpoint of listOf(endpoints)) {
    for (const text of listOf(fieldsOf(endpoint).addresses)) {
      // Some slices name hosts.
      const key = netKey(textOf(text));
      if (key !== undefined) addresses.push(key);
    }
  }
  const numbered: string[] = [];
  for (const entry of listOf(ports)) {
    const { port, protocol } = fieldsOf(entry);
    if (typeof port === "number") numbered.push(`${protocolName(protocol)}:${port}`);
  }
  return { service: `${namespace}/${service}`, addresses, ports: numbered };
}

/** What says nothing, or nothing known, is TCP. */
function protocolName(protocol: unknown): string {
  const number = typeof protocol === "string" ? protocolNumber(protocol) : undefined;
  return PROTOCOL_NAMES[number === 17 || number === 132 ? number : 6];
}
