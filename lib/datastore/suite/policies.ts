import { describe, expect, test } from "vitest";
import { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { FelixConfiguration } from "../../api/felixconfiguration.ts";
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { HostEndpoint } from "../../api/hostendpoint.ts";
import type { Kind } from "../../api/kind.ts";
import { API_VERSION } from "../../api/meta.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { StagedGlobalNetworkPolicy } from "../../api/stagedglobalnetworkpolicy.ts";
import { StagedKubernetesNetworkPolicy } from "../../api/stagedkubernetesnetworkpolicy.ts";
import { StagedNetworkPolicy } from "../../api/stagednetworkpolicy.ts";
import { builtInTiers, Tier } from "../../api/tier.ts";
import { ensureInitialized } from "../initialise.ts";
import { type Context, codeOf } from "./support.ts";

/** What an API server's admission does for policies and tiers, every datastore does. */
export function policyTests(on: Context): void {
  describe("policies and tiers", () => {
    const policy = (spec: Partial<NetworkPolicy["spec"]>): NetworkPolicy => ({
      apiVersion: API_VERSION,
      kind: "NetworkPolicy",
      metadata: { name: "web", namespace: "prod" },
      spec: spec as NetworkPolicy["spec"],
    });

    test("a policy is stored with its tier, its label and its types", async () => {
      await on.clear();
      const created = await on.client.create(NetworkPolicy, policy({ egress: [{ action: "Allow" }] }));
      expect(created).toMatchObject({
        metadata: { labels: { "projectcalico.org/tier": "default" } },
        spec: { tier: "default", types: ["Egress"] },
      });
      expect(await on.client.get(NetworkPolicy, { name: "web", namespace: "prod" })).toEqual(created);
      const { types: _, ...spec } = created.spec;
      const updated = await on.client.update(NetworkPolicy, {
        ...created,
        spec: { ...spec, tier: "kube-admin", ingress: [{ action: "Deny" }] } as NetworkPolicy["spec"],
      });
      expect(updated).toMatchObject({
        metadata: { labels: { "projectcalico.org/tier": "kube-admin" } },
        spec: { tier: "kube-admin", types: ["Ingress", "Egress"] },
      });
      expect((await on.client.list(NetworkPolicy)).items).toEqual([updated]);
    });

    test("a policy whose fields do not go together is refused", async () => {
      await on.clear();
      const wrong = {
        apiVersion: API_VERSION,
        kind: "GlobalNetworkPolicy" as const,
        metadata: { name: "web" },
        spec: { preDNAT: true } as GlobalNetworkPolicy["spec"],
      };
      await expect(on.client.create(GlobalNetworkPolicy, wrong)).rejects.toMatchObject({
        code: "INVALID",
        message: "GlobalNetworkPolicy web: spec.applyOnForward: must be true in a policy with preDNAT",
      });
    });

    /** What a kind is given, and what it has when it was stored. */
    const others: readonly (readonly [Kind, object, object])[] = [
      [
        StagedNetworkPolicy as never,
        { ingress: [{ action: "Deny" }] },
        { stagedAction: "Set", tier: "default", types: ["Ingress"] },
      ],
      [
        StagedGlobalNetworkPolicy as never,
        { stagedAction: "Learn", egress: [{ action: "Allow" }] },
        { stagedAction: "Learn", types: ["Egress"] },
      ],
      [
        StagedKubernetesNetworkPolicy as never,
        { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ podSelector: {} }] }] },
        { stagedAction: "Set", ingress: [{ from: [{ podSelector: {} }] }] },
      ],
      [
        HostEndpoint as never,
        { node: "n1", interfaceName: "*", ports: [{ name: "web", protocol: "TCP", port: 80 }] },
        { node: "n1", ports: [{ name: "web", protocol: "TCP", port: 80 }] },
      ],
      [
        BGPConfiguration as never,
        { bindMode: "NodeIP", prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["65000:1"] }] },
        {
          bindMode: "NodeIP",
          prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["65000:1"] }],
          serviceLoadBalancerAggregation: "Enabled",
        },
      ],
      [
        FelixConfiguration as never,
        {
          chainInsertMode: "append",
          failsafeInboundHostPorts: [],
          natPortRange: "1:5",
          ipipMTU: 0,
          healthEnabled: false,
        },
        {
          chainInsertMode: "append",
          failsafeInboundHostPorts: [],
          natPortRange: "1:5",
          ipipMTU: 0,
          healthEnabled: false,
        },
      ],
    ];

    test.each(others.map(([kind, spec, stored]) => ({ kind, name: kind.kind, spec, stored })))(
      "a $name is written, read, changed and deleted",
      async ({ kind, spec, stored }) => {
        await on.clear();
        const ref = { name: "web", ...(kind.namespaced ? { namespace: "prod" } : {}) };
        const created = await on.client.create(kind, {
          apiVersion: API_VERSION,
          kind: kind.kind,
          metadata: { ...ref },
          spec: structuredClone(spec),
        });
        expect(created.spec).toMatchObject(stored);
        expect(await on.client.get(kind, ref)).toEqual(created);
        expect((await on.client.list(kind)).items).toEqual([created]);
        const updated = await on.client.update(kind, {
          ...created,
          metadata: { ...created.metadata, annotations: { a: "b" } },
        });
        expect(updated).toMatchObject({ metadata: { annotations: { a: "b" } }, spec: created.spec as object });
        expect(await on.client.delete(kind, ref)).toEqual(updated);
        expect(await on.client.get(kind, ref)).toBeUndefined();
      },
    );

    test("the built-in tiers can be neither changed nor deleted", async () => {
      await on.clear();
      await ensureInitialized(on.client, {});
      for (const { metadata } of builtInTiers()) {
        const tier = (await on.client.get(Tier, { name: metadata.name }))!;
        const changed = { ...tier, spec: { ...tier.spec, order: 5 } };
        expect(await codeOf(on.client.update(Tier, changed))).toBe("INVALID");
        expect(await codeOf(on.client.create(Tier, { ...changed, metadata }))).toBe("INVALID");
        await expect(on.client.delete(Tier, { name: metadata.name })).rejects.toMatchObject({
          code: "INVALID",
          message: `the tier ${metadata.name} is built in and cannot be deleted`,
        });
        expect(await codeOf(on.client.batch([{ op: "delete", kind: Tier as never, ref: metadata }]))).toBe("INVALID");
        expect(await on.client.get(Tier, { name: metadata.name })).toEqual(tier);
      }
    });

    test("another tier can", async () => {
      await on.clear();
      const created = await on.client.create(Tier, {
        apiVersion: API_VERSION,
        kind: "Tier",
        metadata: { name: "mine" },
        spec: { order: 5 } as Tier["spec"],
      });
      const updated = await on.client.update(Tier, { ...created, spec: { ...created.spec, order: 6 } });
      expect(updated.spec).toEqual({ order: 6, defaultAction: "Deny" });
      expect(await on.client.delete(Tier, { name: "mine" })).toEqual(updated);
    });
  });
}
