import { describe, expect, test } from "vitest";
import { CalicoNodeStatus } from "./caliconodestatus.ts";
import { findKind, parseResource } from "./registry.ts";
import { completeStored } from "./resource.ts";
import { describeProblem } from "./schema.ts";

const base = { apiVersion: "projectcalico.org/v3", kind: "CalicoNodeStatus" as const, metadata: { name: "x" } };
const problems = (spec: unknown) => parseResource({ ...base, spec }).problems.map(describeProblem);
const asked = { node: "n1", classes: ["Agent", "BGP", "Routes"], updatePeriodSeconds: 10 };

describe("CalicoNodeStatus", () => {
  test("goes by upstream's names", () => {
    for (const name of ["caliconodestatus", "caliconodestatuses", "nodestatus", "nodestatuses"]) {
      expect(findKind(name)).toBe(CalicoNodeStatus);
    }
  });

  test.each([[asked], [{ ...asked, updatePeriodSeconds: 0 }], [{ ...asked, classes: ["BGP"] }]])("takes %j", (spec) => {
    expect(problems(spec)).toEqual([]);
  });

  test.each<[object, string[]]>([
    [
      {},
      [
        "spec.node: is missing; it must be a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part",
        "spec.classes: is missing; it must be a list",
        "spec.updatePeriodSeconds: is missing; it must be an integer from 0 to 86400 (seconds)",
      ],
    ],
    [{ ...asked, classes: [] }, ["spec.classes: []: must have one at least of Agent, BGP, Routes"]],
    [{ ...asked, classes: ["bgp"] }, ['spec.classes[0]: "bgp": must be one of Agent, BGP, Routes']],
    [{ ...asked, classes: ["BGP", "BGP"] }, ['spec.classes[1]: "BGP": is in the list already; remove one']],
    [
      { ...asked, updatePeriodSeconds: 86401 },
      ["spec.updatePeriodSeconds: 86401: must be an integer from 0 to 86400 (seconds)"],
    ],
  ])("refuses %j", (spec, found) => {
    expect(problems(spec)).toEqual(found);
  });

  test("a status as Go Calico writes it, and one that it has not written yet, are read", () => {
    const zero = {
      lastUpdated: null,
      agent: { birdV4: {}, birdV6: {} },
      bgp: { numberEstablishedV4: 0, numberNotEstablishedV4: 0, numberEstablishedV6: 0, numberNotEstablishedV6: 0 },
      routes: {},
    };
    const written = {
      lastUpdated: "2026-01-31T12:00:00Z",
      agent: {
        birdV4: {
          state: "Ready",
          version: "v0.3.3+birdv1.6.8",
          routerID: "10.0.0.1",
          lastBootTime: "2026-01-31 11:00:00",
          lastReconfigurationTime: "2026-01-31 11:00:00",
        },
        birdV6: { state: "NotReady" },
      },
      bgp: {
        ...zero.bgp,
        numberEstablishedV4: 1,
        peersV4: [{ peerIP: "10.0.0.2", type: "NodeMesh", state: "Established", since: "11:00:03" }],
      },
      routes: {
        routesV4: [
          {
            type: "FIB",
            destination: "192.168.1.0/26",
            gateway: "10.0.0.2",
            interface: "eth0",
            learnedFrom: { sourceType: "NodeMesh", peerIP: "10.0.0.2" },
          },
        ],
      },
    };
    for (const status of [zero, written]) {
      const resource = structuredClone({ ...base, spec: asked, status }) as CalicoNodeStatus;
      expect(completeStored(CalicoNodeStatus, resource)).toEqual([]);
      expect(resource.status).toEqual(status as CalicoNodeStatus["status"]);
    }
  });
});
