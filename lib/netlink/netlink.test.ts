import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatAddress, formatCidr, parseAddress, parseCidr, parseMac } from "../ip/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import {
  addressAdd,
  addressDelete,
  addresses,
  type Change,
  IFA_F,
  linkAdd,
  linkDelete,
  linkDeleteGroup,
  linkGet,
  linkInetConf,
  linkSet,
  links,
  type Monitor,
  type Netlink,
  NetlinkError,
  neighbourDelete,
  neighbourSet,
  neighbours,
  neighbourTableSet,
  netnsId,
  openMonitor,
  openNetlink,
  pairAdd,
  qdiscs,
  type RouteInfo,
  RT_SCOPE,
  routeAdd,
  routeDelete,
  routeGet,
  routes,
  ruleAdd,
  ruleDelete,
  rules,
} from "./index.ts";

describe("netlink without root", () => {
  it("reads the loopback, and says why it may not write", () => {
    using netlink = openNetlink();
    expect(netlink.request(linkGet({ name: "lo" }))).toMatchObject({ index: 1, name: "lo" });
    expect(netlink.dump(links()).map((link) => link.name)).toContain("lo");
    expect(() => netlink.request(linkGet({ name: "there-is-none" }))).toThrow("read the link there-is-none: ENODEV");
  });
});

