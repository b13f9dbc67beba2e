import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newClusterInformation } from "../api/clusterinformation.ts";
import { type IPAMBlock, newIPAMBlock } from "../api/ipamblock.ts";
import { newIPAMHandle } from "../api/ipamhandle.ts";
import { newIPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import type { Node } from "../api/node.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { stringifyJson } from "../datastore/index.ts";
import { type AuditInput, audit } from "./audit.ts";
import { auditText } from "./audit-text.ts";
import { borrowedAddresses } from "./borrowed.ts";
import { leakReport, leaksIn, parseLeakReport, refusals } from "./leak-report.ts";

const WIDE = 1732290000123456789n;

/** A block of four addresses with the given attributes at the front. */
function block(cidr: string, affinity: string | undefined, owners: readonly Record<string, string>[]): IPAMBlock {
  const made = newIPAMBlock({ cidr, ...(affinity ? { affinity } : {}), sequenceNumber: WIDE });
  for (const [ordinal, { handle, releasedAt, ...secondary }] of owners.entries()) {
    made.spec.allocations[ordinal] = ordinal;
    made.spec.attributes.push(releasedAt ? { releasedAt } : { ...(handle ? { handle_id: handle } : {}), secondary });
    made.spec.sequenceNumberForAllocation[String(ordinal)] = WIDE + BigInt(ordinal);
  }
  made.spec.unallocated = made.spec.unallocated.filter((ordinal) => ordinal >= owners.length);
  return made;
}

const node = (name: string, tunnel: string): Node => ({
  apiVersion: API_VERSION,
  kind: "Node",
  metadata: { name },
  spec: { bgp: { ipv4IPIPTunnelAddr: tunnel } },
});

const endpoint = (name: string, ...ipNetworks: string[]): WorkloadEndpoint => ({
  apiVersion: API_VERSION,
  kind: "WorkloadEndpoint",
  metadata: { name, namespace: "default" },
  spec: { ipNetworks },
});

const handle = (id: string, resourceVersion: string) => {
  const made = newIPAMHandle(id, {});
  made.metadata.resourceVersion = resourceVersion;
  return made;
};

const input: AuditInput = {
  blocks: [
    block("10.65.0.0/30", "host:n1", [
      { handle: "net.web", node: "n1", pod: "web", namespace: "default" },
      { handle: "net.gone", node: "n2", pod: "gone", namespace: "default" },
      { releasedAt: "2026-01-01T00:00:00Z" },
    ]),
    block("10.65.0.4/30", undefined, [{ handle: "ipip-tunnel-addr-n1", node: "n1", type: "ipipTunnelAddress" }]),
  ],
  handles: [handle("net.web", "7"), handle("net.gone", "8"), handle("leaked", "9")],
  pools: [newIPPool("a", { cidr: "10.65.0.0/16" }), newIPPool("off", { cidr: "10.99.0.0/16", disabled: true })],
  nodes: [node("n1", "10.65.0.4")],
  endpoints: [endpoint("web", "10.65.0.0/32"), endpoint("stranger", "10.65.9.9/32", "192.168.7.7/32")],
};

describe("an audit", () => {
  test("reads as upstream's report, and lists the problems when asked", () => {
    expect(auditText(audit(input), { allAddresses: false, problemAddresses: true })).toBe(
      `
Checking IPAM for inconsistencies...

Loading all IPAM blocks...
Found 2 IPAM blocks.
 IPAM block 10.65.0.0/30 affinity=host:n1:
 IPAM block 10.65.0.4/30 affinity=<none>:
IPAM blocks record 4 allocations.

Loading all IPAM pools...
  10.65.0.0/16
Found 1 active IP pools.

Loading all nodes.
Found 1 node tunnel IPs.

Loading all workload endpoints.
Found 3 workload IPs.
Workloads and nodes are using 4 IPs.

Looking for top (up to 20) nodes by allocations...
  n1 has 3 allocations
  n2 has 1 allocations
Node with most allocations has 3; median is 1

Scanning for IPs that are allocated but not actually in use...
  10.65.0.1 leaked; attrs Main:net.gone Extra:namespace=default,node=n2,pod=gone
Found 1 IPs that are allocated in IPAM but not actually in use.
Scanning for IPs that are in use by a workload or node but not allocated in IPAM...
  192.168.7.7 in use by Workload(default/stranger) is not in any active IP pool.
  10.65.9.9 in use by Workload(default/stranger) and in active IPAM pool but has no IPAM allocation.
Found 1 in-use IPs that are not in active IP pools.
Found 1 in-use IPs that are in active IP pools but have no corresponding IPAM allocation.

Scanning for IPAM handles with no matching IPs...
Found 1 handles with no matching IPs (and 2 handles with matches).
Scanning for IPs with missing handle...
  ipip-tunnel-addr-n1 is in use in a block but doesn't exist.
Found 1 handles mentioned in blocks with no matching handle resource.
Validating IPAMBlock structures...
Found 0 invalid IPAMBlocks.
Check complete; found 4 problems.
`.slice(1),
    );
  });

  test("lists every address on request, and names a block that contradicts itself", () => {
    const broken = block("10.65.0.8/30", "host:n1", [{ handle: "h", node: "n1" }]);
    broken.spec.unallocated.push(0);
    const text = auditText(audit({ ...input, blocks: [...input.blocks, broken] }), {
      allAddresses: true,
      problemAddresses: false,
    });
    expect(text).toContain("  10.65.0.2 allocated; attrs Main:<none> Extra:\n");
    expect(text).toContain("  10.65.0.4 belongs to Node(n1)\n");
    expect(text).toContain("  leaked doesn't have any active IPs.\n");
    expect(text).toContain("  IPAMBlock 10.65.0.8/30 is invalid: ordinal 0 is allocated and listed as free\n");
  });

  test("finds an address borrowed when its node is not the block's", () => {
    expect(borrowedAddresses(input.blocks)).toEqual({
      borrowed: [
        {
          ip: "10.65.0.1",
          borrowingNode: "n2",
          block: "10.65.0.0/30",
          blockOwner: "n1",
          type: "pod",
          allocatedTo: "default/gone",
        },
        {
          ip: "10.65.0.4",
          borrowingNode: "n1",
          block: "10.65.0.4/30",
          blockOwner: "",
          type: "ipipTunnelAddress",
          allocatedTo: "",
        },
      ],
      unclassified: 0,
    });
    expect(borrowedAddresses([block("10.65.0.0/30", "host:n1", [{ handle: "old" }])]).unclassified).toBe(1);
  });
});

describe("a report file", () => {
  const cluster = newClusterInformation({ calicoVersion: "", clusterType: "" });
  cluster.metadata.resourceVersion = "3";
  const report = leakReport(audit(input), cluster, "v1");
  const read = (value: unknown) => parseLeakReport(stringifyJson(value, 2), "report.json");

  test("has upstream's fields, sequence numbers exact", () => {
    expect(Object.keys(report)).toEqual([
      "version",
      "clusterGUID",
      "datastoreLocked",
      "clusterInformationRevision",
      "clusterType",
      "allocations",
      "leakedHandles",
    ]);
    expect(report.allocations["10.65.0.1"]).toEqual([
      {
        ip: "10.65.0.1",
        handle: "net.gone",
        sequenceNumber: WIDE + 1n,
        pod: "gone",
        namespace: "default",
        node: "n2",
        inUse: false,
        borrowed: true,
        owners: [],
      },
    ]);
    expect(report.leakedHandles).toEqual([{ ID: "leaked", UID: null, Revision: "9" }]);
    expect(read(report)).toEqual(report);
  });

  test("says what to release: what nobody uses and what does not cool down", () => {
    expect(leaksIn([read(report)])).toEqual({
      addresses: [{ address: "10.65.0.1", handle: "net.gone", sequenceNumber: WIDE + 1n }],
      handles: [{ id: "leaked", revision: "9" }],
    });
  });

  test("together with another, only what both call leaked", () => {
    const later = leakReport(
      audit({
        ...input,
        endpoints: [...input.endpoints, endpoint("late", "10.65.0.1/32")],
        handles: [handle("leaked", "10")],
      }),
      cluster,
      "v1",
    );
    expect(leaksIn([report, later])).toEqual({ addresses: [], handles: [] });
    expect(leaksIn([later, report])).toEqual({ addresses: [], handles: [] });
    const again = structuredClone(report.allocations["10.65.0.1"]!.map((one) => ({ ...one, sequenceNumber: 1n })));
    const reassigned = { ...report, allocations: { ...report.allocations, "10.65.0.1": again } };
    expect(leaksIn([report, reassigned]).addresses).toEqual([]);
    expect(leaksIn([report, report])).toEqual(leaksIn([report]));
  });

  test("is refused for another cluster, another version, a changed or unlocked datastore", () => {
    const locked = { ...cluster, spec: { ...cluster.spec, datastoreReady: false } };
    const one = [{ path: "r.json", report }];
    expect(refusals(one, locked, "v1", false)).toEqual({ errors: [], warnings: [] });
    expect(refusals(one, cluster, "v1", false).errors).toEqual([
      "data store is not locked. Either lock the data store, or re-run with --force",
    ]);
    expect(refusals(one, cluster, "v2", true)).toEqual({
      errors: [],
      warnings: [
        "Report was produced using a different version of calicoctl. Ignoring due to --force option",
        "Data store is not locked. Ignoring due to --force option",
      ],
    });
    const other = { ...locked, spec: { ...locked.spec, clusterGUID: "other" } };
    expect(refusals(one, other, "v1", true).errors).toEqual([
      "cluster does not match the provided report (r.json): mismatched cluster GUID. Refusing to release",
    ]);
    const stale = { ...locked, metadata: { ...locked.metadata, resourceVersion: "4" } };
    expect(refusals(one, stale, "v1", true).errors[0]).toMatch(/^the provided reports are all stale/);
  });

  test("that is none is refused with what is wrong, whatever it holds", () => {
    expect(() => parseLeakReport("{", "r.json")).toThrow(/^r\.json is not a report of 'ipam check': /);
    expect(() => read({ version: "v1" })).toThrow(/"allocations" is not an object/);
    const wrong = { "10.65.0.1": [{ ip: "10.65.0.1", sequenceNumber: 1.5 }] };
    expect(() => read({ ...report, allocations: wrong })).toThrow(/"allocations" of 10\.65\.0\.1 is not a list/);
    expect(() => read({ ...report, leakedHandles: [7] })).toThrow(/"leakedHandles" is not a list of handles/);
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          leaksIn([parseLeakReport(text, "r.json")]);
        } catch (error) {
          expect((error as Error).name).toBe("IpamError");
        }
      }),
      { numRuns: 300 },
    );
  });
});
