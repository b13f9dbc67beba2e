import type { V1Namespace, V1NetworkPolicy, V1Pod, V1ServiceAccount } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import type { Wire } from "../wire.ts";
import { namespaceToProfile, networkPolicyToPolicy, podToEndpoint, serviceAccountToProfile } from "./index.ts";

// That it compiles is half of the test.
test("objects typed as @kubernetes/client-node types them are taken as they are", () => {
  const pod: Wire<V1Pod> = {
    metadata: { name: "p", namespace: "n", creationTimestamp: "2026-01-31T12:00:00Z" },
    spec: { nodeName: "node", containers: [{ name: "c" }] },
    status: { podIP: "10.0.0.1" },
  };
  const namespace: Wire<V1Namespace> = { metadata: { name: "n" } };
  const account: Wire<V1ServiceAccount> = { metadata: { name: "s", namespace: "n" } };
  const policy: Wire<V1NetworkPolicy> = {
    metadata: { name: "p", namespace: "n" },
    spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
  };
  expect([
    podToEndpoint(pod).value?.metadata.name,
    namespaceToProfile(namespace).value?.metadata.name,
    serviceAccountToProfile(account).value?.metadata.name,
    networkPolicyToPolicy(policy).value?.spec.ingress?.length,
  ]).toEqual(["node-k8s-p-eth0", "kns.n", "ksa.n.s", 1]);
});
