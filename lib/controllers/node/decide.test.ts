import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newIPAMBlock } from "../../api/ipamblock.ts";
import { planNode } from "./collector.ts";
import { judgePod, Observations, superfluousBlocks, wholeHandles } from "./decide.ts";
import { type Allocation, blockFacts, type Pod, podFacts } from "./facts.ts";
import { Ledger } from "./ledger.ts";

const allocation = (fields: Partial<Allocation>): Allocation => ({
  ...{ id: "10.0.0.1#1#h", address: "10.0.0.1", block: "10.0.0.0/26", sequenceNumber: 1n, handle: "h" },
  ...{ node: "n1", pod: "d/a", use: "pod" },
  ...fields,
});
const pod = (fields: Partial<Pod>): Pod => ({
  ...{ key: "d/a", uid: "u", node: "n1", addresses: ["10.0.0.1"], reported: true, finished: false, unclear: false },
  ...fields,
});

describe("an address of a pod", () => {
  test.each<[string, Pod | undefined, "used" | "unused"]>([
    ["the pod has it", pod({}), "used"],
    ["the pod is gone", undefined, "unused"],
    ["the pod has another", pod({ addresses: ["10.0.0.2"] }), "unused"],
    ["its node has not told yet", pod({ addresses: [], reported: false }), "used"],
    ["the pod of that name waits for a node", pod({ node: "", addresses: [], reported: false }), "used"],
    ["the pod of that name is on another node", pod({ node: "n2", addresses: [], reported: false }), "unused"],
    ["it moved and took it along", pod({ node: "n2" }), "used"],
    ["the pod has ended", pod({ finished: true }), "unused"],
    ["what the pod has cannot be read", pod({ addresses: [], unclear: true }), "used"],
  ])("%s: %s", (_, now, verdict) => {
    expect(judgePod(allocation({}), now, "n1")).toBe(verdict);
  });
});

test("what a pod says of its addresses is taken from everywhere, and what cannot be read is told of", () => {
  const facts = (metadata: object, status: object = {}, spec: object = {}) =>
    podFacts({
      metadata: { name: "a", namespace: "d", ...metadata },
      spec: { nodeName: "n1", ...spec },
      status,
    } as never);
  const annotations = {
    "cni.projectcalico.org/podIP": "10.0.0.1/32",
    "cni.projectcalico.org/podIPs": "10.0.0.1/32,fd00:0::1/128",
    "k8s.v1.cni.cncf.io/network-status": '[{"name":"x","ips":["10.9.0.9"]}]',
  };
  expect(facts({ annotations }, { podIP: "10.0.0.3", podIPs: [{ ip: "10.0.0.3" }] })).toMatchObject({
    addresses: ["10.0.0.3", "10.0.0.1", "fd00::1", "10.9.0.9"],
    ...{ reported: true, finished: false, unclear: false },
  });
  expect(facts({ annotations: { "cni.projectcalico.org/podIP": "10.0.0/32" } })).toMatchObject({ unclear: true });
  expect(facts({ annotations: { "k8s.v1.cni.cncf.io/network-status": "[" } })).toMatchObject({ unclear: true });
  expect(facts({}, { phase: "Succeeded" })).toMatchObject({ finished: true });
  expect(facts({}, {}, { hostNetwork: true })).toBeUndefined();
});

test("allocations of a block say what they are for", () => {
  const block = newIPAMBlock({ cidr: "10.0.0.0/29", affinity: "host:n1", sequenceNumber: 9n });
  const entries: [string | undefined, Record<string, string>, object?][] = [
    ["net.1", { pod: "a", namespace: "d", node: "n2" }],
    ["vxlan-tunnel-addr-n1", { node: "n1", type: "vxlanTunnelAddress" }],
    ["net.2", { pod: "vm", namespace: "d", node: "n1", "vmi-name": "vm" }],
    ["Windows-Reserved-IPAM-handle", {}],
    [undefined, {}, { releasedAt: "2026-01-01T00:00:00Z" }],
    ["by hand", {}],
    ["net.3\r\nx", { pod: "b", namespace: "d" }],
  ];
  for (const [ordinal, [handle_id, secondary, more]] of entries.entries()) {
    block.spec.allocations[ordinal] =
      block.spec.attributes.push({ ...(handle_id && { handle_id }), secondary, ...more }) - 1;
  }
  const facts = blockFacts(block);
  expect(facts.allocations.map(({ use, node, handle }) => [use, node, handle])).toEqual([
    ["pod", "n2", "net.1"],
    ["tunnel", "n1", "vxlan-tunnel-addr-n1"],
    ["machine", "n1", "net.2"],
    ["other", "n1", "by hand"],
    ["pod", "n1", "net.3"],
  ]);
  expect(facts).toMatchObject({ host: "n1", empty: false, coolingSince: Date.parse("2026-01-01T00:00:00Z") });
});

