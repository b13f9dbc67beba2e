/** For tests of attachments: a host of their own (namespace, folder, datastore) and calls as a container runtime makes them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { Namespace } from "../api/kubernetes/namespace.ts";
import { Pod } from "../api/kubernetes/pod.ts";
import { API_VERSION, type Resource } from "../api/meta.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import {
  CniError,
  formatResult,
  type Invocation,
  parseEnvironment,
  parseNetworkConfig,
  type Result,
} from "../cni/index.ts";
import { type Client, type DatastoreConfig, ensureInitialized, openClient } from "../datastore/index.ts";
import { type Hook, MemoryData, memoryClient } from "../datastore/testing.ts";
import { makeNamespace, type TestNamespace } from "../sys/testing.ts";
import { addAttachment } from "./add.ts";
import { checkAttachment } from "./check.ts";
import { collectGarbage } from "./collect.ts";
import { deleteAttachment } from "./delete.ts";
import type { Host } from "./host.ts";
import { podViewClient } from "./pod-view.suite.ts";
import { statusOfPlugin } from "./status.ts";

export interface CallOptions {
  /** Keys of the network configuration, over the site's. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly container?: string;
  readonly ifName?: string;
  /** CNI_ARGS */
  readonly args?: string;
  /** CNI_NETNS; the site's pod when absent. */
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One node with one pod, and everything thrown away afterwards. */
export interface Site extends Disposable {
  readonly folder: string;
  readonly host: TestNamespace;
  readonly pod: TestNamespace;
  readonly machine: Host;
  /** For looking at the datastore, and changing it, beside the calls. */
  readonly client: Client;
  /** What the memory datastore holds, to spoil it. */
  readonly data: MemoryData;
  /** What was logged: "level: message {fields}". */
  readonly logged: string[];
  /** What happens to the memory datastore's operations in calls from now on. */
  hook: Hook | undefined;
  call(command: string, options?: CallOptions): Invocation;
  add(options?: CallOptions): Promise<Result>;
  del(options?: CallOptions): Promise<void>;
  /** CHECK with what this ADD answered. */
  check(result: Result, options?: CallOptions): Promise<void>;
  gc(valid: readonly { containerID: string; ifname: string }[], options?: CallOptions): Promise<void>;
  status(options?: CallOptions): Promise<void>;
  /** One more pod's namespace, removed with the rest. */
  anotherPod(): TestNamespace;
  makePool(name: string, cidr: string, spec?: Readonly<Record<string, unknown>>): Promise<void>;
  /** A pod on this node, and its namespace if there is none yet; in the place of an earlier pod of the name. */
  makePod(
    name: string,
    metadata?: Readonly<Record<string, unknown>>,
    spec?: Readonly<Record<string, unknown>>,
  ): Promise<Pod>;
  makeNamespace(name: string, metadata?: Readonly<Record<string, unknown>>): Promise<void>;
  /** Everything that attachments leave in the datastore and on the host: empty when nothing does. */
  traces(): Promise<string[]>;
}

