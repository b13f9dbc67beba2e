import { afterEach, beforeEach, expect, test } from "vitest";
import { CalicoNodeStatus, type CalicoNodeStatusSpec } from "../api/caliconodestatus.ts";
import { API_VERSION } from "../api/meta.ts";
import type { Client } from "../datastore/index.ts";
import { MemoryData, memoryClient } from "../datastore/testing.ts";
import {
  type BgpPeerStatus,
  type BgpRouteStatus,
  formatMoment,
  formatSince,
  reportNodeStatus,
  type StatusSource,
} from "./index.ts";
import { type KeptLog, keptLog } from "./testing.ts";

const BOOT = new Date(2021, 8, 19, 20, 10, 56).getTime();

const peer = (over: Partial<BgpPeerStatus> = {}): BgpPeerStatus => ({
  family: 4,
  kind: "mesh",
  address: "10.0.0.2",
  state: "Established",
  since: BOOT,
  ...over,
});

let data: MemoryData;
let client: Client;
let log: KeptLog;
let stop: AbortController;
let done: Promise<void>;
let peers: BgpPeerStatus[];
let asked: number;
let broken: boolean;
let routes: Iterable<BgpRouteStatus>;

const SOME_ROUTES: readonly BgpRouteStatus[] = [
  {
    family: 4,
    primary: true,
    destination: "10.1.0.0/26",
    gateway: "10.0.0.2",
    interface: "eth0",
    source: "NodeMesh",
    peerAddress: "10.0.0.2",
  },
  { family: 4, primary: false, destination: "10.1.0.64/26", interface: "blackhole", source: "Static" },
];

const routesOf = (family: 4 | 6, number: number): BgpRouteStatus[] =>
  Array.from({ length: number }, (_, index) => ({
    family,
    primary: true,
    destination: family === 4 ? `10.${index >> 8}.${index & 255}.0/24` : `fd00:${index.toString(16)}::/64`,
    source: "NodeMesh",
  }));

const source: StatusSource = {
  agent: async (family) => {
    if (broken) throw new Error("cannot be asked");
    asked++;
    return family === 6
      ? undefined
      : { ready: true, version: "v3.31.0", routerId: "10.0.0.1", started: BOOT, reconfigured: BOOT };
  },
  peers: async (family) => peers.filter((one) => one.family === family),
  routes: async function* () {
    yield* routes;
  },
};

beforeEach(() => {
  data = new MemoryData();
  client = memoryClient({ data });
  log = keptLog();
  stop = new AbortController();
  peers = [peer(), peer({ kind: "global", address: "10.0.0.9", state: "Active" }), peer({ kind: "localWorkload" })];
  asked = 0;
  broken = false;
  routes = SOME_ROUTES;
  done = reportNodeStatus(client, { node: "n1", source, log, signal: stop.signal });
});
afterEach(async () => {
  stop.abort();
  await done;
});

const ask = (name: string, spec: Partial<CalicoNodeStatusSpec> = {}) =>
  client.create(CalicoNodeStatus, {
    apiVersion: API_VERSION,
    kind: "CalicoNodeStatus",
    metadata: { name },
    spec: { node: "n1", classes: ["Agent", "BGP", "Routes"], updatePeriodSeconds: 0, ...spec },
  });