describeAsRoot("netlink in a namespace", () => {
  let space: TestNamespace;
  let netlink: Netlink;
  let index: number;
  beforeEach(() => {
    space = makeNamespace("calico-netlink");
    netlink = openNetlink(space.namespace);
    netlink.request(pairAdd({ kind: "veth", name: "a", peerName: "b", mac: parseMac("02:00:00:00:00:01") }));
    index = netlink.request(linkGet({ name: "a" })).index;
    netlink.execute([linkSet({ name: "a" }, { up: true }), linkSet({ name: "b" }, { up: true })]);
  });
  afterEach(() => {
    netlink.close();
    space.dispose();
  });
  const code = (action: () => unknown): string => {
    try {
      action();
    } catch (error) {
      return error instanceof NetlinkError ? error.code : String(error);
    }
    return "no error";
  };
  const text = (route: RouteInfo): string => `${route.type} ${formatCidr(route.destination)}`;

  it("changes links, and its view agrees with iproute2's", () => {
    netlink.execute([
      linkSet({ index }, { up: false }),
      linkSet(
        { index },
        { name: "renamed", mtu: 1400, mac: parseMac("02:00:00:00:00:09"), alias: "of mine", group: 9 },
      ),
    ]);
    expect(netlink.request(linkGet({ index }))).toMatchObject({
      name: "renamed",
      mtu: 1400,
      mac: "02:00:00:00:00:09",
      alias: "of mine",
      group: 9,
      up: false,
    });
    const theirs = JSON.parse(space.exec("ip", "-j", "-d", "link", "show", "renamed"))[0];
    expect(theirs).toMatchObject({
      mtu: 1400,
      ifalias: "of mine",
      group: "9",
      address: "02:00:00:00:00:09",
      linkinfo: { info_kind: "veth" },
    });
    netlink.request(linkSet({ index }, { alias: "" }));
    expect(netlink.request(linkGet({ index })).alias).toBeUndefined();
    expect(netlink.request(linkDelete({ index }))).toBeUndefined();
    expect(code(() => netlink.request(linkDelete({ index })))).toBe("ENODEV");
    expect(netlink.dump(links()).map((link) => link.name)).toEqual(["lo"]);
  });

  it("moves links between namespaces, and creates peers there at once", () => {
    using other = makeNamespace("calico-netlink");
    using there = openNetlink(other.namespace);
    netlink.request(pairAdd({ kind: "veth", name: "c", peerName: "d", peerNetnsFd: other.namespace.fd, queues: 3 }));
    const link = netlink.request(linkGet({ name: "c" }));
    const peer = there.request(linkGet({ name: "d" }));
    expect([link.peerIndex, peer.peerIndex, link.txQueues, peer.rxQueues]).toEqual([peer.index, link.index, 3, 3]);
    expect(link.peerNetnsId).toBe(netlink.request(netnsId(other.namespace.fd)));
    netlink.request(linkSet({ name: "a" }, { netnsFd: other.namespace.fd }));
    expect(
      there
        .dump(links({ kind: "veth" }))
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["a", "d"]);
  });

  it("deletes a whole group with one message, and no other link", () => {
    netlink.request(pairAdd({ kind: "veth", name: "c", peerName: "d", group: 99 }));
    netlink.request(linkSet({ name: "a" }, { group: 99 }));
    netlink.request(linkAdd({ kind: "bridge", name: "br0" }));
    netlink.request(linkDeleteGroup(99));
    expect(netlink.dump(links()).map(({ name }) => name)).toEqual(["lo", "br0"]);
    expect(["ENODEV", "ESRCH"]).toContain(code(() => netlink.request(linkDeleteGroup(99))));
  });

  it("puts links under a bridge, and finds them there", () => {
    netlink.request(linkAdd({ kind: "bridge", name: "br0", up: true, mtu: 1400 }));
    const bridge = netlink.request(linkGet({ name: "br0" }));
    netlink.request(linkSet({ name: "b" }, { master: bridge.index }));
    expect(netlink.dump(links({ master: bridge.index })).map(({ name }) => name)).toEqual(["b"]);
    expect(netlink.dump(links({ kind: "bridge" })).map(({ name, up }) => `${name} ${up}`)).toEqual(["br0 true"]);
    netlink.request(linkSet({ name: "b" }, { master: 0 }));
    expect(netlink.dump(links({ master: bridge.index }))).toEqual([]);
  });

  it("sets IPv4 settings and the proxy delay without touching /proc/sys, where they then stand", () => {
    netlink.execute([
      linkSet(
        { index },
        { inetConf: { forwarding: 1, proxy_arp: 1, route_localnet: 1, rp_filter: 2, accept_local: 1 } },
      ),
      neighbourTableSet(index, 4, { proxyDelay: 0 }),
      neighbourTableSet(index, 6, { proxyDelay: 10 }),
    ]);
    expect(netlink.request(linkInetConf({ index }))).toEqual({
      forwarding: 1,
      proxy_arp: 1,
      route_localnet: 1,
      rp_filter: 2,
      accept_local: 1,
    });
    for (const [name, value] of Object.entries({
      forwarding: 1,
      proxy_arp: 1,
      route_localnet: 1,
      rp_filter: 2,
      accept_local: 1,
    })) {
      expect(`${name} ${space.exec("cat", `/proc/sys/net/ipv4/conf/a/${name}`).trim()}`).toBe(`${name} ${value}`);
    }
    expect(space.exec("cat", "/proc/sys/net/ipv4/neigh/a/proxy_delay").trim()).toBe("0");
    expect(space.exec("cat", "/proc/sys/net/ipv6/neigh/a/proxy_delay").trim()).toBe("1"); // in hundredths of a second
    expect(code(() => netlink.request(neighbourTableSet(4711, 4, { proxyDelay: 0 })))).toBe("ENOENT");
  });

  it("adds and removes addresses, without duplicate detection where asked", () => {
    const v4 = { index, address: parseAddress("10.1.2.3"), length: 24 };
    const v6 = { index, address: parseAddress("fd00::3"), length: 64, flags: IFA_F.NODAD };
    netlink.execute([addressAdd(v4), addressAdd(v6)]);
    const found = netlink.dump(addresses({ index })).filter((info) => info.scope === 0);
    expect(
      found.map((info) => `${formatAddress(info.address)}/${info.length} ${info.flags & IFA_F.TENTATIVE}`),
    ).toEqual(["10.1.2.3/24 0", "fd00::3/64 0"]);
    expect(netlink.dump(addresses({ version: 6 })).every((info) => info.address.version === 6)).toBe(true);
    expect(code(() => netlink.request(addressAdd(v4)))).toBe("EEXIST");
    netlink.execute([addressDelete(v4), addressDelete(v6)]);
    expect(code(() => netlink.request(addressDelete(v4)))).toBe("EADDRNOTAVAIL");
  });

  it("adds, replaces, finds and removes routes of every kind", () => {
    netlink.execute([
      addressAdd({ index, address: parseAddress("10.1.2.3"), length: 24 }),
      addressAdd({ index, address: parseAddress("fd00:1::3"), length: 64, flags: IFA_F.NODAD }),
      routeAdd({ destination: parseCidr("10.9.0.1/32"), index, scope: RT_SCOPE.LINK }),
      routeAdd({ destination: parseCidr("10.9.1.0/26"), type: "blackhole", protocol: 80 }),
      routeAdd({
        destination: parseCidr("10.9.2.0/24"),
        gateway: parseAddress("10.1.2.9"),
        protocol: 12,
        metric: 7,
        table: 1000,
      }),
      routeAdd({
        destination: parseCidr("10.9.3.0/24"),
        gateway: parseAddress("192.0.2.1"),
        index,
        onlink: true,
        mtu: 1300,
      }),
      routeAdd({ destination: parseCidr("10.9.4.0/24"), gateway: parseAddress("fd00:1::9"), index }),
      routeAdd({
        destination: parseCidr("10.9.5.0/24"),
        nextHops: [
          { gateway: parseAddress("10.1.2.8"), index, weight: 2 },
          { gateway: parseAddress("10.1.2.9"), index },
        ],
      }),
      routeAdd({ destination: parseCidr("fd00:9::/64"), gateway: parseAddress("fd00:1::9"), index, metric: 512 }),
      routeAdd({ destination: parseCidr("fd00:a::/122"), type: "blackhole", protocol: 80 }),
      routeAdd({
        destination: parseCidr("fd00:b::/64"),
        nextHops: [
          { gateway: parseAddress("fd00:1::8"), index },
          { gateway: parseAddress("fd00:1::9"), index },
        ],
      }),
      routeAdd({ destination: parseCidr("0.0.0.0/0"), gateway: parseAddress("10.1.2.9") }),
    ]);
    const lines = (...args: string[]) =>
      space
        .exec("ip", ...args)
        .trim()
        .split("\n")
        .map((line) => line.trim().replaceAll(/\s+/g, " "));
    expect(lines("-4", "route", "show", "table", "all")).toEqual(
      expect.arrayContaining([
        "default via 10.1.2.9 dev a",
        "10.9.0.1 dev a scope link",
        "blackhole 10.9.1.0/26 proto 80",
        "10.9.2.0/24 via 10.1.2.9 dev a table 1000 proto bird metric 7",
        "10.9.3.0/24 via 192.0.2.1 dev a onlink mtu 1300",
        "10.9.4.0/24 via inet6 fd00:1::9 dev a",
        "nexthop via 10.1.2.8 dev a weight 2",
      ]),
    );
    expect(netlink.dump(routes({ version: 4, protocol: 80 })).map(text)).toEqual(["blackhole 10.9.1.0/26"]);
    expect(netlink.dump(routes({ version: 6, type: "blackhole" })).map(text)).toEqual(["blackhole fd00:a::/122"]);
    expect(netlink.dump(routes({ table: 1000 }))).toMatchObject([{ metric: 7, protocol: 12, table: 1000, index }]);
    const multipath = netlink
      .dump(routes({ version: 6, index, table: 254 }))
      .find((route) => formatCidr(route.destination) === "fd00:b::/64");
    expect(multipath?.nextHops?.map((hop) => formatAddress(hop.gateway!))).toEqual(["fd00:1::8", "fd00:1::9"]);
    expect(netlink.request(routeGet(parseAddress("10.9.0.1")))).toMatchObject({ index });
    expect(code(() => netlink.request(routeGet(parseAddress("10.9.1.1"))))).toBe("EINVAL"); // what a blackhole answers
    expect(code(() => netlink.request(routeAdd({ destination: parseCidr("10.9.1.0/26"), type: "blackhole" })))).toBe(
      "EEXIST",
    );
    netlink.request(routeAdd({ destination: parseCidr("10.9.1.0/26"), index, scope: RT_SCOPE.LINK }, "replace"));
    netlink.execute(netlink.dump(routes({ table: 1000 })).map((route) => routeDelete(route)));
    netlink.request(routeDelete({ destination: parseCidr("10.9.1.0/26") }));
    expect(code(() => netlink.request(routeDelete({ destination: parseCidr("10.9.1.0/26") })))).toBe("ESRCH");
    expect(netlink.dump(routes({ table: 1000 }))).toEqual([]);
  });

  it("says what it attempted on which object, and what the kernel says to it", () => {
    const gateway = parseAddress("192.0.2.1");
    expect(() => netlink.request(routeAdd({ destination: parseCidr("10.0.0.0/24"), gateway, table: 7 }))).toThrow(
      "add the route 10.0.0.0/24 via 192.0.2.1 in table 7: ENETUNREACH (Nexthop has invalid gateway)",
    );
    expect(() => netlink.request(pairAdd({ kind: "veth", name: "a", peerName: "x" }))).toThrow(
      "create the veth pair a and x: EEXIST",
    );
    expect(() => netlink.request(linkAdd({ kind: "nonesuch", name: "x" }))).toThrow(
      /create the nonesuch link x: EOPNOTSUPP \(.+\)/,
    );
  });

  it("works through a batch in order, goes on after errors, and tells of each", () => {
    const route = (text: string) => routeAdd({ destination: parseCidr(text), type: "blackhole" });
    const results = netlink.batch([
      route("10.0.0.0/24"),
      route("10.0.0.0/24"),
      linkGet({ name: "a" }),
      linkGet({ name: "none" }),
      route("10.0.1.0/24"),
    ]);
    expect(results.map(({ error, reply }) => error?.code ?? (reply ? "reply" : "done"))).toEqual([
      "done",
      "EEXIST",
      "reply",
      "ENODEV",
      "done",
    ]);
    expect(() => netlink.execute([route("10.0.0.0/24"), route("10.0.2.0/24")])).toThrow("EEXIST");
    expect(netlink.dump(routes({ type: "blackhole" }))).toHaveLength(3);
    expect(netlink.batch([])).toEqual([]);
  });

  it("takes more requests than one datagram carries, and tables of many datagrams", () => {
    const many = Array.from({ length: 3000 }, (_, i) =>
      routeAdd({ destination: parseCidr(`10.${10 + (i >> 8)}.${i & 255}.0/24`), type: "blackhole", protocol: 80 }),
    );
    netlink.execute(many);
    expect(netlink.dump(routes({ protocol: 80 }))).toHaveLength(3000);
    const again = netlink.batch(many);
    expect(again.every((result) => result.error?.code === "EEXIST")).toBe(true);
    expect(netlink.request(linkGet({ index })).name).toBe("a");
  });

  it("reads a table piece by piece, as a whole", () => {
    const many = Array.from({ length: 2000 }, (_, i) =>
      routeAdd({ destination: parseCidr(`10.${10 + (i >> 8)}.${i & 255}.0/24`), type: "blackhole" }),
    );
    netlink.execute(many);
    const pieces = netlink.pieces(routes({ version: 4, table: 254, type: "blackhole" }));
    const found: string[] = [];
    let count = 0;
    for (let piece = pieces.next(); ; piece = pieces.next()) {
      if (piece.done) {
        expect(piece.value).toBe(true);
        break;
      }
      count++;
      for (const { destination } of piece.value) found.push(formatCidr(destination));
    }
    expect(count).toBeGreaterThan(2);
    expect(new Set(found).size).toBe(2000);
    expect(netlink.dump(routes({ version: 4, table: 254, type: "blackhole" }))).toHaveLength(2000);
  });

  it("tells the other end of a point-to-point link, and which of several next hops is dead", () => {
    space.exec("ip", "addr", "add", "10.8.0.1", "peer", "10.8.0.2/32", "dev", "a");
    space.exec("ip", "addr", "add", "10.7.0.1/24", "dev", "b");
    const [address] = netlink.dump(addresses({ index, version: 4 }));
    expect([formatAddress(address!.address), formatAddress(address!.peer!)]).toEqual(["10.8.0.1", "10.8.0.2"]);
    space.exec(
      "ip",
      "route",
      "add",
      "10.9.0.0/24",
      "nexthop",
      "via",
      "10.8.0.2",
      "dev",
      "a",
      "nexthop",
      "via",
      "10.7.0.2",
    );
    space.exec("ip", "link", "set", "dev", "b", "down");
    const route = netlink.dump(routes({ version: 4 })).find((each) => formatCidr(each.destination) === "10.9.0.0/24");
    expect(route?.nextHops?.map(({ dead }) => dead ?? false)).toEqual([false, true]);
  });

  it("manages neighbours and proxies", () => {
    const address = parseAddress("10.1.2.1");
    netlink.execute([
      neighbourSet({ index, address, mac: parseMac("02:00:00:00:00:02") }),
      neighbourSet({ index, address: parseAddress("fd00::1"), mac: parseMac("02:00:00:00:00:03") }),
      neighbourSet({ index, address: parseAddress("10.1.2.9"), proxy: true }),
    ]);
    const permanent = netlink.dump(neighbours({ index, version: 4 })).filter((each) => each.state === 0x80);
    expect(permanent).toEqual([
      { index, address, mac: "02:00:00:00:00:02", state: 0x80, proxy: false, forwarding: false },
    ]);
    expect(netlink.dump(neighbours({ index, proxy: true })).map((each) => formatAddress(each.address!))).toEqual([
      "10.1.2.9",
    ]);
    netlink.execute([
      neighbourDelete({ index, address }),
      neighbourDelete({ index, address: parseAddress("10.1.2.9"), proxy: true }),
    ]);
    expect(netlink.dump(neighbours({ index, proxy: true }))).toEqual([]);
    expect(
      code(() => netlink.request(neighbourDelete({ index, address: parseAddress("10.1.2.9"), proxy: true }))),
    ).toBe("ENOENT");
  });

  it("manages rules and lists qdiscs", () => {
    const rule = { version: 4 as const, priority: 99, table: 1000, mark: 0x10, mask: 0xf0, protocol: 80 };
    netlink.execute([
      ruleAdd(rule),
      ruleAdd({ version: 6, priority: 100, action: "blackhole", from: parseCidr("fd00:dead::/32") }),
    ]);
    const found = netlink.dump(rules()).filter(({ priority }) => priority === 99 || priority === 100);
    expect(found).toMatchObject([
      { ...rule, action: "table" },
      { version: 6, action: "blackhole" },
    ]);
    expect(netlink.dump(rules({ version: 6 })).some((each) => each.version === 4)).toBe(false);
    expect(code(() => netlink.request(ruleAdd(rule)))).toBe("EEXIST");
    netlink.request(ruleDelete(rule));
    expect(code(() => netlink.request(ruleDelete(rule)))).toBe("ENOENT");
    space.exec("tc", "qdisc", "add", "dev", "a", "clsact");
    expect(
      netlink
        .dump(qdiscs({ index }))
        .map(({ kind }) => kind)
        .sort(),
    ).toEqual(["clsact", "noqueue"]);
  });
});

