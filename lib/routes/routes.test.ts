import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatAddress, formatCidr, parseAddress } from "../ip/index.ts";
import { linkSet, type Netlink, openMonitor, openNetlink, pairAdd } from "../netlink/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import {
  applySysctls,
  type InterfaceChange,
  type Interfaces,
  nodeSysctls,
  openInterfaces,
  openWorkloadRoutes,
  openWorkloadSysctls,
  type RoutesApplied,
  type SysctlsApplied,
  type WorkloadRoutes,
  type WorkloadRoutesOptions,
  workloadSysctls,
} from "./index.ts";

const until = async (condition: () => boolean, what: () => string = () => ""): Promise<void> => {
  for (const deadline = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`it did not happen within 20 s: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

describeAsRoot("the node's interfaces", () => {
  let node: TestNamespace;
  let interfaces: Interfaces;
  let changes: string[];
  const start = (receiveBuffer?: number): void => {
    interfaces = openInterfaces({
      namespace: node.namespace,
      onError: (error) => {
        throw error;
      },
      ...(receiveBuffer !== undefined && { receiveBuffer }),
    });
    interfaces.onChange((change: InterfaceChange) =>
      changes.push(
        change.event === "resync"
          ? "resync"
          : `${change.event} ${change.interface.name} ${change.interface.up ? "up" : "down"}`,
      ),
    );
  };
  beforeEach(() => {
    node = makeNamespace("calico-routes");
    changes = [];
  });
  afterEach(() => {
    interfaces.close();
    node.dispose();
  });
  const ip = (line: string): string => node.exec("ip", ...line.split(" "));

  it("are listed with their addresses at once, and followed as they come, change and go", async () => {
    ip("link add va type veth peer name vb");
    ip("addr add 10.1.2.3/24 dev va");
    start();
    expect([...interfaces.all].map(({ name, up }) => `${name} ${up}`).sort()).toEqual([
      "lo false",
      "va false",
      "vb false",
    ]);
    expect(interfaces.byName("va")?.addresses).toEqual(new Set(["10.1.2.3"]));
    ip("link set va up");
    ip("link set vb up");
    await until(
      () => interfaces.byName("va")?.up === true,
      () => changes.join(),
    );
    expect(changes[0]).toBe("changed va down"); // enabled, but there is no carrier yet
    ip("addr add 10.1.2.4/24 dev va");
    ip("addr add fd00::1/64 dev va nodad");
    await until(() => interfaces.byName("va")?.addresses.has("fd00::1") === true);
    expect(interfaces.byName("va")?.addresses.has("10.1.2.4")).toBe(true);
    ip("addr del 10.1.2.3/24 dev va");
    await until(() => interfaces.byName("va")?.addresses.has("10.1.2.3") === false);
    changes.length = 0;
    ip("link set vb down");
    await until(() => changes.includes("changed va down"));
    ip("link set vb name vc");
    await until(() => interfaces.byName("vc") !== undefined);
    expect(interfaces.byName("vb")).toBeUndefined();
    expect(changes).toEqual(expect.arrayContaining(["removed vb down", "new vc down"]));
    const index = interfaces.byName("va")?.index ?? 0;
    ip("link del va");
    // The other end goes with it, and the kernel tells of each.
    await until(() => interfaces.byName("va") === undefined && interfaces.byName("vc") === undefined);
    expect([interfaces.byIndex(index), changes.at(-1)?.startsWith("removed")]).toEqual([undefined, true]);
    expect([...interfaces.all].map(({ name }) => name)).toEqual(["lo"]);
  });

  it("are listed anew when events were lost, and every difference is told", async () => {
    ip("link add va type veth peer name vb");
    start(8192);
    using netlink = openNetlink(node.namespace);
    netlink.execute([
      ...Array.from({ length: 100 }, (_, i) => pairAdd({ kind: "veth" as const, name: `x${i}`, peerName: `y${i}` })),
      linkSet({ name: "va" }, { up: true }),
    ]);
    ip("link del x5");
    await until(() => changes.includes("resync"));
    expect([...interfaces.all]).toHaveLength(201);
    expect(interfaces.byName("x5")).toBeUndefined();
    expect(interfaces.byName("va")?.enabled).toBe(true);
    expect(changes.filter((each) => each === "new x99 down")).toHaveLength(1);
    ip("link set vb up");
    await until(() => interfaces.byName("va")?.up === true);
  });
});

describeAsRoot("routes to workloads", () => {
  let node: TestNamespace;
  let interfaces: Interfaces;
  let routes: WorkloadRoutes;
  let netlink: Netlink;
  let reports: RoutesApplied[];
  let flushed: string[];
  beforeEach(() => {
    node = makeNamespace("calico-routes");
    netlink = openNetlink(node.namespace);
    reports = [];
    flushed = [];
    interfaces = openInterfaces({ namespace: node.namespace, onError: fail });
  });
  afterEach(() => {
    routes?.close();
    interfaces.close();
    netlink.close();
    node.dispose();
  });
  const fail = (error: Error): void => {
    throw error;
  };
  const start = (more: Partial<WorkloadRoutesOptions> = {}): void => {
    routes = openWorkloadRoutes({
      interfaces,
      prefixes: ["cali"],
      ipv6: true,
      namespace: node.namespace,
      gracePeriod: 0,
      flush: (addresses) => flushed.push(...addresses.map(formatAddress)),
      onApplied: (applied) => reports.push(applied),
      onError: fail,
      ...more,
    });
  };
  const ip = (line: string): string => node.exec("ip", ...line.split(" "));
  const pod = (name: string, up = true): void => {
    ip(`link add ${name} type veth peer name p${name}`);
    if (up) for (const end of [name, `p${name}`]) ip(`link set ${end} up`);
  };
  const known = (name: string): Promise<void> => until(() => interfaces.byName(name)?.up === true);
  const shown = (...more: string[]): string[] =>
    [4, 6].flatMap((version) =>
      node
        .exec("ip", `-${version}`, "route", "show", "table", "main", ...more)
        .split("\n")
        .map((line) =>
          line
            .trim()
            .replaceAll(/\s+/g, " ")
            .replace(/ (linkdown|pref medium)/g, ""),
        )
        .filter((line) => line !== "" && !line.startsWith("fe80::/64")),
    );
  const settled = async (expected: string[]): Promise<void> => {
    await until(
      () => JSON.stringify(shown().sort()) === JSON.stringify([...expected].sort()),
      () => `${shown().join("; ")} reports ${JSON.stringify(reports)}`,
    );
  };

  it("are programmed as upstream's, changed by their difference, and removed", async () => {
    pod("cali1");
    await known("cali1");
    start();
    expect(routes.set("cali1", { cidrs: ["10.65.0.2/32", "fd00::2/128", "no cidr"] })).toEqual(["no cidr"]);
    const first = routes.apply();
    expect(first).toMatchObject({ failed: [], deleted: [], compared: true });
    expect(first.added).toHaveLength(2);
    expect(shown()).toEqual(["10.65.0.2 dev cali1 scope link metric 1024", "fd00::2 dev cali1 metric 1024"]);
    const protocols = JSON.parse(node.exec("ip", "-j", "-d", "route", "show", "10.65.0.2"))[0].protocol;
    expect(protocols).toBe("boot");
    expect(routes.apply()).toEqual({ added: [], deleted: [], failed: [], compared: false });
    routes.set("cali1", { cidrs: ["10.65.0.2/32", "10.65.0.3/32"], metric: 512 });
    const second = routes.apply();
    expect([second.added.length, second.deleted.length]).toEqual([2, 2]);
    expect(shown()).toEqual(["10.65.0.2 dev cali1 scope link metric 512", "10.65.0.3 dev cali1 scope link metric 512"]);
    expect(flushed).toEqual(["fd00::2"]); // 10.65.0.2 stayed where it is
    expect(routes.counts).toEqual({ routes: 2, interfaces: 1 });
    routes.remove("cali1");
    expect(routes.apply().deleted).toHaveLength(2);
    expect(shown()).toEqual([]);
    expect(flushed.sort()).toEqual(["10.65.0.2", "10.65.0.3", "fd00::2"]);
  });

  it("carry the configured protocol, metrics and source addresses", async () => {
    ip("link set lo up");
    ip("addr add 192.0.2.7/32 dev lo");
    ip("addr add fd00:7::7/128 dev lo");
    pod("cali1");
    await known("cali1");
    start({
      protocol: 80,
      metrics: { v4: 77, v6: 88 },
      sources: { v4: parseAddress("192.0.2.7"), v6: parseAddress("fd00:7::7") },
    });
    routes.set("cali1", { cidrs: ["10.65.0.2/32", "fd00::2/128"] });
    expect(routes.apply().failed).toEqual([]);
    expect(shown("dev", "cali1")).toEqual([
      "10.65.0.2 proto 80 scope link src 192.0.2.7 metric 77",
      "fd00::2 proto 80 src fd00:7::7 metric 88",
    ]);
    expect(routes.apply().added).toEqual([]);
    routes.recheck();
    expect(routes.apply()).toEqual({ added: [], deleted: [], failed: [], compared: true });
  });

  it("come back at once when somebody deletes, changes, or replaces them by another interface", async () => {
    pod("cali1");
    pod("cali2");
    pod("eth0");
    for (const name of ["cali1", "cali2", "eth0"]) await known(name);
    start();
    routes.set("cali1", { cidrs: ["10.65.0.2/32", "fd00::2/128"] });
    routes.apply();
    const wanted = ["10.65.0.2 dev cali1 scope link metric 1024", "fd00::2 dev cali1 metric 1024"];
    for (const line of [
      "route del 10.65.0.2 dev cali1",
      "-6 route del fd00::2 dev cali1",
      "route replace 10.65.0.2 dev cali1 metric 1024 proto static",
      "route replace 10.65.0.2 dev cali2 metric 1024",
      "route replace 10.65.0.2 dev eth0 metric 1024",
      "-6 route replace fd00::2 dev eth0 metric 1024",
      "route add 10.65.0.9 dev cali1",
      "route add 10.65.0.2 dev cali1 metric 5",
      "-6 route add fd00::9 dev cali2 metric 5",
      "route flush dev cali1",
    ]) {
      reports.length = 0;
      ip(line);
      await settled(wanted);
      await until(() => reports.length > 0);
    }
    expect(reports.every(({ failed }) => failed.length === 0)).toBe(true);
    expect(flushed).not.toContain("fd00::2");
  });

  it("of others on our interfaces stay where the configuration says so, and elsewhere always", async () => {
    pod("cali1");
    pod("eth0");
    for (const name of ["cali1", "eth0"]) await known(name);
    const others = [
      "10.8.0.0/24 dev cali1 proto static scope link",
      "10.9.0.1 dev eth0 scope link",
      "blackhole 10.7.0.0/26 proto bird",
    ];
    ip("route add 10.8.0.0/24 dev cali1 proto static");
    ip("route add 10.9.0.1 dev eth0");
    ip("route add blackhole 10.7.0.0/26 proto bird");
    ip("route add 10.9.0.3 dev cali1");
    start({ removeExternal: false });
    expect(routes.apply().deleted).toHaveLength(1);
    await settled(others);
    routes.close();
    start();
    expect(routes.apply().deleted).toHaveLength(1);
    await settled(others.slice(1));
    routes.close();
    ip("route add 10.8.0.0/24 dev cali1 proto bird");
    start({ isBgpPeer: (name) => name === "cali1" });
    expect(routes.apply().deleted).toEqual([]);
  });

  it("are taken over: right ones untouched, the plugin's exchanged without a gap, stale ones deleted after the grace period", async () => {
    for (const name of ["cali1", "cali2", "cali3"]) pod(name);
    for (const name of ["cali1", "cali2", "cali3"]) await known(name);
    ip("route add 10.65.0.1 dev cali1 scope link metric 1024");
    ip("route add 10.65.0.2 dev cali2 scope link"); // as the plugin makes it
    ip("route add 10.65.0.3 dev cali3 scope link metric 1024");
    const told: string[] = [];
    using monitor = openMonitor({
      watch: ["routes"],
      namespace: node.namespace,
      onChange: (change) => {
        if (change.kind === "route")
          told.push(`${change.event} ${formatCidr(change.route.destination)} ${change.route.metric}`);
      },
      onError: fail,
    });
    start({ gracePeriod: 300 });
    routes.set("cali1", { cidrs: ["10.65.0.1/32"] });
    routes.set("cali2", { cidrs: ["10.65.0.2/32"] });
    const first = routes.apply();
    expect(first.added).toEqual([expect.stringContaining("10.65.0.2/32")]);
    expect(first.deleted).toEqual([expect.stringContaining("10.65.0.2/32")]);
    expect(shown()).toContain("10.65.0.3 dev cali3 scope link metric 1024");
    await settled(["10.65.0.1 dev cali1 scope link metric 1024", "10.65.0.2 dev cali2 scope link metric 1024"]);
    expect(reports.flatMap(({ deleted }) => deleted)).toEqual([expect.stringContaining("10.65.0.3/32")]);
    expect(flushed).toEqual(["10.65.0.3"]);
    await until(() => told.length === 3);
    monitor.close();
    expect(told).toEqual(["new 10.65.0.2/32 1024", "deleted 10.65.0.2/32 0", "deleted 10.65.0.3/32 1024"]);
  });

  it("of the plugin stay while the pod's end of a new interface is not up yet", async () => {
    start({ gracePeriod: 60_000 });
    routes.apply();
    pod("cali1", false);
    ip("link set cali1 up");
    for (const destination of ["10.65.0.2", "10.65.0.3", "fd00::2"]) ip(`route add ${destination} dev cali1`);
    await until(() => interfaces.byName("cali1")?.enabled === true);
    const told: string[] = [];
    using monitor = openMonitor({
      watch: ["routes"],
      namespace: node.namespace,
      onChange: (change) => {
        if (change.kind === "route")
          told.push(`${change.event} ${formatCidr(change.route.destination)} ${change.route.metric}`);
      },
      onError: fail,
    });
    routes.set("cali1", { cidrs: ["10.65.0.2/32", "fd00::2/128"] });
    // What is not the endpoint's is not waited for.
    expect(routes.apply()).toMatchObject({ added: [], deleted: [expect.stringContaining("10.65.0.3/32")] });
    ip("link set pcali1 up");
    await settled(["10.65.0.2 dev cali1 scope link metric 1024", "fd00::2 dev cali1 metric 1024"]);
    ip("link set pcali1 down"); // once it was up, it is waited for no more
    await settled([]);
    await until(() => ["10.65.0.2/32", "fd00::2/128"].every((each) => told.includes(`deleted ${each} 1024`)));
    monitor.close();
    const of = (address: string): string[] => told.filter((each) => each.includes(address));
    expect(of("10.65.0.2")).toEqual(["new 10.65.0.2/32 1024", "deleted 10.65.0.2/32 0", "deleted 10.65.0.2/32 1024"]);
    expect(of("fd00::2").filter((each) => each.startsWith("deleted"))).toHaveLength(1);
  });

  it("of the plugin go at once where another interface that is up gets the address", async () => {
    start({ gracePeriod: 60_000 });
    routes.apply();
    pod("cali1", false);
    ip("link set cali1 up");
    ip("route add 10.65.0.2 dev cali1");
    await until(() => interfaces.byName("cali1")?.enabled === true);
    routes.set("cali1", { cidrs: ["10.65.0.2/32"] });
    routes.apply();
    expect(shown()).toContain("10.65.0.2 dev cali1 scope link");
    pod("cali2");
    await known("cali2");
    routes.set("cali2", { cidrs: ["10.65.0.2/32"] });
    routes.apply();
    await settled(["10.65.0.2 dev cali2 scope link metric 1024"]);
  });

  it("are not touched before the first apply, whatever happens: nobody has said yet what is wanted", async () => {
    pod("cali1");
    await known("cali1");
    ip("route add 10.65.0.1 dev cali1 scope link metric 1024");
    start();
    routes.set("cali1", { cidrs: ["10.65.0.9/32"] });
    const told: string[] = [];
    using monitor = openMonitor({
      watch: ["links", "routes"],
      namespace: node.namespace,
      onChange: (change) => told.push(change.kind),
      onError: fail,
    });
    pod("cali2");
    ip("route add 10.65.0.2 dev cali2 scope link");
    ip("route del 10.65.0.2 dev cali2");
    ip("route add 10.65.0.2 dev cali2 scope link");
    await until(() => told.filter((kind) => kind === "route").length >= 3);
    monitor.close();
    await known("cali2");
    await new Promise((resolve) => setTimeout(resolve, 1)); // timers fire in order: what an event had put off has run
    expect(shown()).toEqual(["10.65.0.1 dev cali1 scope link metric 1024", "10.65.0.2 dev cali2 scope link"]);
    routes.apply();
    await settled(["10.65.0.9 dev cali1 scope link metric 1024"]);
  });

  it("wait for their interface: absent, down, up, down, up, gone, and there again", async () => {
    start();
    routes.set("cali1", { cidrs: ["10.65.0.1/32", "fd00::1/128"] });
    expect(routes.apply()).toMatchObject({ added: [], failed: [] });
    expect(routes.pending).toEqual(["cali1"]);
    const wanted = ["10.65.0.1 dev cali1 scope link metric 1024", "fd00::1 dev cali1 metric 1024"];
    pod("cali1", false);
    await until(() => interfaces.byName("cali1") !== undefined);
    expect(shown()).toEqual([]);
    ip("link set pcali1 up");
    ip("link set cali1 up");
    await settled(wanted);
    expect([routes.pending, flushed]).toEqual([[], []]);
    ip("link set cali1 down");
    await until(() => flushed.length === 2);
    expect(shown()).toEqual([]);
    ip("link set cali1 up");
    await settled(wanted);
    flushed.length = 0;
    ip("link set pcali1 down"); // only the carrier goes: the kernel would keep the routes
    await settled([]);
    ip("link set pcali1 up");
    await settled(wanted);
    flushed.length = 0;
    ip("link del cali1");
    await until(() => flushed.length === 2);
    pod("cali1");
    await settled(wanted);
    expect(reports.flatMap(({ failed }) => failed)).toEqual([]);
  });

  it("of one address that two interfaces claim go to the newest that is up, and back", async () => {
    for (const name of ["cali1", "cali2"]) {
      pod(name);
      await known(name);
    }
    start();
    routes.set("cali2", { cidrs: ["10.65.0.1/32"] });
    routes.apply();
    routes.set("cali1", { cidrs: ["10.65.0.1/32"] });
    expect(routes.apply()).toMatchObject({ added: [], deleted: [] });
    expect(shown()).toEqual(["10.65.0.1 dev cali2 scope link metric 1024"]);
    ip("link set cali2 down");
    await settled(["10.65.0.1 dev cali1 scope link metric 1024"]);
    expect(flushed).toEqual(["10.65.0.1"]);
    ip("link set cali2 up");
    await settled(["10.65.0.1 dev cali2 scope link metric 1024"]);
    routes.remove("cali2");
    routes.apply();
    expect(shown()).toEqual(["10.65.0.1 dev cali1 scope link metric 1024"]);
    expect(flushed).toHaveLength(3);
  });

  it("tell what the kernel refused, and try again", async () => {
    pod("cali1");
    await known("cali1");
    start({ sources: { v4: parseAddress("192.0.2.7") } });
    routes.set("cali1", { cidrs: ["10.65.0.1/32", "fd00::1/128"] });
    const refused = routes.apply();
    expect(refused.added).toHaveLength(1);
    expect(refused.failed.map(({ message }) => message)).toEqual([
      expect.stringMatching(/set the route 10\.65\.0\.1\/32 .*: EINVAL/),
    ]);
    ip("addr add 192.0.2.7/32 dev lo");
    expect(routes.apply()).toMatchObject({ failed: [], added: [expect.stringContaining("10.65.0.1/32")] });
  });

  it("are put right for 1,000 interfaces, also after so many events that some were lost", async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `cali${i}`);
    start({ receiveBuffer: 16_384 });
    netlink.execute(names.map((name) => pairAdd({ kind: "veth", name, peerName: `p${name}` })));
    netlink.execute(
      names.flatMap((name) => [linkSet({ name }, { up: true }), linkSet({ name: `p${name}` }, { up: true })]),
    );
    names.forEach((name, i) => void routes.set(name, { cidrs: [`10.${66 + (i >> 8)}.${i & 255}.1/32`] }));
    routes.apply();
    const count = (): number =>
      node
        .exec("ip", "-4", "route", "show")
        .split("\n")
        .filter((line) => line.includes("cali")).length;
    await until(
      () => count() === 1000,
      () => `${count()}`,
    );
    await until(() => routes.pending.length === 0);
    expect(routes.apply()).toMatchObject({ added: [], deleted: [], failed: [] });
    // All within one turn of the event loop, and far more than the buffer holds.
    node.exec("ip", "route", "flush", "root", "10.64.0.0/10");
    expect(count()).toBe(0);
    await until(
      () => count() === 1000,
      () => `${count()}`,
    );
    for (const name of names.slice(0, 990)) routes.remove(name);
    expect(routes.apply().deleted).toHaveLength(990);
    expect([count(), flushed.length]).toEqual([10, 990]);
    expect(routes.counts.routes).toBe(10);
  }, 60_000);
});

describeAsRoot("kernel settings", () => {
  let node: TestNamespace;
  beforeEach(() => {
    node = makeNamespace("calico-routes");
  });
  afterEach(() => node.dispose());
  const value = (name: string): string => node.exec("cat", `/proc/sys/${name}`).trim();

  it("of a workload's interface are set when it comes up, and again when they are not so", async () => {
    node.exec("sysctl", "-qw", "net.ipv4.conf.default.rp_filter=2");
    using interfaces = openInterfaces({
      namespace: node.namespace,
      onError: (error) => {
        throw error;
      },
    });
    const reports: [string, SysctlsApplied][] = [];
    using settings = openWorkloadSysctls({
      interfaces,
      ipv6: true,
      namespace: node.namespace,
      onApplied: (name, applied) => reports.push([name, applied]),
    });
    settings.set("cali.1");
    node.exec("ip", "link", "add", "cali.1", "type", "veth", "peer", "name", "p");
    node.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "q");
    for (const name of ["p", "cali.1", "eth0", "q"]) node.exec("ip", "link", "set", name, "up");
    await until(() => reports.length > 0);
    const wanted = workloadSysctls("cali.1", { ipv6: true, rpFilter: "2" });
    expect(wanted.map(({ name }) => `${name}=${value(name)}`)).toEqual(
      wanted.map((each) => `${each.name}=${each.value}`),
    );
    expect(reports[0]?.[1].failed).toEqual([]);
    expect(value("net/ipv4/conf/eth0/proxy_arp")).toBe("0");
    reports.length = 0;
    settings.recheck();
    expect(reports).toEqual([]);
    node.exec("sysctl", "-qw", "net/ipv4/conf/cali.1/proxy_arp=0");
    settings.recheck();
    expect(reports).toEqual([["cali.1", { changed: ["net/ipv4/conf/cali.1/proxy_arp"], failed: [] }]]);
    settings.set("cali.1", { spoofing: true });
    expect(value("net/ipv4/conf/cali.1/rp_filter")).toBe("0");
    settings.remove("cali.1");
    node.exec("sysctl", "-qw", "net/ipv4/conf/cali.1/proxy_arp=0");
    settings.recheck();
    expect(value("net/ipv4/conf/cali.1/proxy_arp")).toBe("0");
  });

  it("of the node make it forward, and what cannot be set is told unless it is optional", () => {
    expect(applySysctls(nodeSysctls({ forwarding: true, ipv6: true }), node.namespace).failed).toEqual([]);
    expect([value("net/ipv4/ip_forward"), value("net/ipv6/conf/all/forwarding")]).toEqual(["1", "1"]);
    expect(applySysctls(nodeSysctls({ forwarding: true, ipv6: true }), node.namespace).changed).toEqual([]);
    expect(nodeSysctls({ forwarding: false, ipv6: true }).map(({ name }) => name)).toEqual([
      "net/netfilter/nf_conntrack_acct",
    ]);
    const missing = { name: "net/ipv4/none", value: "1" };
    const applied = applySysctls([missing, { ...missing, optional: true }], node.namespace);
    expect(applied.failed.map(({ message }) => message)).toEqual(["set the sysctl net/ipv4/none to 1: open: ENOENT"]);
  });
});

describe("kernel settings without IPv6", () => {
  it("still keep workloads from advertising routers", () => {
    const names = workloadSysctls("cali1", { ipv6: false, rpFilter: "1" }).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith("net/ipv6"))).toEqual(["net/ipv6/conf/cali1/accept_ra"]);
  });
});
