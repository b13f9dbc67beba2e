import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatCidr } from "../../ip/index.ts";
import { findKind, KINDS, kindNames, parseResource } from "../registry.ts";
import { describeProblem } from "../schema.ts";
import { parseAddress, parseNetwork } from "./checks.ts";
import { KUBERNETES_KINDS } from "./index.ts";
import { type Json, objectOf, RIGHT, WRONG, WRONG_SECRETS } from "./testing.ts";

const parse = (...what: Parameters<typeof objectOf>) => parseResource(objectOf(...what));

const problemsOf = (...what: Parameters<typeof parse>): string[] => parse(...what).problems.map(describeProblem);

describe("what a real cluster holds is taken", () => {
  test.each(RIGHT)("%s", (_, kind, rest) => {
    expect(problemsOf(kind, rest)).toEqual([]);
  });

  test("a service of two families, which not every server has", () => {
    const families = { ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" };
    const addresses = { clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00::1"] };
    expect(problemsOf("Service", { spec: { ports: [{ port: 80 }], ...families, ...addresses } })).toEqual([]);
  });

  test("metadata too, with what only Kubernetes writes left out or kept", () => {
    const { resource, problems } = parse(
      "Secret",
      { data: {} },
      {
        managedFields: [{ manager: "x" }],
        selfLink: "/x",
        creationTimestamp: null,
        finalizers: ["a/b"],
        future: { a: 1 },
      },
    );
    expect(problems).toEqual([]);
    expect(resource!.metadata).toEqual({ name: "x", finalizers: ["a/b"], future: { a: 1 } });
  });
});

describe("what the API server would refuse is refused with path and remedy", () => {
  test.each(WRONG)("%s: %s", (_, kind, rest, expected) => {
    expect(problemsOf(kind, rest)).toEqual(expected);
  });

  test("and a namespace where there is none, which the API server would overlook", () => {
    expect(problemsOf("Namespace", {}, { namespace: "x" })).toEqual([
      'metadata.namespace: "x": must be absent; objects of the kind Namespace are in no namespace',
    ]);
  });

  test("an unknown version, naming those there are", () => {
    const of = (apiVersion: string, kind: string) =>
      parseResource({ apiVersion, kind, metadata: { name: "x" } }).problems.map(describeProblem)[0];
    expect(of("extensions/v1beta1", "NetworkPolicy")).toBe(
      'apiVersion: "extensions/v1beta1": must be projectcalico.org/v3 or networking.k8s.io/v1',
    );
    expect(of("discovery.k8s.io/v1beta1", "EndpointSlice")).toBe(
      'apiVersion: "discovery.k8s.io/v1beta1": must be discovery.k8s.io/v1',
    );
  });
});

describe("secrets", () => {
  test.each(WRONG_SECRETS)("with %s wrong are named without their values", (_, rest, expected) => {
    expect(problemsOf("Secret", rest)).toEqual(expected);
  });

  test("may be at most a megabyte", () => {
    const value = Buffer.alloc(1024 * 1024 + 3).toString("base64");
    expect(problemsOf("Secret", { data: { a: value } })).toEqual([
      "data: must be at most 1048576 bytes together, not 1048579",
    ]);
    expect(problemsOf("Secret", { data: { a: Buffer.alloc(1024 * 1024).toString("base64") } })).toEqual([]);
  });

  test("become what their texts say, whatever the texts", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[-._a-zA-Z0-9]{1,20}$/), fc.string({ unit: "binary" })),
        (texts) => {
          const { resource } = parse("Secret", { stringData: texts });
          const { data = {}, stringData } = resource as unknown as {
            data?: Record<string, string>;
            stringData?: unknown;
          };
          expect(stringData).toBeUndefined();
          expect(Object.keys(data).sort()).toEqual(Object.keys(texts).sort());
          for (const key of Object.keys(texts)) {
            expect(Buffer.from(data[key]!, "base64")).toEqual(Buffer.from(texts[key]!));
          }
        },
      ),
    );
  });

  test("that are immutable, and their types, stay", () => {
    const kind = findKind("secret")!;
    const of = (rest: Json) => parse("Secret", rest).resource!;
    const before = of({ immutable: true, data: { a: "YQ==" } });
    const problems = (rest: Json) => kind.checkUpdate!(of(rest), before).map(describeProblem);
    expect(problems({ immutable: true, data: { a: "YQ==" } })).toEqual([]);
    const message = "cannot change in an immutable secret; delete it and make it anew";
    expect(problems({ immutable: true, data: { a: "Yg==" } })).toEqual([`data: ${message}`]);
    expect(problems({ data: { a: "YQ==" } })).toEqual([`immutable: ${message}`]);
    expect(problems({ type: "x/y", immutable: true, data: { a: "YQ==" } })).toEqual([
      'type: "x/y": cannot change from Opaque; delete the secret and make it anew',
    ]);
  });
});