describeAsRoot("a monitor", () => {
  let space: TestNamespace;
  let monitor: Monitor | undefined;
  beforeEach(() => {
    space = makeNamespace("calico-netlink");
  });
  afterEach(() => {
    monitor?.close();
    monitor = undefined;
    space.dispose();
  });
  const until = async (condition: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !condition(); ) {
      if (Date.now() > deadline) throw new Error("it did not happen within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const watchAll = (changes: Change[], receiveBuffer?: number): Monitor =>
    openMonitor({
      watch: ["links", "addresses", "routes", "neighbours", "rules"],
      namespace: space.namespace,
      onChange: (change) => changes.push(change),
      onError: (error) => {
        throw error;
      },
      ...(receiveBuffer !== undefined && { receiveBuffer }),
    });

  it("tells of links, addresses, routes, neighbours and rules as they come and go", async () => {
    const changes: Change[] = [];
    monitor = watchAll(changes);
    for (const line of [
      "link add va type veth peer name vb",
      "link set va up",
      "addr add 10.1.2.3/24 dev va",
      "route add blackhole 10.9.0.0/24",
      "neigh add 10.1.2.1 lladdr 02:00:00:00:00:02 dev va",
      "rule add priority 99 table 99",
      "rule del priority 99",
      "neigh del 10.1.2.1 dev va",
      "route del blackhole 10.9.0.0/24",
      "addr del 10.1.2.3/24 dev va",
      "link del va",
    ]) {
      space.exec("ip", ...line.split(" "));
    }
    const seen = (kind: Change["kind"], event: string): boolean =>
      changes.some((change) => change.kind === kind && "event" in change && change.event === event);
    await until(() => seen("link", "deleted"));
    for (const kind of ["link", "address", "route", "neighbour", "rule"] as const) {
      expect([kind, seen(kind, "new"), kind === "neighbour" || seen(kind, "deleted")]).toEqual([kind, true, true]);
    }
    expect(changes.some((change) => change.kind === "resync")).toBe(false);
  });

  it("asks for a resync when changes came faster than they were read, and then goes on", async () => {
    const changes: Change[] = [];
    monitor = watchAll(changes, 8192);
    using netlink = openNetlink(space.namespace);
    const many = Array.from({ length: 2000 }, (_, i) =>
      routeAdd({ destination: parseCidr(`10.${10 + (i >> 8)}.${i & 255}.0/24`), type: "blackhole" }),
    );
    netlink.execute(many); // all within one turn of the event loop: nothing is read meanwhile
    await until(() => changes.some((change) => change.kind === "resync"));
    changes.length = 0;
    netlink.request(routeAdd({ destination: parseCidr("10.200.0.0/24"), type: "blackhole" }));
    await until(() =>
      changes.some((change) => change.kind === "route" && formatCidr(change.route.destination) === "10.200.0.0/24"),
    );
  });

  it("leaves out what one socket does, tells of what others do, and whether it took another's place", async () => {
    using own = openNetlink(space.namespace);
    expect(own.port).toBe(0);
    own.dump(links());
    expect(own.port).not.toBe(0);
    const told: string[] = [];
    monitor = openMonitor({
      watch: ["routes"],
      namespace: space.namespace,
      exceptPort: own.port,
      onError: (error) => {
        throw error;
      },
      onChange: (change) => {
        if (change.kind !== "route") return;
        told.push(`${change.event}${change.replaces ? " instead" : ""} ${formatCidr(change.route.destination)}`);
      },
    });
    own.execute([
      routeAdd({ destination: parseCidr("10.1.0.0/24"), type: "blackhole" }),
      routeAdd({ destination: parseCidr("fd01::/64"), type: "blackhole" }),
    ]);
    space.exec("ip", "route", "add", "blackhole", "10.2.0.0/24");
    space.exec("ip", "route", "replace", "unreachable", "10.1.0.0/24");
    own.request(routeDelete({ destination: parseCidr("10.1.0.0/24"), type: "unspec" }));
    space.exec("ip", "-6", "route", "del", "blackhole", "fd01::/64");
    await until(() => told.length >= 3);
    expect(told).toEqual(["new 10.2.0.0/24", "new instead 10.1.0.0/24", "deleted fd01::/64"]);
  });

  it("says nothing more once it is closed", async () => {
    const changes: Change[] = [];
    monitor = watchAll(changes);
    space.exec("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb");
    await until(() => changes.length > 0);
    monitor.close();
    const count = changes.length;
    space.exec("ip", "link", "del", "va");
    const other: Change[] = [];
    monitor = watchAll(other);
    space.exec("ip", "link", "set", "lo", "up");
    await until(() => other.length > 0);
    expect(changes).toHaveLength(count);
  });
});
