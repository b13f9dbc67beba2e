import { expect, test } from "vitest";
import { type BgpStatus, whyNotReady } from "../../lib/bgp/control/index.ts";
import { controlSource, NO_BGP, NodeReport } from "./node-report.ts";

const LONG_AGO = 3_600_000;
const unconfigured: BgpStatus = {
  node: "",
  asn: 0,
  routerId: "",
  backend: "speaker",
  restarting: false,
  peers: [],
  problems: [],
};
const configured: BgpStatus = { ...unconfigured, node: "n1", asn: 64512, routerId: "10.0.0.1" };
const why = (report: NodeReport, status = unconfigured) => whyNotReady(report.over(status), LONG_AGO);

test("a node waits for its datastore, for start-up and for what it watches, and says which", () => {
  const report = new NodeReport();
  report.datastore = "etcd http://10.0.0.9:2379 does not answer";
  expect(why(report)).toBe("the datastore cannot be used: etcd http://10.0.0.9:2379 does not answer");
  report.datastore = undefined;
  report.missing = ["Node", "BGPPeer"];
  expect(why(report)).toBe("BGP has no configuration yet: the datastore has not told its Node, BGPPeer");
  report.trouble("BGPPeer", "bgppeers is forbidden");
  expect(why(report)).toBe("BGP has no configuration yet: BGPPeer cannot be watched: bgppeers is forbidden");
  report.start = "ADDRESS_CONFLICT: node n2 has the address 10.0.0.1 already";
  expect(why(report)).toMatch(/^the node is not prepared: ADDRESS_CONFLICT/);
});

test("a node that was prepared and configured is ready whatever happens to its datastore, and the trouble is a problem", () => {
  const report = new NodeReport();
  report.configuredAt = 1;
  expect(why(report, configured)).toBe("the node is being prepared");
  report.prepared = true;
  expect(why(report, configured)).toBeUndefined();
  report.trouble("IPPool", "connection refused");
  expect(why(report, configured)).toBeUndefined();
  expect(report.over(configured).problems).toEqual(["IPPool cannot be watched: connection refused"]);
  report.trouble("Node", "connection refused");
  report.trouble("Service", "services is forbidden");
  expect(report.over(configured).problems).toEqual([
    "IPPool, Node cannot be watched: connection refused",
    "Service cannot be watched: services is forbidden",
  ]);
  for (const kind of ["Node", "Service"]) report.trouble(kind, undefined);
  report.trouble("IPPool", undefined);
  expect(report.over(configured).problems).toEqual([]);
});

test("what the node itself has not done is told apart from peers that are away and from the plugin's files", () => {
  const report = new NodeReport();
  report.start = "no address";
  expect(report.notPrepared(unconfigured)).toEqual(["the node is not prepared: no address"]);
  report.prepared = true;
  expect(report.notPrepared(unconfigured)).toEqual([expect.stringMatching(/^BGP has no configuration yet/)]);
  report.configuredAt = 1;
  expect(report.notPrepared(unconfigured)).toEqual(["BGP has not taken its configuration yet"]);
  report.cni = "there is no portmap";
  expect(report.notPrepared(configured)).toEqual([]);
  expect(why(report, configured)).toBe("there is no portmap");
  expect(report.notPrepared(NO_BGP)).toEqual([]);
});

test("a pool that is not served is told of beside readiness, and does not take it away", () => {
  const report = new NodeReport();
  Object.assign(report, { configuredAt: 1, prepared: true });
  report.unserved = [{ pool: "p", cidr: "10.65.0.0/16", encapsulation: "IPIP", message: "IPPool p is not served" }];
  const status = report.over(configured);
  expect(whyNotReady(status, LONG_AGO)).toBeUndefined();
  expect(status).toMatchObject({ notServed: ["IPPool p is not served"], problems: ["IPPool p is not served"] });
});

test("a node without BGP is ready as soon as it is prepared, and answers for itself", async () => {
  const report = new NodeReport();
  const source = controlSource("n1", undefined, report);
  expect(whyNotReady(await source.status(), 0)).toBe("the node is being prepared");
  report.prepared = true;
  expect(whyNotReady(await source.status(), 0)).toBeUndefined();
  expect(() => source.routes("best")).toThrow("does no BGP");
});
