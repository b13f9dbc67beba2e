/**
 * What the cases expect, against what the oracle (lib/policy-agent/naive) makes of the same resources: without a kernel, an agent or root. The
 * host's cases are left out, because the oracle knows nothing of settings, failsafe ports and translation.
 */
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Resource } from "../../lib/api/meta.ts";
import type { Input } from "../../lib/policy-agent/calc/index.ts";
import { toInput } from "../../lib/policy-agent/intake/index.ts";
import { evaluate, makeState } from "../../lib/policy-agent/naive/index.ts";
import { CASES } from "./cases/index.ts";
import { type Check, cellsOf, describeProbe, NODE, OUTSIDE, PODS } from "./matrix.ts";
import { objects } from "./world.ts";

const addresses = new Map<string, Readonly<Record<4 | 6, string>>>([
  ...PODS.map((pod, index) => [pod, { 4: `10.65.0.${index + 10}`, 6: `fd65::${index + 10}` }] as const),
  [NODE, { 4: "172.31.0.11", 6: "fd31::11" }],
  [OUTSIDE, { 4: "172.31.0.12", 6: "fd31::12" }],
]);

/** As the first write to a datastore makes them. */
const TIERS = [
  { name: "kube-admin", spec: { order: 1000, defaultAction: "Pass" } },
  { name: "default", spec: { order: 1_000_000, defaultAction: "Deny" } },
  { name: "kube-baseline", spec: { order: 10_000_000, defaultAction: "Pass" } },
].map(({ name, spec }) => ({ apiVersion: "projectcalico.org/v3", kind: "Tier", metadata: { name }, spec }) as Resource);

function inputs(resources: readonly string[]): Input[] {
  const standing = (objects() as Resource[]).map((object) => {
    if (object.kind !== "Pod") return object;
    const place = `${object.metadata.namespace}/${object.metadata.name}`;
    const own = addresses.get(place) ?? { 4: "10.65.0.99", 6: "fd65::99" };
    return {
      ...object,
      status: { phase: "Running", podIP: own[4], podIPs: [{ ip: own[4] }, { ip: own[6] }] },
    } as Resource;
  });
  const applied = resources.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Resource));
  return [...TIERS, ...standing, ...applied].flatMap((resource) => {
    const { input, problems } = toInput(resource);
    expect(problems).toEqual([]);
    return input === undefined ? [] : [input];
  });
}

/** Cells for which the oracle says otherwise than the case. */
function disagreements(resources: readonly string[], checks: readonly Check[]): string[] {
  const state = makeState(inputs(resources));
  return cellsOf(checks).flatMap(({ probe, expected, check }) => {
    const { version, from, to, protocol, port, icmp } = probe;
    const { verdict } = evaluate(state, {
      source: addresses.get(from)![version],
      destination: addresses.get(to)![version],
      protocol,
      ...(port === undefined ? {} : { sourcePort: 20_000, destinationPort: port }),
      ...(icmp === undefined ? {} : { icmp }),
    });
    return verdict === expected ? [] : [`${describeProbe(probe, check)}: ${verdict}, should be ${expected}`];
  });
}

for (const [about, cases] of Object.entries(CASES)) {
  if (about === "the host") continue;
  describe(about, () => {
    for (const one of cases) {
      test(one.name, () => {
        expect(disagreements(one.resources, one.checks)).toEqual([]);
        if (one.after) expect(disagreements([...one.resources, ...one.after.resources], one.after.checks)).toEqual([]);
      });
    }
  });
}
