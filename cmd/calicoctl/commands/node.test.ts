import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { type BgpStatus, type PeerStatus, serveControl } from "../../../lib/bgp/control/index.ts";
import { memoryIo } from "../../../lib/cli/testing.ts";
import { main } from "../main.ts";

const folder = mkdtempSync(join(tmpdir(), "node-status-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const socket = join(folder, "bgp.sock");

const NOW = new Date(2026, 10, 23, 3, 0, 0).getTime();
beforeEach(() => void vi.spyOn(Date, "now").mockReturnValue(NOW));
let served: { close(): Promise<void> } | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await served?.close();
});

const peer = (address: string, over: Partial<PeerStatus>): PeerStatus => ({
  name: `Mesh_${address.replaceAll(/[.:]/g, "_")}`,
  kind: "mesh",
  family: address.includes(":") ? 6 : 4,
  address,
  port: 179,
  asn: 64512,
  reason: "node-to-node mesh",
  passive: false,
  state: "Established",
  since: NOW - 3_600_000,
  messages: { sent: 0, received: 0 },
  flaps: 0,
  routes: { received: 0, accepted: 0, best: 0, sent: 0 },
  ...over,
});

async function nodeStatus(status: Partial<BgpStatus>, ...more: string[]) {
  const whole: BgpStatus = {
    node: "n1",
    asn: 64512,
    routerId: "10.0.0.1",
    backend: "speaker",
    restarting: false,
    peers: [],
    problems: [],
    ...status,
  };
  served = serveControl(socket, { status: () => whole, explain: () => [], routes: () => undefined });
  const io = memoryIo();
  const exit = await main(["node", "status", "--socket", socket, ...more], {}, io);
  return { exit, out: io.out(), err: io.err() };
}

test("upstream's tables, byte for byte, and the last errors below them", async () => {
  const { exit, out } = await nodeStatus({
    peers: [
      peer("172.17.8.102", {}),
      peer("10.20.0.254", {
        name: "Global_10_20_0_254",
        kind: "global",
        state: "Active",
        since: NOW - 86_400_000,
        lastError: { code: "REFUSED", message: "refused: nothing listens there", at: NOW - 60_000 },
      }),
    ],
    problems: ["BGPPeer tor: spec.nodeSelector: is no selector"],
  });
  expect(exit).toBe(0);
  expect(out).toBe(`Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+------------+-------------+
| PEER ADDRESS | PEER TYPE         | STATE | SINCE      | INFO        |
+--------------+-------------------+-------+------------+-------------+
| 10.20.0.254  | global            | start | 2026-11-22 | Active      |
| 172.17.8.102 | node-to-node mesh | up    | 02:00:00   | Established |
+--------------+-------------------+-------+------------+-------------+
Last errors
  02:59:00 10.20.0.254: refused: nothing listens there

IPv6 BGP status
No IPv6 peers found.

Not as configured
  BGPPeer tor: spec.nodeSelector: is no selector

`);
});

test("what ended a session and why it does not come back are both there; of one that is up again, what ended it", async () => {
  const lastError = { code: "REFUSED", message: "refused: nothing listens there", at: NOW - 60_000 };
  const endedBy = { code: "HOLD_TIMER", message: "hold timer expired", at: NOW - 180_000 };
  const { out } = await nodeStatus({
    peers: [
      peer("10.0.0.2", { state: "Active", node: "n2", lastError, endedBy }),
      peer("10.0.0.3", { state: "Connect", lastError: endedBy, endedBy }),
      peer("10.0.0.4", { since: NOW - 30_000, lastError, endedBy }),
      peer("10.0.0.5", { since: NOW - 90_000, lastError, endedBy }),
    ],
  });
  expect(out.slice(out.indexOf("Last errors"), out.indexOf("\n\nIPv6"))).toBe(`Last errors
  02:57:00 10.0.0.2 (n2): went down: hold timer expired
  02:59:00 10.0.0.2 (n2): refused: nothing listens there
  02:57:00 10.0.0.3: went down: hold timer expired
  02:57:00 10.0.0.4: went down: hold timer expired (over: the session is up)
  02:57:00 10.0.0.5: went down: hold timer expired (over: the session is up)
  02:59:00 10.0.0.5: refused: nothing listens there (over: the session is up)`);
});

test("a node without BGP says so as upstream does", async () => {
  const { exit, out } = await nodeStatus({ backend: "none" });
  expect({ exit, out }).toEqual({
    exit: 0,
    out: "Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n\n",
  });
});

test("nobody there is upstream's sentence, with what was tried, and exit status 1", async () => {
  const io = memoryIo();
  expect(await main(["node", "status", "--socket", join(folder, "none")], {}, io)).toBe(1);
  expect(io.err()).toMatch(/^Calico process is not running\.\nnobody answers at .*none \(/);
});

test("JSON is everything that is known; there is no other format", async () => {
  const lastError = { code: "HOLD", message: "hold timer expired", at: NOW };
  const endedBy = { code: "BFD_DOWN", message: "BFD says that it is gone", at: NOW };
  const { out } = await nodeStatus({ peers: [peer("fd00::2", { lastError, endedBy })] }, "-o", "json");
  expect(JSON.parse(out)).toMatchObject({
    node: "n1",
    peers: [{ address: "fd00::2", lastError: { code: "HOLD" }, endedBy }],
  });
  await served?.close();
  expect((await nodeStatus({}, "-o", "yaml")).err).toContain("--output yaml: there is json only");
});
