import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClusterInformation } from "./clusterinformation.ts";
import { IPPool } from "./ippool.ts";
import type { Kind } from "./kind.ts";
import { Profile } from "./profile.ts";
import { applyDefaults, validate } from "./schema.ts";
import { WorkloadEndpoint } from "./workloadendpoint.ts";

/** What the plugin reads at each ADD and DEL, as it is stored. */
const EXAMPLES: readonly (readonly [kind: unknown, spec: object])[] = [
  [ClusterInformation, { clusterGUID: "ae15", clusterType: "", calicoVersion: "v1", datastoreReady: true }],
  [
    IPPool,
    {
      cidr: "10.65.0.0/16",
      vxlanMode: "Never",
      ipipMode: "Always",
      natOutgoing: true,
      nodeSelector: "all()",
      allowedUses: ["Workload", "Tunnel"],
      assignmentMode: "Automatic",
      blockSize: 26,
    },
  ],
  [
    Profile,
    {
      ingress: [{ action: "Allow", source: { selector: "has(net)" }, destination: {} }],
      egress: [{ action: "Allow", source: {}, destination: {} }],
      labelsToApply: { net: "" },
    },
  ],
  [
    WorkloadEndpoint,
    {
      orchestrator: "k8s",
      node: "n1",
      containerID: "c0",
      pod: "web",
      endpoint: "eth0",
      ipNetworks: ["10.65.0.1/32", "fd00::1/128"],
      profiles: ["kns.default"],
      interfaceName: "cali0123456789a",
      mac: "ee:ee:ee:ee:ee:ee",
    },
  ],
];

describe("a first look", () => {
  test.each(EXAMPLES.map(([kind, spec]) => ({ kind: kind as Kind, spec })))(
    "is enough for the $kind.kind that the plugin reads",
    ({ kind, spec }) => {
      expect(kind.isPlain!(spec, true)).toBe(true);
    },
  );

  test("is enough for the endpoint that the plugin writes", () => {
    expect(WorkloadEndpoint.isPlain!(EXAMPLES[3]![1], false)).toBe(true);
  });

  test("never passes what the schema would complete or object to", () => {
    const junk = fc.oneof(
      fc.constantFrom<unknown>(null, undefined, true, 0, 26, -1, 1.5, 2n ** 63n, "", "x", "Never", "all()", "UPPER_"),
      fc.constantFrom<unknown>("10.0.0.1/16", "10.0.0.0/33", "ee:ee", "a/b", "x".repeat(300), "-", "*", "has("),
      fc.constantFrom<unknown>([], [null], [[]], ["Tunnel", "x"], [7], {}, { a: 1 }, { selector: 1 }, [{}], ["::/64"]),
    );
    const field = fc.constantFrom(
      "constructor",
      "map",
      "__proto__",
      "other",
      "blockSize",
      "action",
      "selector",
      "length",
    );
    const edits = fc.array(fc.tuple(fc.nat(), junk, fc.option(field)), { minLength: 0, maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...EXAMPLES), edits, fc.boolean(), ([any, example], changes, stored) => {
        const kind = any as Kind;
        const spec = structuredClone(example);
        for (const [where, what, added] of changes) edit(spec, where, structuredClone(what), added);
        if (!kind.isPlain!(spec, stored)) return;
        expect(validate(kind.spec, spec, "spec", { stored })).toEqual([]);
        expect(applyDefaults(kind.spec, structuredClone(spec))).toEqual(spec);
      }),
      { numRuns: 5000 },
    );
  });
});

/** Replaces the `where`-th field of a value, counted through all of it, or adds a field beside it. */
function edit(value: object, where: number, what: unknown, added: string | null): void {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    for (const field of Object.keys(node)) {
      places.push([node as Record<string, unknown>, field]);
      walk((node as Record<string, unknown>)[field]);
    }
  };
  walk(value);
  const [parent, field] = places[where % places.length] ?? [value as Record<string, unknown>, "x"];
  const name = added === null || Array.isArray(parent) ? field : added;
  Object.defineProperty(parent, name, { value: what, enumerable: true, configurable: true, writable: true });
}