/** `kubernetes`: in memory, with pods for endpoints and a commit for each write. */
export async function makeSite(backend: "memory" | "sqlite" | "kubernetes" = "memory"): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), "calico-attach-"));
  const host = makeNamespace("calico-attach-host");
  const pods = [makeNamespace("calico-attach-pod")];
  const data = new MemoryData();
  const file = join(folder, "datastore.db");
  const logged: string[] = [];
  const log =
    (level: string) =>
    (message: string, fields: object = {}): void =>
      void logged.push(`${level}: ${message} ${JSON.stringify(fields)}`);
  const memory = (role: "plugin" | "admin", hook?: Hook): Client => {
    const options = { data, ...(hook ? { hook } : {}) };
    if (backend === "memory") return memoryClient(options);
    return podViewClient(memoryClient({ ...options, capabilities: { atomicBatch: false, softDelete: true } }), role);
  };
  const client = backend === "sqlite" ? await openClient({ type: "sqlite", file }) : memory("admin");
  await ensureInitialized(client);
  const site: Site = {
    folder,
    host,
    pod: pods[0]!,
    client,
    data,
    logged,
    hook: undefined,
    machine: {
      env: {},
      log: { level: "debug", debug: log("debug"), info: log("info"), warning: log("warning"), error: log("error") },
      files: {
        mtu: join(folder, "mtu"),
        nodename: join(folder, "nodename"),
        ipamLock: join(folder, "run", "ipam.lock"),
        deleteLock: join(folder, "run", "delete.lock"),
        endpointStatus: join(folder, "endpoint-status"),
      },
      hostNetns: host.namespace,
      hostname: () => "the-machine",
      openClient: async (config: DatastoreConfig) =>
        backend !== "sqlite" && !isSomewhereElse(config) ? memory("plugin", site.hook) : openClient(config),
      now: () => Date.UTC(2024, 9, 19, 20, 50, 0, 30),
    },
    call: (command, options = {}) => {
      const env = {
        ...options.env,
        CNI_COMMAND: command,
        CNI_CONTAINERID: options.container ?? "0123456789abcdef",
        CNI_NETNS: options.netns ?? pods[0]!.path,
        CNI_IFNAME: options.ifName ?? "eth0",
        CNI_ARGS: options.args ?? "",
        CNI_PATH: options.env?.CNI_PATH ?? folder,
      };
      const raw = {
        cniVersion: "1.1.0",
        name: "net1",
        type: "calico",
        nodename: "node-1",
        nodename_file_optional: true,
        ...(backend === "sqlite" ? { datastore_type: "sqlite", datastore_file: file } : {}),
        ipam: { type: "calico-ipam" },
        ...(backend === "kubernetes" ? { policy: { type: "k8s" } } : {}),
        ...options.config,
      };
      return { environment: parseEnvironment(env), config: parseNetworkConfig(raw), stdin: JSON.stringify(raw), env };
    },
    add: (options) => addAttachment(site.call("ADD", options), site.machine),
    del: (options) => deleteAttachment(site.call("DEL", options), site.machine),
    check: (result, options = {}) => {
      const config = { ...options.config, prevResult: formatResult(result, "1.1.0") };
      return checkAttachment(site.call("CHECK", { ...options, config }), site.machine);
    },
    gc: (valid, options = {}) => {
      const config = { ...options.config, "cni.dev/valid-attachments": valid };
      return collectGarbage(site.call("GC", { ...options, config }), site.machine);
    },
    status: (options) => statusOfPlugin(site.call("STATUS", options), site.machine),
    anotherPod: () => {
      const pod = makeNamespace("calico-attach-pod");
      pods.push(pod);
      return pod;
    },
    makePool: async (name, cidr, spec = {}) => {
      const pool = { apiVersion: API_VERSION, kind: "IPPool", metadata: { name }, spec: { cidr, ...spec } };
      await client.create(IPPool, pool as unknown as IPPool);
    },
    makeNamespace: async (name, metadata = {}) => {
      const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { ...metadata, name } } as const;
      if (await client.exists(Namespace, { name })) await client.delete(Namespace, { name });
      await client.create(Namespace, namespace);
    },
    makePod: async (name, metadata = {}, spec = {}) => {
      const ref = { name, namespace: "default", ...metadata };
      if (!(await client.exists(Namespace, { name: ref.namespace }))) await site.makeNamespace(ref.namespace);
      if (await client.exists(Pod, ref)) await client.delete(Pod, ref);
      const containers = [{ name: "main" }];
      const pod = { apiVersion: "v1", kind: "Pod", metadata: ref, spec: { nodeName: "node-1", containers, ...spec } };
      return client.create(Pod, pod as Pod);
    },
    traces: () => traces(client, host),
    [Symbol.dispose]: () => {
      for (const pod of pods) pod.dispose();
      host.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return site;
}

function isSomewhereElse(config: DatastoreConfig): boolean {
  return config.type !== "sqlite" || config.file !== "/var/lib/calico/datastore.db";
}

async function traces(client: Client, host: TestNamespace): Promise<string[]> {
  const [endpoints, handles, blocks] = await Promise.all([
    client.list(WorkloadEndpoint),
    client.list(IPAMHandle),
    client.list(IPAMBlock),
  ]);
  const links = host.run(() => readFileSync("/proc/thread-self/net/dev", "utf8").match(/\S+(?=:)/g) ?? []);
  return [
    ...named(
      "endpoint",
      endpoints.items.filter(({ spec }) => spec.ipNetworks?.length !== 0),
    ),
    ...named("handle", handles.items),
    ...blocks.items.flatMap(({ spec }) =>
      spec.allocations.flatMap((index, ordinal) => (index === null ? [] : [`address ${spec.cidr}+${ordinal}`])),
    ),
    ...links.filter((name) => name !== "lo").map((name) => `interface ${name}`),
  ];
}

function named(what: string, items: readonly Resource[]): string[] {
  return items.map(({ metadata }) => `${what} ${metadata.name}`);
}

/** The CniError that the work fails with. */
export async function failureOf(work: Promise<unknown>): Promise<CniError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** An IPAM plugin for tests: a shell script that answers ADD with this result, and remembers its calls in `<name>.calls`. */
export function makeIpamPlugin(folder: string, name: string, answer: object): () => string[] {
  const calls = join(folder, `${name}.calls`);
  writeFileSync(calls, "");
  writeFileSync(
    join(folder, name),
    `#!/bin/sh\ncat >/dev/null\necho "$CNI_COMMAND $CNI_CONTAINERID $CNI_ARGS" >>'${calls}'\n` +
      `[ "$CNI_COMMAND" = ADD ] && printf '%s' '${JSON.stringify(answer)}'\nexit 0\n`,
    { mode: 0o755 },
  );
  return () => readFileSync(calls, "utf8").trim().split("\n").filter(Boolean);
}
