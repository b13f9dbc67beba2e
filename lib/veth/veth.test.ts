import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseAddress, parseCidr, parseMac } from "../ip/index.ts";
import { linkAdd, linkGet, linkSet, openNetlink, pairAdd, routeAdd, routes } from "../netlink/index.ts";
import { inNamespace, writeSysctl } from "../sys/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import {
  checkPodInterface,
  createPodInterface,
  deletePodInterface,
  listPodInterfaces,
  type PodInterfacePlan,
  VethError,
} from "./index.ts";

describeAsRoot("a pod's interface", () => {
  let host: TestNamespace;
  let pod: TestNamespace;
  beforeEach(() => {
    host = makeNamespace("calico-veth-host");
    pod = makeNamespace("calico-veth-pod");
    // Proxy ARP answers for 169.254.1.1 only on a host that has some route for it.
    host.exec("ip", "link", "set", "lo", "up");
    host.exec("ip", "route", "add", "default", "dev", "lo");
  });
  afterEach(() => {
    pod.dispose();
    host.dispose();
  });

  const plan = (change: Partial<PodInterfacePlan> = {}): PodInterfacePlan => ({
    netns: pod.path,
    containerInterface: "eth0",
    hostInterface: "cali12345",
    owner: "net1/container-a/eth0",
    mtu: 1450,
    numQueues: 1,
    deviceType: "veth",
    addresses: [parseAddress("10.1.2.3")],
    routes: [{ destination: parseCidr("0.0.0.0/0") }, { destination: parseCidr("::/0") }],
    hostRoutes: true,
    allowIpForwarding: false,
    hostNetns: host.namespace,
    ...change,
  });
  const dual = [parseAddress("10.1.2.3"), parseAddress("fd00:1::3")];
  const remove = (change: Partial<Parameters<typeof deletePodInterface>[0]> = {}) =>
    deletePodInterface({
      netns: pod.path,
      containerInterface: "eth0",
      hostInterface: "cali12345",
      owner: "net1/container-a/eth0",
      hostNetns: host.namespace,
      ...change,
    });
  const hostLinks = (): string[] =>
    (JSON.parse(host.exec("ip", "-j", "link")) as { ifname: string }[]).map((link) => link.ifname);
  const sysctl = (where: TestNamespace, name: string): string => where.exec("cat", `/proc/sys/${name}`).trim();
  const code = (action: () => unknown): string => {
    try {
      action();
    } catch (error) {
      return error instanceof VethError ? error.code : String(error);
    }
    return "no error";
  };

  it("has upstream's addresses and routes in an IPv4 pod and on its host", () => {
    const made = createPodInterface(plan());
    expect(pod.exec("ip", "-4", "-o", "addr", "show", "eth0")).toMatch(/inet 10\.1\.2\.3\/32 scope global eth0/);
    expect(pod.exec("ip", "-4", "route")).toBe("default via 169.254.1.1 dev eth0 \n169.254.1.1 dev eth0 scope link \n");
    expect(host.exec("ip", "-4", "-N", "-d", "route", "show", "10.1.2.3").trim()).toMatch(
      /^1 10\.1\.2\.3 dev cali12345 proto 3 scope 253$/,
    );
    expect(made).toMatchObject({ deviceType: "veth", hostMac: "ee:ee:ee:ee:ee:ee", notes: [] });
    expect(pod.exec("cat", "/sys/class/net/eth0/address").trim()).not.toBe("");
    expect(pod.exec("ip", "-j", "link", "show", "eth0")).toContain(made.containerMac);
    expect(pod.exec("ip", "link", "show", "lo")).toContain("state DOWN");
    expect(checkPodInterface(plan())).toEqual([]);
  });

  it("reaches its host through the gateway that nobody has", () => {
    createPodInterface(plan({ addresses: dual }));
    host.exec("ip", "addr", "add", "192.0.2.1/32", "dev", "lo");
    host.exec("ip", "addr", "add", "2001:db8::1/128", "dev", "lo", "nodad");
    expect(pod.exec("ping", "-c1", "-W5", "192.0.2.1")).toContain(" 0% packet loss");
    expect(pod.exec("ping", "-c1", "-W5", "2001:db8::1")).toContain(" 0% packet loss");
    expect(host.exec("ping", "-c1", "-W5", "fd00:1::3")).toContain(" 0% packet loss");
  });

  it("sets the host's sysctls, and IPv6's only for a pod that has it", () => {
    createPodInterface(plan());
    for (const [name, value] of [
      ["ipv4/conf/cali12345/route_localnet", "1"],
      ["ipv4/conf/cali12345/proxy_arp", "1"],
      ["ipv4/conf/cali12345/forwarding", "1"],
      ["ipv4/neigh/cali12345/proxy_delay", "0"],
      ["ipv6/conf/cali12345/accept_ra", "0"],
      ["ipv6/conf/cali12345/forwarding", "0"],
      ["ipv6/conf/cali12345/proxy_ndp", "0"],
    ]) {
      expect(`${name}=${sysctl(host, `net/${name}`)}`).toBe(`${name}=${value}`);
    }
  });

  it("gives a dual-stack pod IPv6 by the host's link-local address, where IPv6 is off by default too", () => {
    for (const where of [host, pod]) {
      where.run(() => {
        writeSysctl("net/ipv6/conf/all/disable_ipv6", "1");
        writeSysctl("net/ipv6/conf/default/disable_ipv6", "1");
        writeSysctl("net/ipv6/conf/default/accept_dad", "2");
      });
    }
    createPodInterface(plan({ addresses: dual, allowIpForwarding: true }));
    expect(pod.exec("ip", "-6", "route", "show", "default")).toMatch(/^default via fe80::ecee:eeff:feee:eeee dev eth0/);
    const address = pod.exec("ip", "-6", "-o", "addr", "show", "eth0", "scope", "global");
    expect(address).toContain("fd00:1::3/128");
    expect(address).not.toContain("tentative");
    const linkLocal = host.exec("ip", "-6", "-o", "addr", "show", "cali12345", "scope", "link");
    expect(linkLocal).toContain("fe80::ecee:eeff:feee:eeee/64");
    expect(linkLocal).not.toContain("tentative");
    expect(host.exec("ip", "-6", "-N", "-d", "route", "show", "fd00:1::3")).toMatch(/fd00:1::3 dev cali12345 proto 3/);
    for (const name of ["accept_dad=0", "disable_ipv6=0", "proxy_ndp=1", "forwarding=1", "accept_ra=0"]) {
      const [key, value] = name.split("=");
      expect(`${key}=${sysctl(host, `net/ipv6/conf/cali12345/${key}`)}`).toBe(`${key}=${value}`);
    }
    expect(sysctl(pod, "net/ipv6/conf/eth0/accept_dad")).toBe("0");
    expect(sysctl(pod, "net/ipv6/conf/all/forwarding")).toBe("1");
    expect(sysctl(pod, "net/ipv4/ip_forward")).toBe("1");
    expect(sysctl(pod, "net/ipv6/conf/lo/disable_ipv6")).toBe("0");
    expect(checkPodInterface(plan({ addresses: dual, allowIpForwarding: true }))).toEqual([]);
  });

  it("turns forwarding off in a pod that inherited it", () => {
    pod.run(() => writeSysctl("net/ipv4/ip_forward", "1"));
    createPodInterface(plan());
    expect(sysctl(pod, "net/ipv4/ip_forward")).toBe("0");
  });

  it("serves a pod that has IPv6 only", () => {
    const only = plan({ addresses: [parseAddress("fd00:1::3")] });
    createPodInterface(only);
    expect(pod.exec("ip", "-4", "route")).toBe("");
    expect(sysctl(host, "net/ipv4/conf/cali12345/proxy_arp")).toBe("0");
    expect(checkPodInterface(only)).toEqual([]);
  });

  it("gives both ends the MTU and the queues, and the pod the MAC that was asked for", () => {
    const made = createPodInterface(plan({ mtu: 1380, numQueues: 3, mac: parseMac("02:00:00:00:00:07") }));
    expect(made.containerMac).toBe("02:00:00:00:00:07");
    using h = openNetlink(host.namespace);
    using p = openNetlink(pod.namespace);
    expect(h.request(linkGet({ name: "cali12345" }))).toMatchObject({ mtu: 1380, txQueues: 3, rxQueues: 3, up: true });
    const expected = { mtu: 1380, txQueues: 3, rxQueues: 3, up: true, mac: "02:00:00:00:00:07" };
    expect(p.request(linkGet({ index: made.containerIndex }))).toMatchObject(expected);
  });

  it("routes what the plan lists instead of everything, each once", () => {
    const routesOf = ["10.0.0.0/8", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "169.254.1.1/32"];
    createPodInterface(plan({ routes: routesOf.map((text) => ({ destination: parseCidr(text) })) }));
    expect(
      pod
        .exec("ip", "route")
        .trim()
        .split("\n")
        .map((line) => line.trim()),
    ).toEqual([
      "10.0.0.0/8 via 169.254.1.1 dev eth0",
      "169.254.1.1 dev eth0 scope link",
      "192.0.2.0/24 via 169.254.1.1 dev eth0",
    ]);
  });

  it("leaves the host's route to Felix when asked", () => {
    createPodInterface(plan({ hostRoutes: false }));
    expect(host.exec("ip", "route", "show", "10.1.2.3")).toBe("");
    expect(checkPodInterface(plan({ hostRoutes: false }))).toEqual([]);
    expect(checkPodInterface(plan()).map((finding) => finding.message)).toEqual([
      "the host has no route to 10.1.2.3/32 through cali12345",
    ]);
  });

  it("uses veth where the kernel lacks netkit, and says so", () => {
    const made = createPodInterface(plan({ deviceType: "netkit" }));
    if (made.deviceType === "veth") expect(made.notes.join()).toContain("no netkit");
    expect(checkPodInterface(plan())).toEqual([]);
  });

  it("takes the kernel's MAC when the host's is refused, and its link-local address as the IPv6 gateway", () => {
    const made = createPodInterface(plan({ hostMac: parseMac("01:00:5e:00:00:01"), addresses: dual }));
    expect(made.hostMac).not.toBe("01:00:5e:00:00:01");
    expect(made.notes.join()).toContain("was refused (EADDRNOTAVAIL)");
    expect(checkPodInterface(plan({ addresses: dual }))).toEqual([]);
  });

  it("replaces what the same owner left over", () => {
    const first = createPodInterface(plan());
    const second = createPodInterface(plan({ mtu: 1300 }));
    expect(second.hostIndex).not.toBe(first.hostIndex);
    expect(second.notes.join()).toContain("replaced");
    expect(checkPodInterface(plan({ mtu: 1300 }))).toEqual([]);
  });

  it("replaces an unmarked interface that leads into this pod: its maker died before it could mark it", () => {
    using h = openNetlink(host.namespace);
    h.request(pairAdd({ kind: "veth", name: "cali12345", peerName: "eth0", peerNetnsFd: pod.namespace.fd }));
    createPodInterface(plan());
    expect(checkPodInterface(plan())).toEqual([]);
  });

  it("refuses a host interface of another owner, or of nobody, and leaves it alone", () => {
    using other = makeNamespace("calico-veth-pod");
    createPodInterface(plan({ netns: other.path, owner: "net1/container-b/eth0" }));
    expect(() => createPodInterface(plan())).toThrow(/cali12345 exists and belongs to net1\/container-b\/eth0/);
    expect(checkPodInterface(plan({ netns: other.path, owner: "net1/container-b/eth0" }))).toEqual([]);
    expect(remove()).toMatchObject({ result: "foreign", kernelDeletions: 0 });
    using h = openNetlink(host.namespace);
    h.request(linkSet({ name: "cali12345" }, { alias: "somebody's" }));
    expect(code(() => createPodInterface(plan()))).toBe("HOST_INTERFACE_TAKEN");
    expect(remove()).toMatchObject({ result: "foreign" });
    expect(hostLinks()).toContain("cali12345");
    expect(pod.exec("ip", "-o", "link")).not.toContain("eth0");
  });

  it("refuses a pod that has the interface already, of another attachment", () => {
    createPodInterface(plan({ hostInterface: "cali999", owner: "net2/container-a/eth0" }));
    expect(code(() => createPodInterface(plan()))).toBe("CONTAINER_INTERFACE_TAKEN");
    expect(hostLinks()).toEqual(expect.arrayContaining(["cali999"]));
    expect(hostLinks()).not.toContain("cali12345");
  });

  it("leaves nothing when a step fails", () => {
    using h = openNetlink(host.namespace);
    h.request(linkAdd({ kind: "bridge", name: "br0", up: true }));
    const bridge = h.request(linkGet({ name: "br0" })).index;
    h.request(routeAdd({ destination: parseCidr("10.1.2.3/32"), index: bridge }));
    expect(() => createPodInterface(plan())).toThrow(/route to 10\.1\.2\.3\/32 already, through br0/);
    expect(hostLinks()).not.toContain("cali12345");
    expect(pod.exec("ip", "-o", "link")).not.toContain("eth0");
    expect(h.dump(routes({ table: 254, version: 4 })).map((route) => route.index)).toContain(bridge);
  });

  it("refuses what no kernel would take, before it touches anything", () => {
    const cases: [Partial<PodInterfacePlan>, string, RegExp][] = [
      [{ hostInterface: "cali567890123456" }, "INVALID", /16 bytes, more than 15/],
      [{ containerInterface: "a/b" }, "INVALID", /cannot be the container interface's name/],
      [{ addresses: [] }, "INVALID", /no address/],
      [{ mtu: 1200, addresses: dual }, "INVALID", /between 1280/],
      [{ mac: parseMac("01:00:00:00:00:00") }, "INVALID", /no unicast/],
      [{ owner: "x".repeat(241) }, "INVALID", /1 to 240/],
      [{ netns: "/run/netns/there-is-none" }, "NETNS", /ENOENT/],
      [{ netns: "/etc/hostname" }, "NETNS", /is not a network namespace/],
      [{ netns: host.path }, "NETNS", /the host's own/],
    ];
    for (const [change, expected, message] of cases) {
      expect(code(() => createPodInterface(plan(change)))).toBe(expected);
      expect(() => createPodInterface(plan(change))).toThrow(message);
    }
    expect(hostLinks()).not.toContain("cali12345");
  });

  it("is told apart from what CHECK finds wrong, one sentence each", () => {
    createPodInterface(plan({ addresses: dual, mac: parseMac("02:00:00:00:00:07") }));
    const wanted = plan({
      addresses: dual,
      mac: parseMac("02:00:00:00:00:08"),
      mtu: 1400,
      owner: "net1/container-b/eth0",
    });
    // In this order: the kernel drops all routes of an interface with its last address.
    pod.exec("ip", "addr", "add", "10.1.2.3/24", "dev", "eth0");
    pod.exec("ip", "addr", "del", "10.1.2.3/32", "dev", "eth0");
    pod.exec("ip", "route", "del", "default");
    pod.exec("ip", "-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0");
    host.exec("ip", "route", "del", "10.1.2.3");
    host.run(() => writeSysctl("net/ipv4/conf/cali12345/proxy_arp", "0"));
    const where = `in the pod ${pod.path}`;
    expect(checkPodInterface(wanted).map(({ side, kind, message }) => `${side} ${kind}: ${message}`)).toEqual([
      "host owner: the host interface cali12345 belongs to net1/container-a/eth0, expected net1/container-b/eth0",
      "host mtu: the host interface cali12345 has the MTU 1450, expected 1400",
      "host sysctl: the sysctl net/ipv4/conf/cali12345/proxy_arp is 0 on the host, expected 1",
      "host route: the host has no route to 10.1.2.3/32 through cali12345",
      `pod mac: the interface eth0 ${where} has the MAC 02:00:00:00:00:07, expected 02:00:00:00:00:08`,
      `pod mtu: the interface eth0 ${where} has the MTU 1450, expected 1400`,
      `pod address: the interface eth0 ${where} has 10.1.2.3/24, expected 10.1.2.3/32`,
      `pod route: the interface eth0 ${where} has no route to 0.0.0.0/0 through the host`,
      `pod route: the interface eth0 ${where} has no route to ::/0 through the host (it has one via fe80::1, which is not the host's)`,
    ]);
    pod.exec("ip", "link", "set", "eth0", "down");
    expect(checkPodInterface(plan({ addresses: dual })).map(({ kind }) => kind)).toContain("state");
    remove();
    expect(checkPodInterface(plan()).map(({ kind, side }) => `${side} ${kind}`)).toEqual([
      "host interface",
      "pod interface",
    ]);
    expect(checkPodInterface(plan({ netns: "/run/netns/there-is-none" }))[1]).toMatchObject({
      kind: "namespace",
      side: "pod",
    });
  });

  it("goes without a trace, and again succeeds when it is gone", () => {
    createPodInterface(plan({ addresses: dual }));
    expect(remove()).toEqual({ result: "deleted", notes: [], kernelDeletions: 1 });
    expect(hostLinks()).toEqual(["lo"]);
    expect(pod.exec("ip", "-o", "link")).not.toContain("eth0");
    expect(host.exec("ip", "route", "show", "10.1.2.3")).toBe("");
    expect(remove()).toEqual({ result: "absent", notes: [], kernelDeletions: 0 });
  });

  it("goes when the pod's namespace is gone, dead, not given, or the host's by now", () => {
    for (const netns of [undefined, "", "/run/netns/there-is-none", "/etc/hostname", host.path]) {
      createPodInterface(plan());
      const { netns: _, ...gone } = {
        netns,
        containerInterface: "eth0",
        hostInterface: "cali12345",
        owner: plan().owner,
      };
      const target = { ...gone, hostNetns: host.namespace, ...(netns !== undefined && { netns }) };
      expect(deletePodInterface(target).result).toBe("deleted");
      expect(deletePodInterface(target).result).toBe("absent");
    }
  });

  it("goes when it was cut short before it was marked, or renamed afterwards", () => {
    using h = openNetlink(host.namespace);
    h.request(pairAdd({ kind: "veth", name: "cali12345", peerName: "eth0", peerNetnsFd: pod.namespace.fd }));
    expect(remove().result).toBe("deleted");
    const made = createPodInterface(plan());
    h.execute([
      linkSet({ index: made.hostIndex }, { up: false }),
      linkSet({ index: made.hostIndex }, { name: "renamed0" }),
    ]);
    expect(remove().result).toBe("deleted");
    expect(hostLinks()).toEqual(["lo"]);
  });

  it("is listed with its owner", () => {
    const made = createPodInterface(plan());
    const listed = [
      { name: "cali12345", index: made.hostIndex, owner: "net1/container-a/eth0", up: true, condemned: false },
    ];
    expect(listPodInterfaces(host.namespace)).toEqual(listed);
  });

  it("shares the kernel's grace periods with deletions that arrive together", async () => {
    const folder = mkdtempSync(join(tmpdir(), "calico-veth-"));
    const pods = Array.from({ length: 16 }, () => makeNamespace("calico-veth-pod"));
    try {
      const lockFile = join(folder, "lock");
      for (const [index, { path }] of pods.entries()) {
        createPodInterface(
          plan({
            netns: path,
            hostInterface: `cali${index}`,
            owner: `o${index}`,
            addresses: [parseAddress(`10.9.0.${index}`)],
          }),
        );
      }
      // The lock is held until all deletions wait for it, so that what they share does not depend on the machine's load.
      const script = `
        import { deletePodInterface } from ${JSON.stringify(join(import.meta.dirname, "index.ts"))};
        import { openNamespace } from ${JSON.stringify(join(import.meta.dirname, "../sys/index.ts"))};
        const [host, lockFile, index] = process.argv.slice(1);
        using hostNetns = openNamespace(host);
        const outcome = deletePodInterface({ containerInterface: "eth0", hostInterface: "cali" + index, owner: "o" + index, lockFile, lockTimeout: 60000, hostNetns });
        console.log(outcome.result, outcome.kernelDeletions);
      `;
      const { lockFileSync } = await import("../sys/index.ts");
      const lock = lockFileSync(lockFile);
      const outputs = pods.map((_, index) => run(process.execPath, ["-e", script, host.path, lockFile, String(index)]));
      const deadline = Date.now() + 50_000;
      while (!listPodInterfaces(host.namespace).every((link) => link.condemned)) {
        expect(Date.now()).toBeLessThan(deadline);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      lock.release();
      const results = (await Promise.all(outputs)).map((output) => output.trim().split(" "));
      expect(results.every(([result]) => result === "deleted")).toBe(true);
      expect(results.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(1);
      expect(hostLinks()).toEqual(["lo"]);
    } finally {
      for (const each of pods) each.dispose();
      rmSync(folder, { recursive: true });
    }
  });

  it("deletes nobody else's interface along with its own", () => {
    using other = makeNamespace("calico-veth-pod");
    const folder = mkdtempSync(join(tmpdir(), "calico-veth-"));
    try {
      createPodInterface(plan());
      createPodInterface(
        plan({ netns: other.path, hostInterface: "cali2", owner: "b", addresses: [parseAddress("10.1.2.4")] }),
      );
      expect(remove({ lockFile: join(folder, "lock") })).toMatchObject({ result: "deleted", kernelDeletions: 1 });
      expect(hostLinks()).toEqual(["lo", "cali2"]);
      expect(
        remove({ lockFile: join(folder, "no", "such", "folder"), hostInterface: "cali2", owner: "b" }).notes.join(),
      ).toContain("ENOENT");
      expect(hostLinks()).toEqual(["lo"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("runs in the caller's own namespace when the plan names none", () => {
    const { hostNetns: _, ...local } = plan();
    inNamespace(host.namespace, () => {
      createPodInterface(local);
      expect(checkPodInterface(local)).toEqual([]);
    });
    expect(hostLinks()).toContain("cali12345");
  });
});

function run(command: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}
