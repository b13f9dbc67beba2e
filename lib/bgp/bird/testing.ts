/** For tests: a node with something of everything, and a real BIRD where there is one. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "vitest";
import type { TestNamespace } from "../../sys/testing.ts";
import type { NodeBgp } from "../model/index.ts";
import { sampleNode, samplePeer } from "../model/testing.ts";

export type BirdVersion = "2" | "1.6" | "1.6 for IPv6";

/** Environment variables that name an executable which is not the one in PATH. */
const VARIABLES: Readonly<Record<BirdVersion, string>> = {
  "2": "CALICO_TEST_BIRD2",
  "1.6": "CALICO_TEST_BIRD1",
  "1.6 for IPv6": "CALICO_TEST_BIRD1_6",
};

/** scripts/setup unpacks BIRD 1.6 beside BIRD 2. */
const NAMES: Readonly<Record<BirdVersion, readonly string[]>> = {
  "2": ["bird", "/usr/sbin/bird"],
  // scripts/setup unpacks 1.6 beside what it installs.
  "1.6": ["bird1", "bird", ".cache/bin/bird1"],
  "1.6 for IPv6": ["bird6", ".cache/bin/bird6"],
};

/** The executable, or undefined. */
export function findBird(version: BirdVersion): string | undefined {
  const named = process.env[VARIABLES[version]];
  const wanted = `BIRD version ${version.split(" ")[0]}.`;
  return [...(named ? [named] : []), ...NAMES[version]].find((name) => {
    const run = spawnSync(name, ["--version"], { encoding: "utf8" });
    return `${run.stdout}${run.stderr}`.includes(wanted);
  });
}

/** Skipped by name where there is no such BIRD. */
export function describeWithBird(version: BirdVersion, name: string, body: (executable: string) => void): void {
  const executable = findBird(version);
  if (executable) describe(name, () => body(executable));
  else
    it.skip(`${name} [no BIRD ${version} here: neither ${NAMES[version].join(", ")} nor ${VARIABLES[version]}]`, () => {});
}

/** An executable that is BIRD within a namespace: it reads and changes the routes of the one that it runs in. */
export function birdIn(space: TestNamespace, executable: string, folder: string): string {
  const path = join(folder, `${executable.replaceAll("/", "-")}-in-${space.name}`);
  writeFileSync(path, `#!/bin/sh\nexec nsenter --net=${space.path} ${executable} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** A reflector with a rack's router, a client, filters, services, and pools of every kind. */
export const exampleNode: NodeBgp = sampleNode({
  node: "rr-1",
  clusterId: "224.0.0.1",
  listen: { port: 1790, onlyNodeAddresses: true },
  ignoredInterfaces: ["docker*"],
  filters: {
    edge: {
      name: "edge",
      importV4: [{ action: "reject", prefix: { cidr: "0.0.0.0/0", operator: "equal" }, operations: [] }],
      exportV4: [
        {
          action: "accept",
          prefix: { cidr: "10.244.0.0/16", operator: "in", minLength: 24 },
          learned: true,
          interface: "eth*",
          peerType: "ebgp",
          community: [65000, 1],
          asPathPrefix: [65010, 65011],
          priority: 512,
          operations: [
            { kind: "addCommunity", community: [64512, 1, 2] },
            { kind: "prependAsPath", asns: [65100, 65101] },
            { kind: "setPriority", priority: 100 },
          ],
        },
        {
          action: "reject",
          prefix: { cidr: "10.0.0.0/8", operator: "in", minLength: 28, maxLength: 24 },
          operations: [],
        },
      ],
      importV6: [],
      exportV6: [],
    },
  },
  ipv4: {
    peers: [
      samplePeer({
        name: "Global_10_0_9_1_port_1179",
        kind: "global",
        address: "10.0.9.1",
        port: 1179,
        asn: 65001,
        localAsn: 64999,
        ttlSecurity: 2,
        password: "s#cret",
        restartTime: 300,
        keepaliveTime: 20,
        passive: true,
        nextHop: "self",
        allowedOwnAsns: 2,
        filters: ["edge"],
        reason: "BGPPeer rack-tor",
      }),
      samplePeer({
        name: "Node_10_0_0_2",
        kind: "node",
        sourceAddress: "10.0.0.1",
        reflectorClient: "224.0.0.1",
        reason: "BGPPeer clients",
      }),
    ],
    blocks: [
      { cidr: "10.244.1.0/26", state: "confirmed" },
      { cidr: "10.244.2.0/26", state: "pending" },
      { cidr: "10.244.3.7/32" },
    ],
    services: ["10.96.0.0/12"],
    notProgrammed: ["10.96.0.0/12"],
    externalRanges: ["80.0.0.0/24"],
    loadBalancerRanges: ["81.0.0.0/24"],
    pools: [
      { cidr: "10.244.0.0/16", encapsulation: "none", exported: true },
      { cidr: "10.245.0.0/16", encapsulation: "vxlan", exported: false },
      { cidr: "10.246.0.0/16", encapsulation: "ipip-cross-subnet", exported: true },
    ],
    communities: [
      {
        prefix: "10.244.0.0/16",
        communities: [
          [65000, 7],
          [64512, 1, 2],
        ],
      },
    ],
    peerRoutes: [{ peer: "10.0.9.1", via: "10.0.0.254", kind: "global" }],
    wireguardPeers: ["10.0.0.8"],
  },
});
