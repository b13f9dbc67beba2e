import { describe, expect, test } from "vitest";
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { API_VERSION } from "../../api/meta.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
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
