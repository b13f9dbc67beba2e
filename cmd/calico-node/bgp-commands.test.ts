import { expect, test } from "vitest";
import type { PeerStatus } from "../../lib/bgp/control/index.ts";
import { memoryIo } from "../../lib/cli/testing.ts";
import { peersText } from "./bgp-show.ts";
import { main } from "./main.ts";

const NOW = new Date(2026, 10, 23, 3, 0, 0).getTime();
const peer: PeerStatus = {
  name: "Mesh_10_0_0_2",
  kind: "mesh",
  family: 4,
  address: "10.0.0.2",
  port: 179,
  asn: 64512,
  reason: "node-to-node mesh",
  passive: false,
  state: "Established",
  since: NOW - 60_000,
  messages: { sent: 4, received: 5 },
  flaps: 1,
  routes: { received: 3, accepted: 2, best: 2, sent: 1 },
  bfd: { state: "Up", diagnostic: "", detectionTime: 900 },
};

test("peers: when in the node's own time, and what went wrong when", () => {
  const lastError = { code: "HOLD", message: "nothing was heard for 90 s", at: NOW - 120_000 };
  const lines = peersText(
    [
      { ...peer, lastError },
      { ...peer, name: "Mesh_10_0_0_3", since: 0 },
    ],
    ["a problem"],
    NOW,
  );
  expect(lines.split("\n").map((line) => line.trimEnd())).toEqual([
    "NAME            ADDRESS    AS      STATE         SINCE                 RECEIVED   ACCEPTED   SENT   BFD   LAST ERROR",
    "Mesh_10_0_0_2   10.0.0.2   64512   Established   2026-11-23 02:59:00   3          2          1      Up    02:58:00 nothing was heard for 90 s",
    "Mesh_10_0_0_3   10.0.0.2   64512   Established   -                     3          2          1      Up    -",
    "",
    "Not as configured",
    "  a problem",
    "",
  ]);
  expect(peersText([], [], NOW)).toBe("No peers.\n");
});

test("peers: what ended the session before is beside why it is not up, and stays after it is up again", () => {
  const lastError = { code: "REFUSED", message: "refused", at: NOW - 120_000 };
  const endedBy = { code: "HOLD_TIMER", message: "hold timer expired", at: NOW - 180_000 };
  const last = (over: Partial<PeerStatus>) => peersText([{ ...peer, ...over }], [], NOW).split("\n")[1];
  expect(last({ state: "Active", lastError, endedBy })).toContain(
    " 02:58:00 refused; 02:57:00 went down: hold timer expired",
  );
  expect(last({ state: "Active", lastError: endedBy, endedBy })).toMatch(
    /Up +02:57:00 went down: hold timer expired *$/,
  );
  expect(last({ lastError, endedBy })).toMatch(/Up +02:57:00 went down: hold timer expired *$/);
});

const refused: [string, RegExp][] = [
  ["bgp peers -o yaml", /--output yaml: there is json only/],
  ["bgp routes --sent", /--sent needs --peer/],
  ["bgp routes --peer x --sent --received", /--received and --sent exclude each other/],
  ["bgp explain", /which prefix, or which address\?/],
  ["health", /what of\? --felix-live/],
  ["health --bgp-ready --threshold-time soon", /--threshold-time soon: is not a duration/],
  ["health --bgp-ready --threshold-time=-30s", /--threshold-time -30s: is not a duration/],
];
test.each(refused)("calico-node %s is refused", async (line, why) => {
  const io = memoryIo();
  expect(await main(line.split(" "), {}, io)).toBe(1);
  expect(io.err()).toMatch(why);
});

test.each([
  "init --best-effort",
  "-init -best-effort",
  "hostpath-init",
  "complete-startup",
  "monitor-addresses",
  "status-reporter",
  "allocate-tunnel-addrs --run-once",
  "-allocate-tunnel-addrs",
  "monitor-token",
  "confd --run-once",
])("calico-node %s does not fail, and says why there is nothing to do", async (line) => {
  const io = memoryIo();
  expect(await main(line.split(" "), {}, io)).toBe(0);
  expect(io.err()).toMatch(/^calico-node [a-z-]+: there is nothing to do: /);
});
