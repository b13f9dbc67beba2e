import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Reply, ReplyParser } from "./control.ts";
import { isPeer, parseProtocols, parseRouteCount, parseStatus } from "./replies.ts";

function reply(text: string): Reply {
  const [first] = new ReplyParser().push(new TextEncoder().encode(text));
  if (!first) throw new Error("no whole reply");
  return first;
}

const BIRD2 = `2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-23T01:54:46${"  "}
1006-
1002-kernel4    Kernel     master4    up     2026-11-23T01:54:46${"  "}
1006-  Channel ipv4
     State:          UP
     Table:          master4
     Routes:         7 imported, 5 exported, 6 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
       Import updates:              0          0          0          0          0
 ${""}
1002-Mesh_10_9_0_2 BGP        ---        up     2026-11-23T01:54:47  Established${"   "}
1006-  Description:    node-to-node mesh
   BGP state:          Established
     Neighbor address: 10.9.0.2
     Neighbor AS:      64513
     Local AS:         64512
     Neighbor ID:      1.2.3.5
     Local capabilities
       Multiprotocol
         AF announced: ipv4
     Source address:   10.9.0.1
     Hold timer:       231.248/240
   Channel ipv4
     State:          UP
     Routes:         3 imported, 2 filtered, 4 exported, 1 preferred
   Channel ipv6
     State:          DOWN
 ${""}
1002-Mesh_fe80__1 BGP        ---        start  2026-11-23 01:54:46  Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: fe80::1%eth0
     Neighbor AS:      64513
     Last error:       Socket: Connection refused
   Channel ipv6
     State:          DOWN
 ${""}
0000${" "}
`;

const BIRD1 = `2002-name     proto    table    state  since       info
1002-A        BGP      master   up     02:21:59    Established${"   "}
1006-  Preference:     100
   Routes:         1 imported, 1 exported, 1 preferred
   BGP state:          Established
     Neighbor address: 10.9.0.2
     Neighbor AS:      64512
     Neighbor ID:      1.2.3.5
 ${""}
0000${" "}
`;

describe("show protocols all", () => {
  it("of BIRD 2", () => {
    const protocols = parseProtocols(reply(BIRD2));
    expect(protocols.map(({ name, type, state }) => [name, type, state])).toEqual([
      ["device1", "Device", "up"],
      ["kernel4", "Kernel", "up"],
      ["Mesh_10_9_0_2", "BGP", "up"],
      ["Mesh_fe80__1", "BGP", "start"],
    ]);
    expect(protocols[1]).toMatchObject({
      since: "2026-11-23T01:54:46",
      sinceTime: new Date("2026-11-23T01:54:46").getTime(),
      channels: [{ name: "ipv4", state: "UP", imported: 7, filtered: 0, exported: 5, preferred: 6 }],
    });
    const [up, down] = protocols.filter(isPeer);
    expect(up).toMatchObject({
      address: "10.9.0.2",
      asn: 64513,
      localAsn: 64512,
      bgpState: "Established",
      routerId: "1.2.3.5",
      sourceAddress: "10.9.0.1",
      info: "Established",
      channels: [
        { name: "ipv4", state: "UP", imported: 3, filtered: 2, exported: 4, preferred: 1 },
        { name: "ipv6", state: "DOWN", imported: 0 },
      ],
    });
    expect(up).not.toHaveProperty("lastError");
    expect(down).toMatchObject({
      address: "fe80::1",
      since: "2026-11-23 01:54:46",
      sinceTime: new Date("2026-11-23T01:54:46").getTime(),
      bgpState: "Active",
      info: "Active Socket: Connection refused",
      lastError: "Socket: Connection refused: nothing listens on the peer's BGP port, or a firewall rejects it",
    });
  });

  it("of BIRD 1.6, whose protocols have one table and whose times lack the day", () => {
    const [peer] = parseProtocols(reply(BIRD1)).filter(isPeer);
    expect(peer).toMatchObject({
      name: "A",
      since: "02:21:59",
      bgpState: "Established",
      channels: [{ name: "main", imported: 1, exported: 1, preferred: 1 }],
    });
    expect(peer).not.toHaveProperty("sinceTime");
  });

  it("of nobody", () => {
    const lines = fc.array(
      fc.tuple(fc.constantFrom(1002, 1006, 2002, 0), fc.oneof(fc.string(), fc.constantFrom(...BIRD2.split("\n")))),
    );
    fc.assert(
      fc.property(lines, (some) => {
        const given: Reply = { code: 0, text: "", lines: some.map(([code, text]) => ({ code, text })) };
        expect(parseProtocols(given).every(({ name }) => name !== "")).toBe(true);
        parseStatus(given);
        parseRouteCount(given);
      }),
    );
  });
});

describe("show status and show route count", () => {
  it("of BIRD 2, in the middle of a graceful restart", () => {
    const text =
      "1000-BIRD 2.0.12\n1011-Router ID is 1.2.3.4\n Hostname is vm\n Last reboot on 2026-11-23 01:54:46.554\n Last reconfiguration on 2026-11-23 01:55:00.000\n" +
      "0024-Graceful restart recovery in progress\n   Waiting for 3 channels to recover\n0013 Daemon is up and running\n";
    expect(parseStatus(reply(text))).toEqual({
      version: "2.0.12",
      routerId: "1.2.3.4",
      lastReboot: "2026-11-23 01:54:46.554",
      lastReconfiguration: "2026-11-23 01:55:00.000",
      recovering: true,
      message: "Daemon is up and running",
    });
    const count =
      "1007-6 of 7 routes for 5 networks in table master4\n 0 of 0 routes for 0 networks in table master6\n0014 Total: 6 of 7 routes for 5 networks in 2 tables\n";
    expect(parseRouteCount(reply(count))).toEqual([
      { table: "master4", routes: 7, networks: 5 },
      { table: "master6", routes: 0, networks: 0 },
      { table: "total", routes: 7, networks: 5 },
    ]);
  });

  it("of BIRD 1.6", () => {
    expect(parseRouteCount(reply("0014 2 of 2 routes for 2 networks\n"))).toEqual([
      { table: "total", routes: 2, networks: 2 },
    ]);
    expect(parseStatus(reply("0013 Daemon is up and running\n"))).toEqual({
      recovering: false,
      message: "Daemon is up and running",
    });
  });
});
