/** Start-up, from the first look at the datastore to the nodename file. */
import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { IPPool } from "../api/ippool.ts";
import { Node } from "../api/node.ts";
import type { Client } from "../datastore/index.ts";
import { folderOf, makeFolder, readTextFile } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { pause } from "../wait/index.ts";
import { ensure, ensureDefaults, isCode } from "./defaults.ts";
import { nodeNameOf, nodenameFile } from "./environment.ts";
import { NodeError } from "./errors.ts";
import { defaultPools, unservedPools } from "./pools.ts";
import { type Settled, settleNode } from "./settle.ts";
import type { Env, HostFacts, KubernetesFacts, PreparedNode } from "./types.ts";

/** Between looks at a datastore that is waited for. */
const RETRY_MS = 1000;
const SHUTDOWN_FILE = "/var/lib/calico/shutdownTS";

export interface PrepareOptions {
  readonly log: Logger;
  /** Absent: this node is not of a Kubernetes cluster. */
  readonly kubernetes?: KubernetesFacts;
  readonly signal?: AbortSignal;
}

/**
 * Everything upstream's start-up does: waits for the datastore (WAIT_FOR_DATASTORE), finds the node's addresses, writes Node, default pools and configurations, and
 * at the end the nodename file. Again does nothing that is done. Throws NodeError or DatastoreError.
 */
export async function prepareNode(
  client: Client,
  env: Env,
  facts: HostFacts,
  options: PrepareOptions,
): Promise<PreparedNode> {
  const { log, kubernetes } = options;
  const name = nodeNameOf(env, facts.hostname);
  if (env.WAIT_FOR_DATASTORE === "true") await waitForDatastore(client, name, log, options.signal);
  const settled = await settleNode(client, name, env, facts, kubernetes);
  for (const note of settled.notes) log.info(note, { node: name });
  for (const warning of settled.warnings) log.warning(warning, { node: name });
  await preparePools(client, env, facts, options);
  await ensureDefaults(client, name, env, kubernetes);
  const prepared = await describeNode(client, name, settled);
  for (const { message } of prepared.unserved) log.warning(message);
  writeNodename(nodenameFile(env), name);
  log.info("node is prepared", { node: name, ipv4: prepared.ipv4, ipv6: prepared.ipv6, as: prepared.asn });
  return prepared;
}

/** What is asked for does not matter; an answer of any kind does. */
async function waitForDatastore(client: Client, name: string, log: Logger, signal?: AbortSignal): Promise<void> {
  for (let said = false; ; said = true) {
    signal?.throwIfAborted();
    try {
      await client.get(Node, { name });
      return;
    } catch (error) {
      if (!isCode(error, "UNAVAILABLE")) {
        if (isCode(error, "INVALID")) return;
        throw error;
      }
      if (!said) log.info("waits for the datastore", { datastore: client.name, error: (error as Error).message });
    }
    await pause(RETRY_MS, signal ?? new AbortController().signal);
  }
}

async function preparePools(
  client: Client,
  env: Env,
  facts: HostFacts,
  { log, kubernetes }: PrepareOptions,
): Promise<void> {
  const pools = defaultPools({
    env,
    existing: (await client.list(IPPool)).items,
    hostAddresses: facts.interfaces().flatMap(({ addresses }) => addresses.map(({ address }) => address)),
    ipv6: facts.ipv6,
    random: () => randomBytes(5),
    ...(kubernetes?.kubeadmConfig && { kubeadmConfig: kubernetes.kubeadmConfig }),
  });
  for (const pool of pools) {
    if (!(await ensure(client, IPPool, pool))) continue;
    const { cidr, ipipMode, vxlanMode, natOutgoing } = pool.spec;
    log.info("made the default pool", { pool: pool.metadata.name, cidr, ipipMode, vxlanMode, natOutgoing });
  }
}

/** What is there after all has been done. */
export async function describeNode(client: Client, name: string, { node, warnings }: Settled): Promise<PreparedNode> {
  const { ipv4Address: ipv4, ipv6Address: ipv6, asNumber: asn } = node?.spec.bgp ?? {};
  return {
    name,
    ...(node && { node }),
    ...(ipv4 !== undefined && { ipv4 }),
    ...(ipv6 !== undefined && { ipv6 }),
    ...(asn !== undefined && { asn }),
    unserved: unservedPools((await client.list(IPPool)).items),
    warnings,
  };
}

/** Other programs of this node read it at any moment: it is there as a whole or not at all. */
function writeNodename(path: string, name: string): void {
  if (readTextFile(path) === name) return;
  const temporary = `${path}.${process.pid}.new`;
  try {
    makeFolder(folderOf(path));
    writeFileSync(temporary, name, { mode: 0o644 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    const why = (error as Error).message;
    throw new NodeError(
      "FILE",
      `cannot write the node's name to ${path}: ${why}; CALICO_NODENAME_FILE says where it goes`,
      {
        cause: error,
      },
    );
  }
}

/** The node is up: removes what an earlier shutdown left (CALICO_SHUTDOWN_TIMESTAMP_FILE). */
export function removeShutdownTimestamp(env: Env): void {
  rmSync(shutdownTimestampFile(env), { force: true });
}

/** Where the time of the last shutdown is. */
export const shutdownTimestampFile = (env: Env): string => env.CALICO_SHUTDOWN_TIMESTAMP_FILE || SHUTDOWN_FILE;
