import { resolve } from "node:path";
import { CniError, type Invocation } from "../../cni/index.ts";
import type { Client, DatastoreConfig } from "../../datastore/index.ts";
import { isOwnIpam } from "../addresses.ts";
import { apiServerConfig, datastoreConfig } from "../datastore.ts";
import type { Host } from "../host.ts";
import { readNodename } from "../settings.ts";

/** What an agent can do for others: attachments of its own node, recorded in its own datastore. */
export interface AgentPlace {
  readonly nodeName: string;
  readonly datastore: DatastoreConfig;
  readonly client: Client;
}

/** Why a call is not the agent's to carry out; undefined when it is. */
export function declines(
  call: Invocation,
  host: Host,
  { nodeName, datastore, client }: AgentPlace,
): string | undefined {
  const { command } = call.environment;
  if (command !== "ADD" && command !== "DEL" && command !== "CHECK") return `${command} is not served`;
  if (!isOwnIpam(call)) return "another IPAM plugin assigns the addresses";
  try {
    const asked = datastoreConfig(call.config, host.env);
    if (!isSame(asked, datastore)) return "the network configuration names another datastore than the agent's";
    if (!client.capabilities.views && apiServerConfig(call.config, host.env)) {
      return "the network configuration names an API server beside the datastore";
    }
    const node = readNodename(call.config, host, command !== "ADD");
    if (node !== nodeName) return `the network configuration is of the node ${node}, the agent is ${nodeName}'s`;
  } catch (error) {
    // Whatever is wrong is for the plugin to say, which sees the node's files as the runtime does.
    if (error instanceof CniError) return error.message;
    throw error;
  }
  return undefined;
}

function isSame(asked: DatastoreConfig, own: DatastoreConfig): boolean {
  if (asked.type === "sqlite") return own.type === "sqlite" && resolve(asked.file) === resolve(own.file);
  if (asked.type === "etcdv3") {
    return own.type === "etcdv3" && asked.discoverySrv === own.discoverySrv && endpoints(asked) === endpoints(own);
  }
  // A node belongs to one cluster, however its API server is reached from here and there.
  return own.type === "kubernetes" && (!asked.apiGroup || !own.apiGroup || asked.apiGroup === own.apiGroup);
}

const endpoints = ({ endpoints: all }: { readonly endpoints: readonly string[] }): string =>
  all
    .map((endpoint) => endpoint.replace(/\/+$/, ""))
    .sort()
    .join(",");
