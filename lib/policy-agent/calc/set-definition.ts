import { type Node, selectorId, selectorOf } from "../../selector/index.ts";
import type { SetId, SetType } from "./messages.ts";

/** Protocols of which ports have names: the IP protocol number, or any of them. */
export type PortProtocol = 6 | 17 | 132 | "any";

/** What an IP set is made of. Two definitions with the same id are the same set. */
export type SetDefinition = { readonly id: SetId; readonly type: SetType } & (
  | { readonly of: "selector"; readonly selector: string }
  | { readonly of: "port"; readonly selector: string; readonly port: string; readonly protocol: PortProtocol }
  | { readonly of: "service"; readonly service: string; readonly withPorts: boolean }
);

export const PROTOCOL_NAMES = { 6: "tcp", 17: "udp", 132: "sctp", any: "any" } as const;

/** Endpoints and network sets that a selector matches. */
export function selectorSet(node: Node): SetDefinition {
  const selector = selectorOf(node);
  return { id: selectorId(selector), type: "net", of: "selector", selector: selector.text };
}

/** A named port of the endpoints that a selector matches (felix/calc/rule_scanner.go, IPSetData.UniqueID). */
export function portSet(node: Node | undefined, port: string, protocol: PortProtocol): SetDefinition {
  const selector = selectorOf(node ?? { op: "all" });
  const id = hashed("n", `${selectorId(selector)},${PROTOCOL_NAMES[protocol]},${port}`);
  return { id, type: "port", of: "port", selector: selector.text, port, protocol };
}

/** The addresses behind a Service, with its ports or without. */
export function serviceSet(namespace: string, name: string, withPorts: boolean): SetDefinition {
  const service = `${namespace}/${name}`;
  return withPorts
    ? { id: hashed("svc", service), type: "port", of: "service", service, withPorts }
    : { id: hashed("svcnoport", service), type: "net", of: "service", service, withPorts };
}

const hashed = (prefix: string, content: string): string =>
  `${prefix}:${new Bun.CryptoHasher("sha224").update(`${prefix}:${content}`).digest("base64url")}`;