test("a namespace has the label of its name, whatever the file says", () => {
  const { resource } = parse("Namespace", {}, { labels: { a: "b", "kubernetes.io/metadata.name": "wrong" } });
  expect(resource!.metadata.labels).toEqual({ a: "b", "kubernetes.io/metadata.name": "x" });
});

test("addresses are read as Kubernetes reads them", () => {
  expect(parseAddress("010.0.00.1")).toEqual(parseAddress("10.0.0.1"));
  expect(parseAddress("10.0.0.256")).toBeUndefined();
  const text = (cidr: string) => {
    const found = parseNetwork(cidr);
    return found && formatCidr(found);
  };
  expect(text("010.001.0.9/08")).toBe("10.0.0.0/8");
  expect(text("::ffff:10.1.0.0/112")).toBe("10.1.0.0/16");
  expect(text("fd00::1/64")).toBe("fd00::/64");
  for (const wrong of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "/8", "fd00::/129", "::ffff:10.0.0.0/129", "a/8", ""]) {
    expect(text(wrong), wrong).toBeUndefined();
  }
});

describe("names on the command line", () => {
  test("are one kind's each", () => {
    const all = [...KINDS, ...KUBERNETES_KINDS].flatMap(kindNames);
    expect(all.filter((name, i) => all.indexOf(name) !== i)).toEqual([]);
  });

  test.each([
    ["networkpolicy", "projectcalico.org/v3"],
    ["networkpolicies.networking.k8s.io", "networking.k8s.io/v1"],
    ["k8snetworkpolicy", "networking.k8s.io/v1"],
    ["KNP", "networking.k8s.io/v1"],
    ["cnp", "policy.networking.k8s.io/v1alpha2"],
    ["endpointslices.discovery.k8s.io", "discovery.k8s.io/v1"],
    ["svc", "v1"],
    ["ns", "v1"],
  ])("%s", (name, apiVersion) => {
    expect(findKind(name)!.apiVersion).toBe(apiVersion);
  });
});

test("whatever is given is read or refused, and a completed object is complete", () => {
  const kinds = KUBERNETES_KINDS.map(({ apiVersion, kind }) => ({ apiVersion, kind }));
  const fields = [
    "spec",
    "data",
    "stringData",
    "type",
    "endpoints",
    "ports",
    "addressType",
    "secrets",
    "ingress",
    "containers",
  ];
  const field = fc.constantFrom(...fields);
  const leaf = fc.oneof(fc.constantFrom("TCP", "IPv4", "a", "YQ==", 80, true, null), fc.string({ maxLength: 5 }));
  const inner = fc.oneof(leaf, fc.array(leaf, { maxLength: 2 }), fc.dictionary(field, leaf, { maxKeys: 3 }));
  const value = fc.oneof(leaf, fc.array(inner, { maxLength: 2 }), fc.dictionary(field, inner, { maxKeys: 3 }));
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.dictionary(field, value, { maxKeys: 4 }), inner, (kind, rest, labels) => {
      const { resource, problems } = parseResource({ ...rest, ...kind, metadata: { name: "x", labels } });
      if (problems.length > 0) return;
      const again = parseResource(resource);
      expect(again.problems).toEqual([]);
      expect(again.resource).toEqual(resource);
    }),
    { numRuns: 500 },
  );
});
