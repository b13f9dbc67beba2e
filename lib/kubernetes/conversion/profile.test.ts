import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Profile } from "../../api/profile.ts";
import { checkResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import {
  joinProfileRevisions,
  namespaceProfileName,
  namespaceToProfile,
  profileSource,
  serviceAccountProfileName,
  serviceAccountToProfile,
  splitProfileRevision,
} from "./profile.ts";

const uid = "30316465-6365-4463-ad63-3564622d3638";
const converted = "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c";

test("a Namespace becomes a profile that allows everything and hands its labels on", () => {
  const { value, problems } = namespaceToProfile({
    metadata: {
      name: "shop",
      uid,
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
      labels: { foo: "bar", "kubernetes.io/metadata.name": "shop" },
      annotations: { "net.beta.kubernetes.io/network-policy": '{"ingress": {"isolation": "DefaultDeny"}}' },
    },
  });
  expect(problems).toEqual([]);
  expect(value).toEqual({
    apiVersion: "projectcalico.org/v3",
    kind: "Profile",
    metadata: { name: "kns.shop", uid: converted, resourceVersion: "1234/", creationTimestamp: "2026-01-31T12:00:00Z" },
    spec: {
      ingress: [{ action: "Allow", source: {}, destination: {} }],
      egress: [{ action: "Allow", source: {}, destination: {} }],
      labelsToApply: {
        "pcns.foo": "bar",
        "pcns.kubernetes.io/metadata.name": "shop",
        "pcns.projectcalico.org/name": "shop",
      },
    },
  });
  expect(checkResource(Profile, value!)).toEqual([]);
});

test("a ServiceAccount becomes a profile without rules", () => {
  const { value, problems } = serviceAccountToProfile({
    metadata: { name: "till", namespace: "shop", uid, resourceVersion: "1234", labels: { foo: "bar" } },
  });
  expect(problems).toEqual([]);
  expect(value).toEqual({
    apiVersion: "projectcalico.org/v3",
    kind: "Profile",
    metadata: { name: "ksa.shop.till", uid: converted, resourceVersion: "/1234" },
    spec: { labelsToApply: { "pcsa.foo": "bar", "pcsa.projectcalico.org/name": "till" } },
  });
});

test("a service account without a namespace is default's", () => {
  expect(serviceAccountToProfile({ metadata: { name: "a" } }).value?.metadata).toEqual({ name: "ksa.default.a" });
});

test("what is wrong is said; an odd uid or label costs no more than itself", () => {
  const { value, problems } = namespaceToProfile({
    metadata: { name: "shop", uid: "1", labels: { good: "x", odd: 5 as unknown as string } },
  });
  expect(value?.metadata).toEqual({ name: "kns.shop" });
  expect(value?.spec.labelsToApply).toEqual({ "pcns.good": "x", "pcns.projectcalico.org/name": "shop" });
  expect(problems.map(describeProblem)).toEqual([
    "metadata.labels.odd: 5: must be text",
    'metadata.uid: "1": must be a UUID; the object made of this one has no uid',
  ]);
  expect(namespaceToProfile({})).toEqual({ problems: [{ path: "metadata.name", message: "is missing" }] });
});

describe("names of profiles", () => {
  test("lead back to what they are made of", () => {
    expect(profileSource("kns.default")).toEqual({ kind: "Namespace", name: "default" });
    expect(profileSource("ksa.default.test")).toEqual({ kind: "ServiceAccount", namespace: "default", name: "test" });
    expect(profileSource("ksa.default.a.b.c")).toEqual({
      kind: "ServiceAccount",
      namespace: "default",
      name: "a.b.c",
    });
    const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?$/);
    fc.assert(
      fc.property(label, fc.array(label, { minLength: 1, maxLength: 3 }), (namespace, parts) => {
        const name = parts.join(".");
        expect(profileSource(namespaceProfileName(namespace))).toEqual({ kind: "Namespace", name: namespace });
        expect(profileSource(serviceAccountProfileName(namespace, name))).toEqual({
          kind: "ServiceAccount",
          namespace,
          name,
        });
      }),
    );
  });

  test.each([
    "",
    "default",
    "projectcalico-default-allow",
    "kns",
    "kns.",
    "ksa",
    "ksa.",
    "ksa.default",
    "ksa.default.",
    "ksa..x",
  ])("%j is no such name", (name) => expect(profileSource(name)).toBeUndefined());
});

test("revisions of both kinds are kept together", () => {
  expect(splitProfileRevision(joinProfileRevisions("12", "34"))).toEqual({ namespaces: "12", serviceAccounts: "34" });
  expect(splitProfileRevision("/34")).toEqual({ namespaces: "", serviceAccounts: "34" });
  expect(splitProfileRevision("")).toEqual({ namespaces: "", serviceAccounts: "" });
  expect(splitProfileRevision("0")).toEqual({ namespaces: "", serviceAccounts: "" });
  for (const odd of ["12", "1/2/3"]) expect(splitProfileRevision(odd)).toBeUndefined();
});
