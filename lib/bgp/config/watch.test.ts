import { afterEach, expect, test } from "vitest";
import { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { BGPFilter } from "../../api/bgpfilter.ts";
import { BGPPeer } from "../../api/bgppeer.ts";
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { EndpointSlice, Namespace, Secret, Service } from "../../api/kubernetes/index.ts";
import { Node } from "../../api/node.ts";
import { type Client, DatastoreError, type WatchOptions } from "../../datastore/index.ts";
import { memoryClient } from "../../datastore/testing.ts";
import type { NodeBgp } from "../model/index.ts";
import { bgpFilter, bgpPeer, configuration, node, secret, service, slice } from "./testing.ts";
import type { BgpWatch, WatchBgpOptions } from "./types.ts";
import { watchBgp } from "./watch.ts";

const DEADLINE = 5000;

interface Running {
  readonly watch: BgpWatch;
  readonly heard: NodeBgp[];
  readonly troubles: Map<string, string | undefined>;
  /** The first delivery, from now on or the last one, that is as wanted. */
  until(isWanted: (bgp: NodeBgp) => boolean): Promise<NodeBgp>;
}

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function start(client: Client, options: Partial<WatchBgpOptions> = {}): Running {
  const abort = new AbortController();
  const heard: NodeBgp[] = [];
  const troubles = new Map<string, string | undefined>();
  const waiting = new Set<() => void>();
  const watch = watchBgp({
    client,
    node: "a",
    signal: abort.signal,
    settle: 1,
    onChange: (bgp) => {
      heard.push(bgp);
      for (const wake of waiting) wake();
    },
    onTrouble: (kind, why) => troubles.set(kind, why),
    ...options,
  });
  stops.push(async () => {
    abort.abort();
    await watch.done;
  });
  const until = (isWanted: (bgp: NodeBgp) => boolean): Promise<NodeBgp> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        const last = heard.at(-1);
        if (!last || !isWanted(last)) return;
        clearTimeout(timer);
        waiting.delete(check);
        resolve(last);
      };
      const timer = setTimeout(() => reject(new Error(`not so: ${JSON.stringify(heard.at(-1))}`)), DEADLINE);
      waiting.add(check);
      check();
    });
  return { watch, heard, troubles, until };
}

async function cluster(): Promise<Client> {
  const client = memoryClient();
  await client.create(Node, node("a", { ipv4Address: "10.0.0.1/24" }));
  await client.create(Node, node("b", { ipv4Address: "10.0.0.2/24" }));
  await client.create(Node, node("c", { ipv4Address: "10.0.0.3/24" }));
  return client;
}

const names = ({ ipv4 }: NodeBgp) => ipv4.peers.map(({ name }) => name);

test("is calculated anew when an answer of the options is another, and not told where nothing came of it", async () => {
  const client = memoryClient();
  await client.create(Node, node("a", { ipv6Address: "fd00::1/64" }));
  let isPrepared = false;
  const { watch, heard, until } = start(client, { isPrepared: () => isPrepared });
  const before = await until(({ ipv6 }) => ipv6.address === "fd00::1");
  expect(before.problems).toEqual([]);
  isPrepared = true;
  watch.again();
  const after = await until(({ problems }) => problems.length > 0);
  expect(after.problems.join()).toContain("has no IPv4 address to be its router ID");
  expect(after.ipv6).toBe(before.ipv6);
  watch.again();
  await client.create(Node, node("b", { ipv6Address: "fd00::2/64" }));
  await until(({ ipv6 }) => ipv6.peers.length === 1);
  expect(heard).toHaveLength(3);
});

test("what there is comes as one; then each change, with everything else the same objects", async () => {
  const client = await cluster();
  await client.create(
    BlockAffinity,
    newBlockAffinity({ node: "a", type: "host", cidr: "192.168.0.0/26", state: "confirmed" }),
  );
  await client.create(
    BlockAffinity,
    newBlockAffinity({ node: "b", type: "host", cidr: "192.168.1.0/26", state: "confirmed" }),
  );
  const { heard, until, watch } = start(client);
  const first = await until(() => true);
  expect(heard).toHaveLength(1);
  expect(watch.missing.size).toBe(0);
  expect(names(first)).toEqual(["Mesh_10_0_0_2", "Mesh_10_0_0_3"]);
  expect(first.ipv4.blocks.map(({ cidr }) => cidr)).toEqual(["192.168.0.0/26"]);

  await client.delete(Node, { name: "b" });
  const second = await until((bgp) => names(bgp).length === 1);
  expect(second.ipv4.peers[0]).toBe(first.ipv4.peers[1]);
  expect(second.ipv4.blocks).toBe(first.ipv4.blocks);
  expect(second.ipv6).toBe(first.ipv6);
  expect(second.filters).toBe(first.filters);
});

