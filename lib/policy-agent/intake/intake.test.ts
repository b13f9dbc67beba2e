import { describe, expect, test } from "vitest";
import { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { KubernetesNetworkPolicy, Namespace, ServiceAccount } from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { Tier } from "../../api/tier.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import { memoryClient } from "../../datastore/testing.ts";
import type { Input } from "../calc/index.ts";
import { toInput, watchInputs } from "./index.ts";

const kubernetes = (kind: string, apiVersion: string, metadata: Resource["metadata"], spec: unknown): Resource => ({
  kind,
  apiVersion,
  metadata,
  spec,
});
const policy = (namespace: string, name: string, spec: unknown): Resource =>
  kubernetes("NetworkPolicy", "networking.k8s.io/v1", { namespace, name }, spec);

const bgpConfiguration = (cidr: string): BGPConfiguration => ({
  apiVersion: "projectcalico.org/v3",
  kind: "BGPConfiguration",
  metadata: { name: "default" },
  spec: { serviceClusterIPs: [{ cidr }], serviceLoadBalancerAggregation: "Enabled" },
});
const serviceBlocks = (input: Input): unknown[] =>
  input.kind === "BGPConfiguration" && input.name === "default"
    ? ((input.resource as BGPConfiguration | undefined)?.spec.serviceClusterIPs ?? []).map(({ cidr }) => cidr)
    : [];

describe("one resource", () => {
  test("a NetworkPolicy of Kubernetes is told apart from Calico's of the same name", () => {
    const theirs = toInput(policy("ns", "a", { podSelector: {}, policyTypes: ["Ingress"] }));
    expect(theirs.input).toMatchObject({
      kind: "Policy",
      id: { kind: "KubernetesNetworkPolicy", namespace: "ns", name: "a" },
      policy: { spec: { tier: "default", order: 1000 } },
    });
    const ours = { ...policy("ns", "a", { tier: "default", types: ["Ingress"] }), apiVersion: "projectcalico.org/v3" };
    expect(toInput(ours).input).toMatchObject({ id: { kind: "NetworkPolicy", namespace: "ns", name: "a" } });
  });

  test("one that is gone leaves its name", () => {
    const { input } = toInput(policy("ns", "a", { podSelector: {} }), true);
    expect(input).toEqual({
      kind: "Policy",
      id: { kind: "KubernetesNetworkPolicy", namespace: "ns", name: "a" },
      policy: undefined,
    });
  });

  test("what cannot be converted allows nothing, and is reported by its path", () => {
    const { input, problems } = toInput(
      policy("ns", "a", { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/99" } }] }] }),
    );
    expect(input).toMatchObject({ policy: { spec: { types: expect.arrayContaining(["Ingress"]) } } });
    expect((input as { policy: { spec: { ingress?: unknown[] } } }).policy.spec.ingress ?? []).toEqual([]);
    expect(problems.join()).toContain("spec.ingress[0].from[0].ipBlock.cidr");
  });

  test("a Pod, a Namespace and a ServiceAccount are what a datastore shows of them", () => {
    expect(toInput(kubernetes("Namespace", "v1", { name: "shop", labels: { a: "b" } }, {})).input).toMatchObject({
      kind: "Profile",
      name: "kns.shop",
    });
    expect(
      toInput(kubernetes("ServiceAccount", "v1", { name: "s", namespace: "shop" }, undefined)).input,
    ).toMatchObject({
      kind: "Profile",
      name: "ksa.shop.s",
    });
    const pod = kubernetes("Pod", "v1", { name: "web", namespace: "shop" }, { nodeName: "n", containers: [] });
    const running = { ...pod, status: { podIP: "10.0.0.7", podIPs: [{ ip: "10.0.0.7" }], phase: "Running" } };
    expect(toInput(running as Resource).input).toMatchObject({
      kind: "WorkloadEndpoint",
      namespace: "shop",
      resource: { spec: { node: "n", ipNetworks: ["10.0.0.7/32"] } },
    });
  });

  test("what policy does not depend on tells nothing", () => {
    expect(toInput(kubernetes("Secret", "v1", { name: "s", namespace: "shop" }, undefined))).toEqual({ problems: [] });
  });
});

describe("watching", () => {
  test("hands on what there is, says when that was all, and then what changes", async () => {
    const client = memoryClient();
    const stop = new AbortController();
    const heard: Input[] = [];
    const waiting: { until: (input: Input) => boolean; resolve: () => void }[] = [];
    const hears = (until: (input: Input) => boolean): Promise<void> =>
      heard.some(until) ? Promise.resolve() : new Promise((resolve) => waiting.push({ until, resolve }));
    await client.create(Tier, {
      apiVersion: "projectcalico.org/v3",
      kind: "Tier",
      metadata: { name: "security" },
      spec: { order: 10, defaultAction: "Deny" },
    });
    await client.create(Namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
    const inSync = Promise.withResolvers<void>();
    const watch = watchInputs({
      client,
      signal: stop.signal,
      sink: (input) => {
        heard.push(input);
        for (const { until, resolve } of waiting) if (until(input)) resolve();
      },
      onProblem: () => {},
      onInSync: () => inSync.resolve(),
      onTrouble: () => {},
    });
    await inSync.promise;
    expect(watch.missing.size).toBe(0);
    expect(heard).toContainEqual(expect.objectContaining({ kind: "Tier", name: "security" }));
    expect(heard).toContainEqual(expect.objectContaining({ kind: "Profile", name: "kns.shop" }));

    await client.create(KubernetesNetworkPolicy, {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "isolate", namespace: "shop" },
      spec: { podSelector: {}, policyTypes: ["Ingress"] },
    });
    await hears((input) => input.kind === "Policy" && input.id.name === "isolate" && input.policy !== undefined);
    await client.delete(KubernetesNetworkPolicy, { name: "isolate", namespace: "shop" });
    await hears((input) => input.kind === "Policy" && input.id.name === "isolate" && input.policy === undefined);

    await client.create(GlobalNetworkPolicy, {
      apiVersion: "projectcalico.org/v3",
      kind: "GlobalNetworkPolicy",
      metadata: { name: "g" },
      spec: { tier: "default", types: ["Ingress"] },
    });
    await hears((input) => input.kind === "Policy" && input.id.kind === "GlobalNetworkPolicy");

    await client.create(BGPConfiguration, bgpConfiguration("10.96.0.0/12"));
    await hears((input) => input.kind === "BGPConfiguration" && serviceBlocks(input).includes("10.96.0.0/12"));
    const read = await client.get(BGPConfiguration, { name: "default" });
    await client.update(BGPConfiguration, { ...read!, spec: bgpConfiguration("10.112.0.0/12").spec });
    await hears((input) => input.kind === "BGPConfiguration" && serviceBlocks(input).includes("10.112.0.0/12"));
    await client.delete(BGPConfiguration, { name: "default" });
    await hears((input) => input.kind === "BGPConfiguration" && input.resource === undefined);
    stop.abort();
    await watch.done;
    await client.close();
  });

  test("where profiles are views, what they are made of is watched, with others, and tells the same", async () => {
    const client = memoryClient();
    const account = (namespace: string, name: string) => ({
      ...{ apiVersion: "v1", kind: "ServiceAccount" as const },
      metadata: { namespace, name, labels: { role: "front" } },
    });
    await client.create(Namespace, {
      ...{ apiVersion: "v1", kind: "Namespace" },
      metadata: { name: "shop", labels: { team: "blue" }, annotations: { note: "no label" } },
    });
    await client.create(ServiceAccount, account("shop", "front"));
    await client.create(ServiceAccount, account("shop", "gone"));
    const follow = (views: boolean) => {
      const stop = new AbortController();
      const watched: string[] = [];
      const profiles = new Map<string, unknown>();
      const inSync = Promise.withResolvers<void>();
      const watch = watchInputs({
        client: new Proxy(client, {
          get: (target, name) => {
            if (name === "capabilities") return { ...target.capabilities, views };
            if (name !== "watch") return Reflect.get(target, name, target);
            return (...[kind, options]: Parameters<Client["watch"]>) => {
              watched.push(kind.kind);
              expect(options?.shared, kind.kind).toBe(true);
              return target.watch(kind, options);
            };
          },
        }),
        signal: stop.signal,
        sink: (input) => {
          if (input.kind !== "Profile") return;
          const { metadata, spec } = input.resource ?? {};
          if (input.resource) profiles.set(input.name, { labels: metadata?.labels, spec });
          else profiles.delete(input.name);
        },
        onProblem: (what, problems) => expect(problems, what).toEqual([]),
        onInSync: () => inSync.resolve(),
        onTrouble: () => {},
      });
      const end = (): Promise<void> => {
        stop.abort();
        return watch.done;
      };
      return { watched, profiles, inSync: inSync.promise, end };
    };
    const [stored, viewed] = [follow(false), follow(true)];
    await Promise.all([stored.inSync, viewed.inSync]);
    expect(viewed.watched).toEqual(expect.arrayContaining(["Namespace", "ServiceAccount"]));
    expect(viewed.watched).not.toContain("Profile");
    const names = ["kns.shop", "ksa.shop.front", "ksa.shop.gone", "projectcalico-default-allow"];
    expect([...viewed.profiles.keys()].sort()).toEqual(names);
    expect(viewed.profiles).toEqual(stored.profiles);
    await client.delete(ServiceAccount, { namespace: "shop", name: "gone" });
    const shop = (await client.get(Namespace, { name: "shop" }))!;
    await client.update(Namespace, { ...shop, metadata: { ...shop.metadata, labels: { team: "red" } } });
    const isTold = ({ profiles }: typeof viewed) =>
      !profiles.has("ksa.shop.gone") && JSON.stringify(profiles.get("kns.shop")).includes('"red"');
    for (const deadline = Date.now() + 20_000; !(isTold(stored) && isTold(viewed)) && Date.now() < deadline; )
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(viewed.profiles).toEqual(stored.profiles);
    expect(isTold(viewed)).toBe(true);
    await Promise.all([stored.end(), viewed.end()]);
    await client.close();
  });

  test("a kind that the cluster need not have, and has not, counts as none; one that it must have is waited for", async () => {
    const client = memoryClient();
    const absent = new Set(["ClusterNetworkPolicy", "Tier"]);
    const without: Client = new Proxy(client, {
      get: (target, name) =>
        name !== "watch"
          ? Reflect.get(target, name, target)
          : (...[kind, options]: Parameters<Client["watch"]>) => {
              if (!absent.has(kind.kind)) return target.watch(kind, options);
              throw new DatastoreError("CONFIG", `${kind.plural}: not served`, { kindMissing: true });
            },
    });
    const stop = new AbortController();
    const inSync = Promise.withResolvers<void>();
    const troubles = new Map<string, string | undefined>();
    const settled = Promise.withResolvers<void>();
    const watch = watchInputs({
      client: without,
      signal: stop.signal,
      sink: () => {},
      onProblem: () => {},
      onInSync: () => inSync.resolve(),
      onTrouble: (kind, why) => {
        troubles.set(kind, why);
        if (kind === "WorkloadEndpoint") settled.resolve();
      },
    });
    await settled.promise;
    expect(troubles.get("Tier")).toContain("not served");
    expect(troubles.get("ClusterNetworkPolicy.policy.networking.k8s.io")).toBeUndefined();
    absent.delete("Tier");
    await inSync.promise;
    expect(troubles.get("Tier")).toBeUndefined();
    stop.abort();
    await watch.done;
    await client.close();
  });

  test("a kind that turns out not to be there is in trouble no longer", async () => {
    const client = memoryClient();
    let asked = 0;
    const flaky: Client = new Proxy(client, {
      get: (target, name) =>
        name !== "watch"
          ? Reflect.get(target, name, target)
          : (...[kind, options]: Parameters<Client["watch"]>) => {
              if (kind.kind !== "ClusterNetworkPolicy") return target.watch(kind, options);
              if (asked++ === 0) throw new DatastoreError("UNAVAILABLE", "connection refused");
              throw new DatastoreError("CONFIG", "not served", { kindMissing: true });
            },
    });
    const stop = new AbortController();
    const inSync = Promise.withResolvers<void>();
    const said: (string | undefined)[] = [];
    const watch = watchInputs({
      client: flaky,
      signal: stop.signal,
      sink: () => {},
      onProblem: () => {},
      onInSync: () => inSync.resolve(),
      onTrouble: (kind, why) => {
        if (kind.startsWith("ClusterNetworkPolicy")) said.push(why);
      },
    });
    await inSync.promise;
    expect(said).toEqual(["connection refused", undefined]);
    stop.abort();
    await watch.done;
    await client.close();
  });

  test("a sink that is busy is waited for", async () => {
    const client = memoryClient();
    const stop = new AbortController();
    for (let i = 0; i < 20; i++) {
      await client.create(Namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: `ns-${i}` } });
    }
    const busy = new Map<string, number>();
    const inSync = Promise.withResolvers<void>();
    const watch = watchInputs({
      client,
      signal: stop.signal,
      sink: async (input) => {
        const now = (busy.get(input.kind) ?? 0) + 1;
        expect(now, input.kind).toBe(1);
        busy.set(input.kind, now);
        await new Promise((resolve) => setImmediate(resolve));
        busy.set(input.kind, 0);
      },
      onProblem: () => {},
      onInSync: () => inSync.resolve(),
      onTrouble: () => {},
    });
    await inSync.promise;
    stop.abort();
    await watch.done;
    await client.close();
  });
});
