import { expect, test } from "vitest";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { podToEndpoint } from "./pod.ts";
import { deletedEndpointToPodPatch, endpointToPodPatch } from "./podpatch.ts";

const uid = "30316465-6365-4463-ad63-3564622d3638";
const endpoint = (ipNetworks: string[], containerID?: string): WorkloadEndpoint => ({
  apiVersion: "projectcalico.org/v3",
  kind: "WorkloadEndpoint",
  metadata: { name: "n-k8s-p-eth0", namespace: "default" },
  spec: { ipNetworks, ...(containerID === undefined ? {} : { containerID }) },
});

// Go prints the keys of maps in their order; so must these.
test("ADD writes upstream's bytes", () => {
  expect(JSON.stringify(endpointToPodPatch(endpoint(["10.0.0.1/32", "fd00::1/128"], "c0ffee"), { uid }))).toBe(
    `{"metadata":{"annotations":{"cni.projectcalico.org/containerID":"c0ffee","cni.projectcalico.org/podIP":"10.0.0.1/32","cni.projectcalico.org/podIPs":"10.0.0.1/32,fd00::1/128"},"uid":"${uid}"}}`,
  );
  expect(JSON.stringify(endpointToPodPatch(endpoint(["10.0.0.1/32"])))).toBe(
    '{"metadata":{"annotations":{"cni.projectcalico.org/podIP":"10.0.0.1/32","cni.projectcalico.org/podIPs":"10.0.0.1/32"}}}',
  );
});

test("an endpoint without addresses writes nothing", () => {
  expect(JSON.stringify(endpointToPodPatch(endpoint([], "c0ffee"), { uid }))).toBe(`{"metadata":{"uid":"${uid}"}}`);
  expect(JSON.stringify(endpointToPodPatch(endpoint([])))).toBe('{"metadata":{}}');
});

test("DEL empties the addresses and leaves the container", () => {
  expect(JSON.stringify(deletedEndpointToPodPatch({ uid, resourceVersion: "12" }))).toBe(
    `{"metadata":{"annotations":{"cni.projectcalico.org/podIP":"","cni.projectcalico.org/podIPs":""},"resourceVersion":"12","uid":"${uid}"}}`,
  );
});

test("what ADD writes is what is read, until DEL", () => {
  const written = endpointToPodPatch(endpoint(["10.0.0.1/32", "fd00::1/128"], "c0ffee"));
  const podWith = (annotations: Record<string, string>, metadata = {}) =>
    podToEndpoint({
      metadata: { name: "p", namespace: "default", annotations, ...metadata },
      spec: { nodeName: "n" },
    }).value!;
  const annotations = { ...written.metadata.annotations };
  const added = podWith(annotations);
  expect(added.spec).toMatchObject({ ipNetworks: ["10.0.0.1/32", "fd00::1/128"], containerID: "c0ffee" });
  expect(endpointToPodPatch(added)).toEqual(written);
  Object.assign(annotations, deletedEndpointToPodPatch().metadata.annotations);
  expect(podWith(annotations, { deletionTimestamp: "2026-01-31T12:00:00Z" }).spec).toMatchObject({
    ipNetworks: [],
    containerID: "c0ffee",
  });
});