test("a handle is released whole or not at all", () => {
  const all = [1, 2, 3, 4].map((n) => allocation({ id: `i${n}`, handle: n < 3 ? "two" : `one${n}` }));
  const ofHandle = (handle: string) => all.filter((one) => one.handle === handle);
  fc.assert(
    fc.property(fc.subarray(all), (unused) => {
      const whole = wholeHandles(unused, ofHandle);
      const naive = unused.filter(({ handle }) => ofHandle(handle!).every((one) => unused.includes(one)));
      expect(whole).toEqual(naive);
    }),
  );
});

test("something counts only when it was seen twice, a grace period apart, and not otherwise in between", () => {
  const step = fc.record({ seen: fc.boolean(), wait: fc.integer({ min: 0, max: 20 }) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const observations = new Observations();
      let now = 0;
      let first: number | undefined;
      for (const { seen, wait } of steps) {
        now += wait;
        if (seen) {
          expect(observations.note("x", now, 15)).toBe(first !== undefined && now - first >= 15);
          first ??= now;
        } else {
          observations.keep(new Set());
          first = undefined;
        }
        expect(observations.oldest).toBe(first);
      }
    }),
  );
});

test("of empty blocks a node keeps one of each family when it has no other", () => {
  const block = fc.record({
    cidr: fc.constantFrom("10.0.0.0/26", "10.0.0.64/26", "10.0.1.0/26", "fd00::/122", "fd00::40/122"),
    host: fc.constantFrom("n1", "n2"),
    empty: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.uniqueArray(block, { selector: ({ cidr }) => cidr }), (blocks) => {
      const gone = superfluousBlocks(blocks);
      for (const { cidr, empty } of blocks) if (!empty) expect(gone).not.toContain(cidr);
      for (const { host, cidr } of blocks) {
        const group = blocks.filter((one) => one.host === host && one.cidr.includes(":") === cidr.includes(":"));
        const left = group.filter((one) => !gone.includes(one.cidr));
        expect(left.length).toBeGreaterThan(0);
        expect(left.filter(({ empty }) => empty).length).toBe(group.every(({ empty }) => empty) ? 1 : 0);
      }
    }),
  );
});

test("of a node that is gone everything goes but what somebody uses, as a naive model says", () => {
  const uses = fc.constantFrom("pod", "tunnel", "other", "machine");
  const one = fc.record({ pod: fc.constantFrom("a", "b", "c"), node: fc.constantFrom("n1", "n2"), use: uses });
  const podOf = fc.record({
    node: fc.constantFrom("n1", "n2", ""),
    reported: fc.boolean(),
    finished: fc.boolean(),
    ordinal: fc.integer({ min: 0, max: 7 }),
  });
  const input = fc.record({
    entries: fc.array(one, { maxLength: 8 }),
    pods: fc.dictionary(fc.constantFrom("a", "b", "c"), podOf),
  });
  fc.assert(
    fc.property(input, ({ entries, pods }) => {
      const block = newIPAMBlock({ cidr: "10.0.0.0/29", affinity: "host:n1", sequenceNumber: 9n });
      for (const [ordinal, { pod: name, node, use }] of entries.entries()) {
        const type = use === "tunnel" ? { type: "vxlanTunnelAddress" } : {};
        const user = use === "other" || use === "tunnel" ? {} : { pod: name, namespace: "d" };
        const machine = use === "machine" ? { "vmi-name": name } : {};
        const secondary = { node, ...type, ...user, ...machine };
        block.spec.allocations[ordinal] = block.spec.attributes.push({ handle_id: `h${ordinal}`, secondary }) - 1;
      }
      const ledger = new Ledger();
      ledger.setBlock("b", block);
      const live = new Map<string, Pod>();
      for (const [name, { node, reported, finished, ordinal }] of Object.entries(pods)) {
        const addresses = reported ? [`10.0.0.${ordinal}`] : [];
        const now = pod({ key: `d/${name}`, node, addresses, reported, finished });
        ledger.setPod(now.key, now);
        if (node === "n1" && !finished) live.set(now.key, now);
      }
      const { unused, left } = planNode("n1", "n1", [ledger.blocks.get("10.0.0.0/29")!], live, ledger);
      const released = (unused.get("10.0.0.0/29") ?? []).map(({ address }) => address).sort();

      // Naive: who is alive, and could that be whose address this is?
      const alive = Object.entries(pods).filter(([, { finished }]) => !finished);
      const isUsed = (ordinal: number): boolean => {
        const { use, pod: name } = entries[ordinal]!;
        if (use === "other" || use === "machine") return true;
        if (use === "tunnel") return false;
        if (alive.some(([, { reported, ordinal: has }]) => reported && has === ordinal)) return true;
        return alive.some(([key, { node, reported }]) => key === name && node === "n1" && !reported);
      };
      const mine = entries.flatMap(({ node }, ordinal) => (node === "n1" ? [ordinal] : []));
      const others = mine.filter((ordinal) => entries[ordinal]!.use !== "tunnel");
      const expected = mine.filter((ordinal) =>
        entries[ordinal]!.use === "tunnel" ? !others.some(isUsed) : !isUsed(ordinal),
      );
      expect(released).toEqual(expected.map((ordinal) => `10.0.0.${ordinal}`).sort());
      expect(left).toBe(mine.length - expected.length);
    }),
    { numRuns: 500 },
  );
});