test("what changes nothing is not delivered", async () => {
  const client = await cluster();
  const { heard, until } = start(client);
  await until(() => true);
  const found = (await client.get(Node, { name: "b" }))!;
  await client.update(Node, { ...found, metadata: { ...found.metadata, labels: { some: "label" } } });
  await client.create(BGPFilter, bgpFilter("f", {}));
  const last = await until(({ filters }) => "f" in filters);
  expect(heard).toHaveLength(2);
  expect(last.ipv4).toBe(heard[0]!.ipv4);
});

test("Services are looked at once a range of theirs is configured, and not any more when it goes", async () => {
  const client = await cluster();
  const { until, watch } = start(client);
  await until(() => true);
  await client.create(Namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  await client.create(
    Service,
    service("s", {
      type: "NodePort",
      externalTrafficPolicy: "Local",
      clusterIP: "10.96.0.5",
      clusterIPs: ["10.96.0.5"],
      ipFamilies: ["IPv4"],
      ports: [{ port: 80 }],
    }),
  );
  await client.create(EndpointSlice, slice("s", { a: true }));
  await client.create(BGPConfiguration, configuration({ serviceClusterIPs: [{ cidr: "10.96.0.0/12" }] }));
  // Both at once: not the range first and the address later.
  const { ipv4 } = await until(({ ipv4 }) => ipv4.services.length > 0);
  expect(ipv4.services).toEqual(["10.96.0.0/12", "10.96.0.5/32"]);
  const found = (await client.get(EndpointSlice, { name: "s-1", namespace: "shop" }))!;
  await client.update(EndpointSlice, { ...found, endpoints: slice("s", { b: true }).endpoints! });
  await until(({ ipv4 }) => ipv4.services.length === 1);
  await client.delete(BGPConfiguration, { name: "default" });
  await until(({ ipv4 }) => ipv4.services.length === 0);
  expect([...watch.missing]).toEqual([]);
});

test("a Secret is watched by its name while somebody names it; a changed password touches only its session", async () => {
  const client = await cluster();
  const indexes: unknown[] = [];
  const { until } = start(
    spied(client, (kind, options) => {
      if (kind === "Secret") indexes.push(options?.index);
    }),
  );
  const first = await until(() => true);
  await client.create(Namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-system" } });
  await client.create(Secret, secret("kube-system", "bgp", { tor: "one" }));
  await client.create(
    BGPPeer,
    bgpPeer("x", {
      peerIP: "10.9.0.1",
      asNumber: 65001,
      password: { secretKeyRef: { name: "bgp", key: "tor" } },
    }),
  );
  const passwordOf = ({ ipv4 }: NodeBgp) => ipv4.peers.find(({ kind }) => kind === "global")?.password;
  const second = await until((bgp) => passwordOf(bgp) === "one");
  expect(second.ipv4.peers.filter(({ kind }) => kind === "mesh")).toEqual(first.ipv4.peers);
  const found = (await client.get(Secret, { name: "bgp", namespace: "kube-system" }))!;
  await client.update(Secret, { ...found, data: secret("", "", { tor: "two" }).data! });
  const third = await until((bgp) => passwordOf(bgp) === "two");
  for (const peer of third.ipv4.peers) expect(second.ipv4.peers.includes(peer)).toBe(peer.kind === "mesh");
  await client.delete(Secret, { name: "bgp", namespace: "kube-system" });
  const without = await until((bgp) => passwordOf(bgp) === undefined);
  expect(names(without)).toEqual(names(first));
  expect(indexes).toEqual([{ namespace: "kube-system", name: "bgp" }]);
});

test("what may not be read holds nothing up: the session is left out, and readiness hears why", async () => {
  const client = await cluster();
  await client.create(
    BGPPeer,
    bgpPeer("x", {
      peerIP: "10.9.0.1",
      asNumber: 65001,
      password: { secretKeyRef: { name: "bgp", key: "tor" } },
    }),
  );
  const refusing = spied(client, (kind) => {
    if (kind === "Secret") throw new DatastoreError("UNAUTHORIZED", "secrets is forbidden");
    if (kind === "BGPFilter") throw new DatastoreError("CONFIG", "not served", { kindMissing: true });
  });
  const { until, troubles } = start(refusing);
  const bgp = await until(() => true);
  expect(names(bgp)).toEqual(["Mesh_10_0_0_2", "Mesh_10_0_0_3"]);
  expect(bgp.problems[0]).toContain("Secret kube-system/bgp is not there or may not be read");
  expect(troubles.get("Secret kube-system/bgp")).toBe("secrets is forbidden");
  expect(troubles.get("BGPFilter")).toBeUndefined();
});

test("what BGP cannot do without is waited for, and what was known stays while the datastore is away", async () => {
  const client = await cluster();
  let isAway = true;
  const breaks: (() => void)[] = [];
  const flaky: Client = new Proxy(client, {
    get: (target, name) =>
      name !== "watch"
        ? Reflect.get(target, name, target)
        : async function* (...[kind, options]: Parameters<Client["watch"]>) {
            if (isAway && kind.kind === "Node") throw new DatastoreError("UNAVAILABLE", "connection refused");
            const broken = new AbortController();
            if (kind.kind === "Node") breaks.push(() => broken.abort());
            const signal = AbortSignal.any([options!.signal!, broken.signal]);
            yield* target.watch(kind, { ...options, signal });
            if (broken.signal.aborted) throw new DatastoreError("UNAVAILABLE", "connection lost");
          },
  });
  const { until, heard, troubles, watch } = start(flaky);
  const failed = Promise.withResolvers<void>();
  const poll = setInterval(() => {
    if (troubles.get("Node") === "connection refused") failed.resolve();
  }, 5);
  await failed.promise;
  clearInterval(poll);
  expect(heard).toEqual([]);
  expect(watch.missing.has("Node")).toBe(true);
  isAway = false;
  const first = await until(() => true);
  expect(troubles.get("Node")).toBeUndefined();

  // Deleted while nobody watched: the next watch does not tell of it.
  isAway = true;
  for (const one of breaks.splice(0)) one();
  await client.delete(Node, { name: "b" });
  await client.create(BGPFilter, bgpFilter("f", {}));
  const away = await until(({ filters }) => "f" in filters);
  expect(away.ipv4).toBe(first.ipv4);
  isAway = false;
  expect(names(await until((bgp) => names(bgp).length === 1))).toEqual(["Mesh_10_0_0_3"]);
});

test("affinities that a watch does not see, as older Calicos did not label them, are found by a list", async () => {
  const client = await cluster();
  const affinity = (cidr: string) => newBlockAffinity({ node: "a", type: "host", cidr, state: "confirmed" });
  await client.create(BlockAffinity, affinity("192.168.0.0/26"));
  const asKubernetes: Client = new Proxy(client, {
    get: (target, name) => {
      if (name === "capabilities") return { ...target.capabilities, views: true };
      if (name === "watch") return target.watch.bind(target);
      if (name !== "list") return Reflect.get(target, name, target);
      return async (...[kind, index]: Parameters<Client["list"]>) => {
        const result = await target.list(kind, index);
        return kind.kind === "BlockAffinity"
          ? { ...result, items: [...result.items, affinity("192.168.1.0/26")] }
          : result;
      };
    },
  });
  const { until } = start(asKubernetes);
  const blocks = ({ ipv4 }: NodeBgp) => ipv4.blocks.map(({ cidr }) => cidr);
  expect(blocks(await until(() => true))).toEqual(["192.168.0.0/26", "192.168.1.0/26"]);
  // Of one that the watch sees, the watch says when it is gone.
  await client.delete(BlockAffinity, { name: affinity("192.168.0.0/26").metadata.name });
  expect(blocks(await until((bgp) => blocks(bgp).length === 1))).toEqual(["192.168.1.0/26"]);
});

test("an error of the receiver ends it", async () => {
  const client = await cluster();
  const abort = new AbortController();
  const watch = watchBgp({
    client,
    node: "a",
    signal: abort.signal,
    settle: 1,
    onChange: () => {
      throw new RangeError("mine");
    },
  });
  await expect(watch.done).rejects.toThrow("mine");
  abort.abort();
});

/** The client, with a look at every watch that begins. */
function spied(client: Client, look: (kind: string, options: WatchOptions | undefined) => void): Client {
  return new Proxy(client, {
    get: (target, name) =>
      name !== "watch"
        ? Reflect.get(target, name, target)
        : (...[kind, options]: Parameters<Client["watch"]>) => {
            look(kind.kind, options);
            return target.watch(kind, options);
          },
  });
}
