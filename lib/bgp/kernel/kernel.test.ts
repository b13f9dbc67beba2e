import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { formatAddress, formatCidr, parseAddress, parseCidr } from "../../ip/index.ts";
import { openMonitor } from "../../netlink/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import {
  hasRoutesOf,
  type KernelTable,
  type LearnedRoute,
  type LocalChange,
  type NextHopCost,
  type OpenOptions,
  openKernelTable,
} from "./index.ts";

const until = async (condition: () => boolean, what: () => unknown = () => ""): Promise<void> => {
  for (const deadline = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`it did not happen within 20 s: ${JSON.stringify(what())}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describeAsRoot("routes between BGP and the kernel", () => {
  let node: TestNamespace;
  let table: KernelTable | undefined;
  let told: LocalChange[];
  let problems: readonly string[];

  beforeEach(() => {
    node = makeNamespace("calico-bgp-kernel");
    told = [];
    problems = [];
    table = undefined;
    ip("link set lo up");
    for (const [i, name] of ["eth0", "eth1"].entries()) {
      ip(`link add ${name} type veth peer name p${i}`);
      ip(`link set p${i} up`);
      ip(`link set ${name} up`);
      ip(`addr add 10.0.${i}.1/24 dev ${name}`);
      ip(`-6 addr add fd00:${i}::1/64 dev ${name} nodad`);
    }
  });
  afterEach(async () => {
    await table?.close();
    node.dispose();
  });

  const ip = (line: string): string => node.exec("ip", ...line.split(" "));
  const open = async (options: Partial<OpenOptions> = {}): Promise<KernelTable> => {
    await table?.close();
    table = await openKernelTable({
      protocol: 12,
      checkInterval: 3_600_000,
      namespace: node.namespace,
      onLocal: (changes) => void told.push(...changes),
      onProblems: (lines) => {
        problems = lines;
      },
      ...options,
    });
    return table;
  };
  const begin = async (options: Partial<OpenOptions> = {}): Promise<KernelTable> => {
    const opened = await open(options);
    opened.endOfRestart();
    return opened;
  };
  const learn = (to: string, via: string | undefined, more: Partial<LearnedRoute> = {}): void => {
    const destination = parseCidr(to);
    const nextHops = via?.split(" ").map(parseAddress);
    table!.setLearned(destination, nextHops && { destination, nextHops, metric: 1024, overridesLocal: false, ...more });
  };
  const block = (...cidrs: string[]): void => table!.setStatic(cidrs.map((cidr) => ({ destination: parseCidr(cidr) })));
  /** Routes of our protocol as `ip` shows them, a line each. */
  const shown = (...more: string[]): string[] =>
    ["-4", "-6"].flatMap((version) =>
      node
        .exec("ip", version, "route", "show", "proto", "12", ...more)
        .replace(/\n\s+/g, " ")
        .split("\n")
        .map((line) =>
          line
            .replace(/ pref medium/, "")
            .replace(/\s+/g, " ")
            .trim(),
        )
        .filter((line) => line !== ""),
    );
  const settledAs = async (...lines: string[]): Promise<void> => {
    await table!.settled();
    expect(shown()).toEqual(lines);
  };

  it("say what next hops cost: connected, behind a route of another or of ours, or not to be reached", async () => {
    ip("route add 10.7.0.0/16 via 10.0.0.9");
    ip("route add blackhole 10.7.8.0/24");
    ip("route add unreachable 10.7.9.0/24");
    ip("route add unreachable 10.8.0.128/25");
    ip("-6 route add fd07::/16 via fd00::9");
    ip("route add 10.0.0.32/27 dev eth1");
    await begin();
    table!.setStatic([
      { destination: parseCidr("10.8.0.0/24"), via: parseAddress("10.0.0.9") },
      { destination: parseCidr("10.8.1.0/24"), via: parseAddress("10.99.0.1") },
      { destination: parseCidr("10.7.1.0/24") },
    ]);
    learn("10.9.0.0/16", "10.0.0.9");
    learn("10.7.2.0/24", "10.0.0.9");
    await table!.settled();
    const costs = Object.fromEntries(
      [
        ...["10.0.0.9", "10.0.1.9", "fd00::9", "10.0.0.33", "10.7.2.3", "fd07::1", "10.8.0.1", "10.7.1.1", "10.7.8.1"],
        ...["10.7.9.1", "10.8.0.129", "10.8.1.1", "10.9.0.1", "10.0.0.1", "fe80::1", "172.16.0.1", "fd09::1"],
      ].map((text) => [text, table!.follow(parseAddress(text))]),
    );
    const never = Number.POSITIVE_INFINITY;
    expect(costs).toEqual({
      ...{ "10.0.0.9": 0, "10.0.1.9": 0, "fd00::9": 0 },
      // By another's device route, by a gateway, by a static route of ours; a learned route on the way does not count.
      ...{ "10.0.0.33": 1, "10.7.2.3": 1, "fd07::1": 1, "10.8.0.1": 1 },
      // Our own blackhole, another's, marked unreachable, a static route that is not programmed, a learned one alone.
      ...{
        "10.7.1.1": never,
        "10.7.8.1": never,
        "10.7.9.1": never,
        "10.8.0.129": never,
        "10.8.1.1": never,
        "10.9.0.1": never,
      },
      // Its own, link-local, no route.
      ...{ "10.0.0.1": never, "fe80::1": never, "172.16.0.1": never, "fd09::1": never },
    });
  });

  it("tell what followed next hops cost when routes, links and addresses come and go, and nothing else", async () => {
    // Addresses whose duplicates are looked for change a second later, and all is looked up again.
    for (const name of ["eth0", "eth1", "p0", "p1"]) ip(`-6 addr flush dev ${name} scope link`);
    ip("route add 10.7.0.0/16 via 10.0.0.9");
    ip("-6 route add fd07::/16 via fd00:1::9");
    const costs: string[] = [];
    await begin({
      // No listing says it instead of the events.
      pause: 60_000,
      onCosts: (changes: readonly NextHopCost[]) =>
        void costs.push(...changes.map(({ nextHop, cost }) => `${formatAddress(nextHop)} ${cost}`)),
    });
    const next = async (...lines: string[]): Promise<void> => {
      await until(
        () => costs.length >= lines.length,
        () => costs,
      );
      expect(costs.splice(0).sort()).toEqual(lines);
    };
    for (const text of ["10.7.0.1", "10.7.0.2", "fd07::1", "10.1.0.9", "10.0.0.9", "10.0.1.9"])
      table!.follow(parseAddress(text));
    table!.unfollow(parseAddress("10.7.0.2"));
    ip("route del 10.7.0.0/16");
    await next("10.7.0.1 Infinity");
    ip("route add default via 10.0.1.9");
    await next("10.1.0.9 1", "10.7.0.1 1");
    // Of no consequence: another gateway, a route beside, a learned one. What comes next is told first.
    ip("route add 10.7.0.0/24 via 10.0.1.9");
    ip("route add 10.66.0.0/24 via 10.0.1.9");
    learn("10.7.0.1/32", "10.0.0.9");
    ip("addr add 10.1.0.1/24 dev eth1");
    await next("10.1.0.9 0");
    ip("link set eth1 down");
    await next("10.0.1.9 Infinity", "10.1.0.9 Infinity", "10.7.0.1 Infinity", "fd07::1 Infinity");
    ip("link set eth1 up");
    await next("10.0.1.9 0", "10.1.0.9 0");
    table!.setStatic([{ destination: parseCidr("10.7.0.0/24"), via: parseAddress("10.0.0.9") }]);
    await next("10.7.0.1 1");
    table!.setStatic([]);
    await next("10.7.0.1 Infinity");
    await table!.settled();
    expect(costs).toEqual([]);
  });

  it("go from one next hop to several and back, in place, in a fixed order and with equal weights", async () => {
    await begin();
    learn("192.168.4.0/26", "10.0.0.9");
    learn("fd10::/122", "fd00::9");
    await settledAs("192.168.4.0/26 via 10.0.0.9 dev eth0 metric 1024", "fd10::/122 via fd00::9 dev eth0 metric 1024");
    learn("192.168.4.0/26", "10.0.1.9 10.0.0.9");
    learn("fd10::/122", "fd00:1::9 fd00::9");
    await settledAs(
      "192.168.4.0/26 metric 1024 nexthop via 10.0.0.9 dev eth0 weight 1 nexthop via 10.0.1.9 dev eth1 weight 1",
      "fd10::/122 metric 1024 nexthop via fd00::9 dev eth0 weight 1 nexthop via fd00:1::9 dev eth1 weight 1",
    );
    learn("192.168.4.0/26", "10.0.1.9");
    learn("fd10::/122", "fd00:1::9");
    await settledAs(
      "192.168.4.0/26 via 10.0.1.9 dev eth1 metric 1024",
      "fd10::/122 via fd00:1::9 dev eth1 metric 1024",
    );
    learn("192.168.4.0/26", undefined);
    learn("fd10::/122", undefined);
    await settledAs();
    expect(problems).toEqual([]);
  });

  it("that a process before left are known to be there, by their protocol and table", () => {
    const has = (): boolean => hasRoutesOf(12, node.namespace);
    ip("route add 192.168.4.0/26 via 10.0.0.9 proto 11");
    ip("route add 192.168.5.0/26 via 10.0.0.9 proto 12 table 100");
    expect(has()).toBe(false);
    ip("-6 route add blackhole fd10::/122 proto 12");
    expect(has()).toBe(true);
    ip("-6 route del blackhole fd10::/122 proto 12");
    expect(has()).toBe(false);
    ip("route add blackhole 192.168.6.0/26 proto 12");
    expect(has()).toBe(true);
  });

  it("of IPv4 lead through IPv6 next hops, too, alone and beside others, and are known again (RFC 8950)", async () => {
    expect((await begin()).inherited).toBe(false);
    learn("192.168.4.0/26", "fd00::9");
    learn("192.168.5.0/26", "10.0.1.9 fd00::9");
    const lines = [
      "192.168.4.0/26 via inet6 fd00::9 dev eth0 metric 1024",
      "192.168.5.0/26 metric 1024 nexthop via 10.0.1.9 dev eth1 weight 1 nexthop via inet6 fd00::9 dev eth0 weight 1",
    ];
    await settledAs(...lines);
    const changes: string[] = [];
    expect((await open()).inherited).toBe(true);
    using _ = openMonitor({
      watch: ["routes"],
      namespace: node.namespace,
      onError: () => {},
      onChange: (change) => void (change.kind === "route" && changes.push(formatCidr(change.route.destination))),
    });
    learn("192.168.4.0/26", "fd00::9");
    learn("192.168.5.0/26", "10.0.1.9 fd00::9");
    table!.endOfRestart();
    await settledAs(...lines);
    expect(changes).toEqual([]);
    // The link to the next hop goes: another is found, or the route goes.
    ip("link set eth0 down");
    await until(() => shown().join() === "192.168.5.0/26 via 10.0.1.9 dev eth1 metric 1024", shown);
  });

  it("change metric and type, and are never gone meanwhile", async () => {
    await begin();
    learn("192.168.4.7/32", "10.0.0.9");
    learn("fd10::7/128", "fd00::9");
    await table!.settled();
    const gone: string[] = [];
    using _ = openMonitor({
      watch: ["routes"],
      namespace: node.namespace,
      onError: () => {},
      onChange: (change) => {
        if (change.kind !== "route") return;
        const { destination, metric } = change.route;
        gone.push(`${change.event} ${formatCidr(destination)} ${metric}`);
      },
    });
    learn("192.168.4.7/32", "10.0.0.9", { metric: 512 });
    learn("fd10::7/128", "fd00::9", { metric: 512 });
    await settledAs("192.168.4.7 via 10.0.0.9 dev eth0 metric 512", "fd10::7 via fd00::9 dev eth0 metric 512");
    await until(() => gone.length >= 4);
    expect(gone.filter((line) => line.includes("192"))).toEqual([
      "new 192.168.4.7/32 512",
      "deleted 192.168.4.7/32 1024",
    ]);
    expect(gone.filter((line) => line.includes("fd10"))).toEqual(["new fd10::7/128 512", "deleted fd10::7/128 1024"]);
    block("192.168.4.7/32", "fd10::7/128");
    await settledAs("blackhole 192.168.4.7", "blackhole fd10::7 dev lo metric 1024");
    block();
    await settledAs("192.168.4.7 via 10.0.0.9 dev eth0 metric 512", "fd10::7 via fd00::9 dev eth0 metric 512");
    // In place: same destination and metric, another type.
    learn("fd10::7/128", "fd00::9", { metric: 1024 });
    await table!.settled();
    block("fd10::7/128");
    await table!.settled();
    expect(shown().at(-1)).toBe("blackhole fd10::7 dev lo metric 1024");
    block();
    await table!.settled();
    expect(shown().at(-1)).toBe("fd10::7 via fd00::9 dev eth0 metric 1024");
  });

  it("are blackholes for blocks, and a workload's longer route is used all the same", async () => {
    await begin();
    block("10.65.0.0/26", "fd65::/122");
    ip("route add 10.65.0.2/32 dev eth0 scope link proto boot metric 1024");
    await settledAs("blackhole 10.65.0.0/26", "blackhole fd65::/122 dev lo metric 1024");
    expect(ip("route get 10.65.0.2")).toContain("dev eth0");
    expect(() => ip("route get 10.65.0.3")).toThrow();
    block("10.65.0.0/26");
    await settledAs("blackhole 10.65.0.0/26");
  });

  it("follow a link that goes down and comes up, also faster than one can look", async () => {
    await begin();
    learn("192.168.4.0/26", "10.0.0.9 10.0.1.9");
    learn("192.168.5.0/26", "10.0.1.9");
    learn("fd10::/122", "fd00::9 fd00:1::9");
    const all = [
      "192.168.4.0/26 metric 1024 nexthop via 10.0.0.9 dev eth0 weight 1 nexthop via 10.0.1.9 dev eth1 weight 1",
      "192.168.5.0/26 via 10.0.1.9 dev eth1 metric 1024",
      "fd10::/122 metric 1024 nexthop via fd00::9 dev eth0 weight 1 nexthop via fd00:1::9 dev eth1 weight 1",
    ];
    await settledAs(...all);
    ip("link set eth1 down");
    await until(() => shown()[0] === "192.168.4.0/26 via 10.0.0.9 dev eth0 metric 1024", shown);
    await until(() => problems.length > 0);
    expect(shown()).toEqual([
      "192.168.4.0/26 via 10.0.0.9 dev eth0 metric 1024",
      "fd10::/122 via fd00::9 dev eth0 metric 1024",
    ]);
    expect(problems).toEqual([
      "next hop 10.0.1.9 of 192.168.4.0/26 and 1 other: no route to it",
      "next hop fd00:1::9 of fd10::/122: no route to it",
    ]);
    ip("link set eth1 up");
    ip("-6 addr add fd00:1::1/64 dev eth1 nodad"); // went with the link
    await until(() => JSON.stringify(shown()) === JSON.stringify(all), shown);
    await until(() => problems.length === 0);
    for (let i = 0; i < 5; i++) {
      node.exec("sh", "-c", "ip link set eth1 down; ip link set eth1 up; ip -6 addr add fd00:1::1/64 dev eth1 nodad");
    }
    await until(() => JSON.stringify(shown()) === JSON.stringify(all), shown);
    await until(
      () => problems.length === 0,
      () => problems,
    );
  });

  it("follow addresses that are removed, and come back with them", async () => {
    await begin();
    learn("192.168.4.0/26", "10.0.0.9");
    await settledAs("192.168.4.0/26 via 10.0.0.9 dev eth0 metric 1024");
    ip("addr del 10.0.0.1/24 dev eth0"); // the last of its link: the kernel forgets every route by it, and tells of none
    await until(() => problems.length > 0);
    expect(shown()).toEqual([]);
    expect(problems).toEqual(["next hop 10.0.0.9 of 192.168.4.0/26: no route to it"]);
    node.exec(
      "sh",
      "-c",
      "ip addr add 10.0.0.1/24 dev eth0; ip addr del 10.0.0.1/24 dev eth0; ip addr add 10.0.0.2/24 dev eth0",
    );
    await until(() => shown().length === 1);
    expect(shown()).toEqual(["192.168.4.0/26 via 10.0.0.9 dev eth0 metric 1024"]);
  });

  it("are put back when another deletes or changes them, ever more slowly, and that is said", async () => {
    await begin();
    for (let i = 0; i < 300; i++) learn(`192.168.${i >> 2}.${(i & 3) * 64}/26`, "10.0.0.9");
    learn("fd10::/122", "fd00::9 fd00:1::9");
    await table!.settled();
    ip("route flush proto 12");
    ip("-6 route flush proto 12");
    await until(() => shown().length === 301);
    ip("route change 192.168.1.0/26 via 10.0.1.9 proto 12 metric 1024");
    await until(() => shown()[4] === "192.168.1.0/26 via 10.0.0.9 dev eth0 metric 1024", shown);
    ip("-6 route del fd10::/122 via fd00::9 dev eth0 proto 12 metric 1024");
    await until(() => shown().at(-1)!.includes("fd00::9") && shown().at(-1)!.includes("fd00:1::9"), shown);
    let times = 0;
    await until(() => {
      if (shown()[0]?.startsWith("192.168.0.0/26")) {
        ip("route del 192.168.0.0/26 proto 12");
        times++;
      }
      return problems.length > 0;
    });
    expect(problems).toEqual([
      expect.stringMatching(/^192\.168\.0\.0\/26: something else keeps changing the route, \d+ times lately$/),
    ]);
    expect(times).toBeLessThan(10);
    await until(() => shown().length === 301);
  });

  it("that another made are neither replaced nor deleted, and come first", async () => {
    await begin();
    ip("route add 192.168.4.0/26 via 10.0.1.9 proto static metric 1024");
    learn("192.168.4.0/26", "10.0.0.9");
    const taken = "192.168.4.0/26: a route of another (protocol 4) has its metric, 1024; not programmed";
    // Until the kernel's event about it was read, it is one that the kernel refused.
    await until(
      () => problems.join("\n") === taken,
      () => problems,
    );
    expect(shown()).toEqual([]);
    ip("route del 192.168.4.0/26 proto static");
    await until(() => shown().length === 1 && problems.length === 0, shown);
    // Taken away from us: the other's it is now.
    ip("route replace 192.168.4.0/26 via 10.0.1.9 proto static metric 1024");
    await until(() => problems.length > 0);
    expect(ip("route show 192.168.4.0/26")).toContain("via 10.0.1.9 dev eth1 proto static");
    expect(shown()).toEqual([]);
  });

  it("win over a workload's during a live migration, and not otherwise", async () => {
    await begin();
    ip("route add 10.65.0.2/32 dev eth0 scope link proto boot metric 1024");
    learn("10.65.0.2/32", "10.0.1.9", { metric: 512, overridesLocal: true });
    await settledAs("10.65.0.2 via 10.0.1.9 dev eth1 metric 512");
    expect(ip("route get 10.65.0.2")).toContain("via 10.0.1.9");
    learn("10.65.0.2/32", "10.0.1.9", { metric: 2000, overridesLocal: true });
    await settledAs("10.65.0.2 via 10.0.1.9 dev eth1 metric 1023");
    ip("route del 10.65.0.2/32 dev eth0");
    await until(() => shown()[0] === "10.65.0.2 via 10.0.1.9 dev eth1 metric 2000", shown);
    expect(shown()).toHaveLength(1);
  });

  it("resolve next hops through others' routes, through learned ones, over IPv6, and not in circles", async () => {
    await begin();
    ip("route add 172.16.0.0/16 via 10.0.0.254");
    ip("-6 route add fd99::/64 via fe80::7 dev eth1");
    learn("192.168.1.0/26", "172.16.3.4");
    learn("192.168.2.0/26", "192.168.1.9");
    learn("192.168.3.0/26", "fd99::5");
    learn("192.168.4.0/26", "192.168.5.1");
    learn("192.168.5.0/26", "192.168.4.1");
    learn("192.168.6.0/26", "10.0.1.1");
    learn("192.168.7.0/26", "fe80::9");
    block("192.168.9.0/26");
    learn("192.168.8.0/26", "192.168.9.1");
    await until(() => shown().length === 4); // the kernel has to tell of the others first
    await settledAs(
      "192.168.1.0/26 via 10.0.0.254 dev eth0 metric 1024",
      "192.168.2.0/26 via 10.0.0.254 dev eth0 metric 1024",
      "192.168.3.0/26 via inet6 fe80::7 dev eth1 metric 1024",
      "blackhole 192.168.9.0/26",
    );
    expect([...problems].sort()).toEqual([
      "next hop 10.0.1.1 of 192.168.6.0/26: it is an address of this node",
      "next hop 192.168.4.1 of 192.168.5.0/26: the routes to it lead back to it",
      "next hop 192.168.5.1 of 192.168.4.0/26: the routes to it lead back to it",
      "next hop 192.168.9.1 of 192.168.8.0/26: the route to it is a blackhole (192.168.9.0/26)",
      "next hop fe80::9 of 192.168.7.0/26: it is link-local, and BGP does not say on which link",
    ]);
    ip("route replace 172.16.0.0/16 via 10.0.1.254");
    await until(() => shown()[1] === "192.168.2.0/26 via 10.0.1.254 dev eth1 metric 1024", shown);
    ip("route add 172.16.3.4/32 dev eth0 scope link");
    await until(() => shown()[1] === "192.168.2.0/26 via 172.16.3.4 dev eth0 metric 1024", shown);
    ip("route add 172.16.3.4/32 metric 5 nexthop via 10.0.0.8 nexthop via 10.0.1.8");
    ip("route del 172.16.3.4/32 dev eth0 scope link");
    const both = "nexthop via 10.0.0.8 dev eth0 weight 1 nexthop via 10.0.1.8 dev eth1 weight 1";
    await until(() => shown()[1] === `192.168.2.0/26 metric 1024 ${both}`, shown);
  });

  it("to a peer behind a gateway go only by a gateway on a network of the node", async () => {
    await begin();
    ip("route add default via 10.0.0.254");
    table!.setStatic([
      { destination: parseCidr("172.16.9.9/32"), via: parseAddress("10.0.1.7") },
      { destination: parseCidr("172.16.9.8/32"), via: parseAddress("172.30.0.1") },
    ]);
    await settledAs("172.16.9.9 via 10.0.1.7 dev eth1");
    expect(problems).toEqual(["next hop 172.30.0.1 of 172.16.9.8/32: it is not on a network of this node"]);
  });

  it("that a predecessor left stay until the restart is over, are taken over as they are, and then go if nobody wants them", async () => {
    ip("route add 192.168.1.0/26 via 10.0.0.9 proto 12 metric 1024");
    ip("route add 192.168.2.0/26 via 10.0.0.9 proto 12 metric 1024");
    ip("route add 192.168.3.0/26 proto 12 metric 1024 nexthop via 10.0.1.9 weight 1 nexthop via 10.0.0.9 weight 1");
    ip("route add 192.168.4.0/26 via 10.0.0.9 proto 12 metric 32");
    ip("route add blackhole 10.65.0.0/26 proto 12");
    ip("-6 route add fd10::/122 via fd00::9 proto 12 metric 1024");
    ip("-6 route add fd11::/122 via fd00::9 proto 12 metric 1024");
    await open();
    const events: string[] = [];
    using _ = openMonitor({
      watch: ["routes"],
      namespace: node.namespace,
      onError: () => {},
      onChange: (change) => {
        if (change.kind === "route")
          events.push(`${change.event} ${formatCidr(change.route.destination)} ${change.route.metric}`);
      },
    });
    learn("192.168.1.0/26", "10.0.0.9");
    learn("192.168.3.0/26", "10.0.0.9 10.0.1.9");
    learn("192.168.4.0/26", "10.0.0.9");
    learn("192.168.9.0/26", "10.0.0.9");
    learn("192.168.9.0/26", undefined);
    learn("fd10::/122", "fd00::9");
    block("10.65.0.0/26");
    await table!.settled();
    expect(shown().filter((line) => line.startsWith("192.168.2"))).toHaveLength(1);
    table!.endOfRestart();
    await table!.settled();
    await until(() => events.length >= 4);
    expect(events.sort()).toEqual([
      "deleted 192.168.2.0/26 1024",
      "deleted 192.168.4.0/26 32",
      "deleted fd11::/122 1024",
      "new 192.168.4.0/26 1024",
    ]);
    expect(shown()).toHaveLength(5);
  });

  it("survive a SIGKILL in the middle of programming, and the next one goes on from there", async () => {
    const count = 20_000;
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname ?? __dirname, "testing", "program.ts"), node.path, String(count)],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const lines = (): number => Number(node.exec("sh", "-c", "ip route show proto 12 | wc -l"));
    await until(() => lines() > 1000);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    const left = lines();
    expect(left).toBeGreaterThan(1000);
    await open();
    for (let i = 0; i < count; i += 2) learn(`20.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`, "10.0.0.9");
    await table!.settled();
    expect(lines()).toBeGreaterThanOrEqual(left);
    table!.endOfRestart();
    await table!.settled();
    expect(lines()).toBe(count / 2);
  }, 60_000);

  it("of others are told once at the start, and then as they come, change and go", async () => {
    ip("route add 10.65.0.2/32 dev eth0 scope link proto boot metric 1024");
    ip("route add blackhole 10.65.1.0/26 proto 80");
    ip("route add 172.16.0.0/16 via 10.0.0.254");
    ip("route add 172.16.0.0/16 via 10.0.1.254 metric 7");
    ip("route add 172.17.0.0/16 via 10.0.1.254 proto redirect");
    ip("route add 172.18.0.0/16 via 10.0.1.254 table 99");
    ip("route add throw 172.19.0.0/16");
    ip("addr add 10.9.9.9/32 dev lo");
    ip("-6 route add fd65::2/128 dev eth1 proto boot metric 1024");
    const text = ({ destination, was, now }: LocalChange): string => {
      const route = (each: LocalChange["now"]): string =>
        each
          ? `${each.connected ? "connected" : each.protocol} ${each.interface ?? "-"} ${each.gateway ? formatAddress(each.gateway) : "-"} ${each.metric}`
          : "nothing";
      return `${formatCidr(destination)}: ${route(was)} -> ${route(now)}`;
    };
    await begin();
    expect(told.map(text).sort()).toEqual([
      "10.0.0.0/24: nothing -> connected eth0 - 0",
      "10.0.1.0/24: nothing -> connected eth1 - 0",
      "10.65.0.2/32: nothing -> 3 eth0 - 1024",
      "10.65.1.0/26: nothing -> 80 - - 0",
      "10.9.9.9/32: nothing -> connected lo - 0",
      "172.16.0.0/16: nothing -> 3 eth0 10.0.0.254 0",
      "fd00:1::/64: nothing -> connected eth1 - 0",
      "fd00::/64: nothing -> connected eth0 - 0",
      "fd65::2/128: nothing -> 3 eth1 - 1024",
    ]);
    const next = async (...expected: string[]): Promise<void> => {
      await until(
        () => told.length >= expected.length,
        () => told.map(text),
      );
      expect(told.map(text).sort()).toEqual(expected);
      told.length = 0;
    };
    told.length = 0;
    learn("192.168.4.0/26", "10.0.0.9"); // is not news
    ip("route replace 10.65.0.2/32 dev eth0 scope link proto boot metric 512");
    await next("10.65.0.2/32: 3 eth0 - 1024 -> 3 eth0 - 512");
    ip("route del 172.16.0.0/16 via 10.0.0.254");
    await next("172.16.0.0/16: 3 eth0 10.0.0.254 0 -> 3 eth1 10.0.1.254 7");
    ip("link set eth1 name uplink");
    await next(
      "10.0.1.0/24: connected eth1 - 0 -> connected uplink - 0",
      "172.16.0.0/16: 3 eth1 10.0.1.254 7 -> 3 uplink 10.0.1.254 7",
      "fd00:1::/64: connected eth1 - 0 -> connected uplink - 0",
      "fd65::2/128: 3 eth1 - 1024 -> 3 uplink - 1024",
    );
    ip("link set uplink down");
    await next(
      "10.0.1.0/24: connected uplink - 0 -> nothing",
      "172.16.0.0/16: 3 uplink 10.0.1.254 7 -> nothing",
      "fd00:1::/64: connected uplink - 0 -> nothing",
      "fd65::2/128: 3 uplink - 1024 -> nothing",
    );
    ip("addr add 10.7.0.1/24 dev eth0");
    await next("10.7.0.0/24: nothing -> connected eth0 - 0");
    ip("addr add 10.7.0.2/24 dev eth0");
    ip("addr add 10.8.0.1 peer 10.8.0.2/32 dev eth0");
    await next("10.8.0.2/32: nothing -> connected eth0 - 0");
  });

  it("are right again after events were lost, and by the slow check", async () => {
    await begin({ receiveBuffer: 4096, checkInterval: 3_600_000 });
    learn("192.168.4.0/26", "10.0.0.9");
    await table!.settled();
    told.length = 0;
    const lines = ["route del 192.168.4.0/26 proto 12"];
    for (let i = 0; i < 3000; i++)
      lines.push(`route add 10.65.${i >> 8}.${i & 255}/32 dev eth0 scope link proto boot metric 1024`);
    const run = spawnSync("nsenter", [`--net=${node.path}`, "ip", "-batch", "-"], {
      input: lines.join("\n"),
      encoding: "utf8",
    });
    expect(run.stderr).toBe("");
    await until(
      () => told.length === 3000 && shown().length === 1,
      () => [told.length, shown()],
    );
    const blind = await begin({ receiveBuffer: 4096, checkInterval: 50 });
    learn("192.168.4.0/26", "10.0.0.9");
    await blind.settled();
    spawnSync("nsenter", [`--net=${node.path}`, "ip", "-batch", "-"], { input: "route del 192.168.4.0/26 proto 12" });
    await until(() => shown().length === 1);
  });

  it("are in the end what they would be from scratch, whatever happened on the way", async () => {
    const destinations = [
      "192.168.0.0/24",
      "192.168.0.0/26",
      "192.168.0.7/32",
      "172.16.0.0/16",
      "fd10::/64",
      "fd10::1/128",
    ];
    const hops4 = ["10.0.0.9", "10.0.1.9", "10.0.0.9 10.0.1.9", "192.168.0.7", "172.16.0.1 10.0.0.8", "10.0.1.1"];
    const hops6 = ["fd00::9", "fd00:1::9", "fd00::9 fd00:1::9", "fd10::1"];
    const learned = fc.constantFrom(...destinations).chain((to) =>
      fc.record({
        to: fc.constant(to),
        via: fc.option(fc.constantFrom(...(to.includes(":") ? hops6 : hops4)), { nil: undefined }),
        metric: fc.constantFrom(1024, 1024, 512),
      }),
    );
    const others = fc.constantFrom(
      "ip route replace 172.16.0.0/16 via 10.0.0.254 proto static",
      "ip route del 172.16.0.0/16 proto static",
      "ip route replace 192.168.0.7/32 dev eth0 scope link proto boot metric 1024",
      "ip route del 192.168.0.7/32 proto boot",
      "ip route flush proto 12",
      "ip -6 route flush proto 12",
      "ip link set eth1 down",
      "ip link set eth1 up; ip -6 addr add fd00:1::1/64 dev eth1 nodad",
      "ip route add 192.168.0.0/26 via 10.0.1.77 proto 12 metric 99",
      "ip -6 route append fd10::/64 via fd00::77 dev eth0 proto 12 metric 1024",
    );
    const step = fc.oneof(
      learned.map((route) => ({ learned: route })),
      fc.subarray(["192.168.0.0/26", "172.16.0.0/16", "fd10::/64"]).map((blocks) => ({ blocks })),
      others.map((command) => ({ command })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const wanted = new Map<string, { via: string | undefined; metric: number }>();
        let blocks: string[] = [];
        await begin({ pause: 2 });
        for (const each of steps) {
          if ("learned" in each) {
            wanted.set(each.learned.to, each.learned);
            learn(each.learned.to, each.learned.via, { metric: each.learned.metric });
          } else if ("blocks" in each) {
            blocks = each.blocks;
            block(...blocks);
          } else {
            node.exec("sh", "-c", `${each.command} 2>/dev/null || true`);
          }
        }
        let last = "";
        let same = 0;
        // Routes of ours that were put aside may be waited for: as long as anything changes, and for as long as another may have been answered.
        await until(() => {
          const now = shown().join("\n");
          same = now === last ? same + 1 : 0;
          last = now;
          return same > 15;
        });
        const found = shown();
        await table!.close();
        ip("route flush proto 12");
        ip("-6 route flush proto 12");
        await begin();
        block(...blocks);
        for (const [to, { via, metric }] of wanted) learn(to, via, { metric });
        await table!.settled();
        const expected = shown();
        for (const to of wanted.keys()) learn(to, undefined);
        block();
        await table!.settled();
        expect(shown()).toEqual([]);
        expect(found).toEqual(expected);
      }),
      { numRuns: 4 },
    );
  }, 120_000);
});
