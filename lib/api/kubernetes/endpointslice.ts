import type { DiscoveryV1EndpointPort, V1Endpoint } from "@kubernetes/client-node";
import { formatProblem } from "../formats.ts";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { checkUnique, NO_SPEC, PROTOCOLS, parseAddress } from "./checks.ts";
import { listText } from "./columns.ts";
import type { Json } from "./json.ts";

export type Endpoint = Json<V1Endpoint>;
export type EndpointPort = Json<DiscoveryV1EndpointPort>;

export interface EndpointSlice extends Resource<"EndpointSlice"> {
  addressType: "IPv4" | "IPv6" | "FQDN";
  /** Absent, like an empty list, when there are none. */
  endpoints?: Endpoint[];
  /** Absent is all ports. */
  ports?: EndpointPort[];
}

/** Limits of one slice (pkg/apis/discovery/validation). */
const MAX_ENDPOINTS = 1000;
const MAX_ADDRESSES = 100;
const MAX_PORTS = 20_000;

const fields = s.lazy(() => {
  const condition = () => s.optional(s.boolean());
  return s.object({
    addressType: s.oneOf(["IPv4", "IPv6", "FQDN"]),
    endpoints: s.optional(
      s.array(
        s.object({
          addresses: s.array(s.string(), { maxItems: MAX_ADDRESSES }),
          conditions: s.optional(s.object({ ready: condition(), serving: condition(), terminating: condition() })),
          hostname: s.optional(s.string({ format: "label-name" })),
          nodeName: s.optional(s.string({ format: "name" })),
          zone: s.optional(s.string()),
        }),
        { maxItems: MAX_ENDPOINTS },
      ),
    ),
    ports: s.optional(
      s.array(
        s.object({
          name: s.optional(s.string({ format: "label-name" })),
          protocol: s.optional(s.oneOf(PROTOCOLS)),
          port: s.optional(s.integer({ min: 1, max: 65535 })),
          appProtocol: s.optional(s.string()),
        }),
        { maxItems: MAX_PORTS },
      ),
    ),
  });
});

/** Addresses behind a Service; the label kubernetes.io/service-name says which. */
export const EndpointSlice: Kind<EndpointSlice> = {
  kind: "EndpointSlice",
  apiVersion: "discovery.k8s.io/v1",
  plural: "endpointslices",
  namespaced: true,
  aliases: [],
  doc: "Addresses behind a Service; the label kubernetes.io/service-name says which.",
  verbatim: true,
  spec: NO_SPEC,
  get fields() {
    return fields();
  },
  check({ addressType, endpoints = [], ports = [] }) {
    const problems = checkUnique(
      ports,
      ({ name }) => name ?? "",
      (i) => `ports[${i}].name`,
    );
    for (const [i, { addresses }] of endpoints.entries()) {
      const path = `endpoints[${i}].addresses`;
      if (addresses.length === 0) problems.push({ path, value: undefined, message: "must have at least one address" });
      for (const [j, address] of addresses.entries()) {
        if (isAddressOf(addressType, address)) continue;
        const what = addressType === "FQDN" ? "a DNS name" : `an ${addressType} address`;
        problems.push({ path: `${path}[${j}]`, value: address, message: `must be ${what}, as addressType says` });
      }
    }
    return problems;
  },
  checkUpdate({ addressType }, previous) {
    if (addressType === previous.addressType) return [];
    const message = `cannot change from ${previous.addressType}; make another slice`;
    return [{ path: "addressType", value: addressType, message }];
  },
  get columns(): Columns<EndpointSlice> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "ADDRESSTYPE", value: ({ addressType }) => addressType },
      { title: "PORTS", value: ({ ports = [] }) => listText(ports.map(({ port }) => port ?? "*")) },
      { title: "ENDPOINTS", value: ({ endpoints = [] }) => listText(endpoints.flatMap(({ addresses }) => addresses)) },
    ];
  },
};

function isAddressOf(type: EndpointSlice["addressType"], text: string): boolean {
  if (type === "FQDN") return formatProblem("name", text.replace(/\.$/, "")) === undefined;
  return parseAddress(text)?.version === (type === "IPv4" ? 4 : 6);
}
