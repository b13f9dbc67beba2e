import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ObjectMeta } from "../../api/meta.ts";
import type { KubernetesObject } from "../../kubernetes/index.ts";
import { chooseGroup } from "./group.ts";
import { fromV1Metadata, toV1Metadata } from "./metadata.ts";

const V3 = "5e8b1c2a-0f3d-4a6b-9c7d-112233445566";
/** The bits of each byte reversed, but of the two that hold version and variant. */
const V1 = "7ad13854-f0bc-4ad6-9cbe-8844cc22aa66";

const fail = (field: string, _value: unknown, must: string): never => {
  throw new Error(`${field}: must be ${must}`);
};
const stored = (metadata: object, spec?: object): KubernetesObject =>
  ({ metadata, ...(spec ? { spec } : {}) }) as KubernetesObject;
const annotation = (metadata: KubernetesObject["metadata"]): string =>
  metadata!.annotations!["projectcalico.org/metadata"]!;

describe("metadata in crd.projectcalico.org/v1", () => {
  test("is in an annotation, as Go prints it; Calico's own labels and annotations are beside it", () => {
    const metadata = toV1Metadata("IPPool", {
      name: "main",
      uid: V3,
      resourceVersion: "7",
      creationTimestamp: "2026-01-02T03:04:05Z",
      labels: { zone: "b", "projectcalico.org/x": "1", app: "a" },
      annotations: { note: "n", "operator.tigera.io/y": "2" },
      ownerReferences: [
        { apiVersion: "projectcalico.org/v3", kind: "Tier", name: "t", uid: V3 },
        { apiVersion: "v1", kind: "Node", name: "n", uid: V3, controller: true },
      ],
      finalizers: ["f"],
    });
    expect(metadata).toEqual({
      name: "main",
      uid: V1,
      resourceVersion: "7",
      labels: { "projectcalico.org/x": "1" },
      annotations: {
        "operator.tigera.io/y": "2",
        "projectcalico.org/metadata":
          '{"creationTimestamp":"2026-01-02T03:04:05Z",' +
          '"labels":{"app":"a","projectcalico.org/x":"1","zone":"b"},' +
          '"annotations":{"note":"n","operator.tigera.io/y":"2"},"ownerReferences":[' +
          `{"apiVersion":"crd.projectcalico.org/v1","kind":"Tier","name":"t","uid":"${V1}"},` +
          `{"apiVersion":"v1","kind":"Node","name":"n","uid":"${V3}","controller":true}],"finalizers":["f"]}`,
      },
    });
    expect(toV1Metadata("IPAMBlock", { name: "b" })).toEqual({
      name: "b",
      annotations: { "projectcalico.org/metadata": "{}" },
    });
  });

  test("is read as Go reads it, whatever the annotation holds, or reported", () => {
    const read = (text: string) =>
      fromV1Metadata(
        "IPPool",
        stored({ name: "n", uid: V1, annotations: { "projectcalico.org/metadata": text } }),
        fail,
      );
    expect(read('{"creationTimestamp":null,"labels":null,"ownerReferences":null,"finalizers":null}')).toEqual({
      name: "n",
      uid: V3,
    });
    expect(read('{"managedFields":[{}],"selfLink":"/x","generation":3}')).toEqual({
      name: "n",
      uid: V3,
      generation: 3,
    });
    expect(() => read('{"ownerReferences":[{"kind":"Tier"}]}')).toThrow(
      'metadata.annotations["projectcalico.org/metadata"]: must be JSON in which ownerReferences is a list of objects',
    );
    const names = ["name", "generation", "labels", "annotations", "ownerReferences", "finalizers", "__proto__", "x"];
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant([{ apiVersion: "v1" }]));
    const text = fc.oneof(
      fc.string(),
      fc.json({ maxDepth: 3 }),
      fc
        .uniqueArray(fc.tuple(fc.constantFrom(...names), value), { selector: ([name]) => name })
        .map((fields) => `{${fields.map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one)}`).join()}}`),
    );
    fc.assert(
      fc.property(text, (annotated) => {
        let metadata: ObjectMeta;
        try {
          metadata = read(annotated);
        } catch (error) {
          expect((error as Error).message).toMatch(
            /^metadata\.annotations\["projectcalico\.org\/metadata"\]: must be /,
          );
          return;
        }
        expect(metadata.uid).toBe(V3);
        expect(fromV1Metadata("IPPool", stored(toV1Metadata("IPPool", metadata)), fail).labels).toEqual(
          metadata.labels,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("with a uid that is none of ours goes to the API server as it is, which refuses it", () => {
    expect(toV1Metadata("IPPool", { name: "n", uid: "another" }).uid).toBe("another");
  });

  test("of a policy holds its name", () => {
    const metadata = toV1Metadata("NetworkPolicy", { name: "web", namespace: "prod" });
    expect(annotation(metadata)).toBe('{"name":"web"}');
    expect(metadata.namespace).toBe("prod");
  });

  test("comes back as it was", () => {
    const words = fc.stringMatching(/^[a-z]{1,8}$/);
    const texts = fc.dictionary(fc.oneof(words, fc.constant("projectcalico.org/x")), words);
    const meta = fc.record(
      { name: words, uid: fc.uuid(), labels: texts, annotations: texts, finalizers: fc.array(words, { minLength: 1 }) },
      { requiredKeys: ["name", "uid"] },
    );
    fc.assert(
      fc.property(meta, fc.constantFrom("IPPool", "GlobalNetworkPolicy"), (given, kind) => {
        const clean: ObjectMeta = { ...given };
        for (const key of ["labels", "annotations"] as const)
          if (Object.keys(clean[key] ?? {}).length === 0) delete clean[key];
        expect(fromV1Metadata(kind, stored(toV1Metadata(kind, clean)), fail)).toEqual(clean);
      }),
    );
  });

  test("that is not in an annotation is the object's own, but for its uid", () => {
    const own = { name: "default.web", labels: { a: "b" }, creationTimestamp: "2026-01-02T03:04:05Z", generation: 3 };
    expect(fromV1Metadata("IPPool", stored({ ...own, uid: V1, managedFields: [{}] }), fail)).toEqual({
      ...own,
      uid: V3,
    });
    expect(() => fromV1Metadata("IPPool", stored({ ...own, uid: "7" }), fail)).toThrow("metadata.uid");
  });

  test("of two versions is merged, and the annotation's wins", () => {
    const kept = { labels: { a: "new" }, annotations: { note: "new" }, creationTimestamp: null };
    expect(
      fromV1Metadata(
        "IPPool",
        stored({
          name: "main",
          creationTimestamp: "2026-01-02T03:04:05Z",
          labels: { a: "old", b: "old" },
          annotations: { other: "old", "projectcalico.org/metadata": JSON.stringify(kept) },
        }),
        fail,
      ),
    ).toEqual({
      name: "main",
      creationTimestamp: "2026-01-02T03:04:05Z",
      labels: { a: "new", b: "old" },
      annotations: { note: "new", other: "old" },
    });
    const broken = stored({ name: "main", annotations: { "projectcalico.org/metadata": "{" } });
    expect(() => fromV1Metadata("IPPool", broken, fail)).toThrow("JSON object");
  });

  test("of a policy that an older Calico stored loses the tier before its name", () => {
    const name = (kind: string, tier: string | undefined, text = "{}") =>
      fromV1Metadata(
        kind,
        stored({ name: "default.web", annotations: { "projectcalico.org/metadata": text } }, tier ? { tier } : {}),
        fail,
      ).name;
    expect(name("NetworkPolicy", undefined)).toBe("web");
    expect(name("StagedGlobalNetworkPolicy", "default")).toBe("web");
    expect(name("NetworkPolicy", "mine")).toBe("default.web");
    expect(name("NetworkPolicy", "default", '{"name":"default.web"}')).toBe("default.web");
    expect(name("IPPool", undefined)).toBe("default.web");
  });

  test("names owners as the other group has them, also those from before uids were converted", () => {
    for (const apiVersion of ["crd.projectcalico.org/v1", "projectcalico.org/v3"]) {
      const ownerReferences = [{ apiVersion, kind: "Tier", name: "t", uid: V1 }];
      const text = JSON.stringify({ ownerReferences });
      const found = fromV1Metadata(
        "IPPool",
        stored({ name: "a", annotations: { "projectcalico.org/metadata": text } }),
        fail,
      );
      expect(found.ownerReferences).toEqual([{ apiVersion: "projectcalico.org/v3", kind: "Tier", name: "t", uid: V3 }]);
    }
  });
});

test("the group is v3 only where there is no v1", () => {
  expect(chooseGroup(["apps", "projectcalico.org"])).toBe("v3");
  expect(chooseGroup(["projectcalico.org", "crd.projectcalico.org"])).toBe("v1");
  expect(chooseGroup(["crd.projectcalico.org"])).toBe("v1");
  expect(chooseGroup([])).toBe("v1");
});