async function statusOf(
  name: string,
  condition: (status: CalicoNodeStatus["status"]) => boolean = (status) => status !== undefined,
) {
  for (const deadline = performance.now() + 10_000; ; ) {
    const found = await client.get(CalicoNodeStatus, { name });
    if (found && condition(found.status)) return found.status;
    if (performance.now() > deadline) throw new Error(`${name}: ${JSON.stringify(found?.status)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a question to this node is answered in upstream's values", async () => {
  await ask("s");
  expect(await statusOf("s")).toEqual({
    lastUpdated: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    agent: {
      birdV4: {
        state: "Ready",
        version: "v3.31.0",
        routerID: "10.0.0.1",
        lastBootTime: "2021-09-19 20:10:56",
        lastReconfigurationTime: "2021-09-19 20:10:56",
      },
      birdV6: { state: "NotReady" },
    },
    bgp: {
      numberEstablishedV4: 1,
      numberNotEstablishedV4: 1,
      numberEstablishedV6: 0,
      numberNotEstablishedV6: 0,
      peersV4: [
        { peerIP: "10.0.0.2", type: "NodeMesh", state: "Established", since: "2021-09-19" },
        { peerIP: "10.0.0.9", type: "GlobalPeer", state: "Active", since: "2021-09-19" },
      ],
    },
    routes: {
      routesV4: [
        {
          type: "FIB",
          destination: "10.1.0.0/26",
          gateway: "10.0.0.2",
          interface: "eth0",
          learnedFrom: { sourceType: "NodeMesh", peerIP: "10.0.0.2" },
        },
        {
          type: "RIB",
          destination: "10.1.0.64/26",
          gateway: "N/A",
          interface: "blackhole",
          learnedFrom: { sourceType: "Static" },
        },
      ],
    },
  });
});

test("only the classes that are asked for are reported, and other nodes' questions left alone", async () => {
  await ask("other", { node: "n2" });
  await ask("s", { classes: ["BGP"] });
  const status = await statusOf("s");
  expect(Object.keys(status ?? {}).sort()).toEqual(["bgp", "lastUpdated"]);
  expect((await client.get(CalicoNodeStatus, { name: "other" }))?.status).toBeUndefined();
});

test("it is renewed in its period when something changed, and not written when nothing did", async () => {
  await ask("s", { updatePeriodSeconds: 1 });
  await statusOf("s");
  const first = await client.get(CalicoNodeStatus, { name: "s" });
  const before = asked;
  await statusOf("s", () => asked >= before + 4);
  expect((await client.get(CalicoNodeStatus, { name: "s" }))?.metadata.resourceVersion).toBe(
    first!.metadata.resourceVersion,
  );
  peers = [];
  expect((await statusOf("s", (status) => status?.bgp?.numberEstablishedV4 === 0))?.bgp?.peersV4).toBeUndefined();
});

test("a question that changes is answered anew; one that went is not asked for any more", async () => {
  await ask("s", { classes: ["BGP"] });
  await statusOf("s");
  const found = (await client.get(CalicoNodeStatus, { name: "s" }))!;
  await client.update(CalicoNodeStatus, { ...found, spec: { ...found.spec, classes: ["Agent"] } });
  await statusOf("s", (status) => status?.agent !== undefined);
  await client.delete(CalicoNodeStatus, { name: "s" });
  await ask("t");
  await statusOf("t");
  expect(log.of("warning")).toEqual([]);
});

test("what cannot be asked leaves the status as it is", async () => {
  await ask("s", { updatePeriodSeconds: 1 });
  const before = await statusOf("s");
  broken = true;
  await statusOf("s", () => log.of("warning").length > 0);
  expect(await statusOf("s")).toEqual(before);
  broken = false;
});

test("more routes than a resource can hold are left out, and that is said once", async () => {
  routes = [...routesOf(4, 3_100), ...routesOf(6, 5)];
  await ask("s", { classes: ["Routes"], updatePeriodSeconds: 1 });
  const status = await statusOf("s");
  expect(status?.routes?.routesV4).toHaveLength(3_000);
  expect(status?.routes?.routesV6).toHaveLength(5);
  routes = [...routesOf(4, 3_200), ...routesOf(6, 6)];
  await statusOf("s", (status) => status?.routes?.routesV6?.length === 6);
  expect(log.of("warning").filter((message) => message.includes("more routes than the 3000"))).toHaveLength(1);
});

test("what is left out is known also where one family has just as many as there is room for", async () => {
  routes = [...routesOf(4, 3_000), ...routesOf(6, 3_001)];
  await ask("s", { classes: ["Routes"] });
  expect((await statusOf("s"))?.routes?.routesV6).toHaveLength(3_000);
  await statusOf("s", () => log.of("warning").length > 0);
});

test("moments look as BIRD prints them", () => {
  expect(formatMoment(BOOT)).toBe("2021-09-19 20:10:56");
  expect(formatSince(BOOT, BOOT + 19 * 3_600_000)).toBe("20:10:56");
  expect(formatSince(BOOT, BOOT + 21 * 3_600_000)).toBe("2021-09-19");
});
