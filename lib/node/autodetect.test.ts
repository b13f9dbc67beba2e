import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/index.ts";
import { describeAsRoot, makeNamespace } from "../sys/testing.ts";
import { type AutodetectOptions, autodetect, hostFacts, type NodeError } from "./index.ts";
import { isExcluded, suspicion } from "./interfaces.ts";
import { machine } from "./testing.ts";
import type { HostFacts } from "./types.ts";

const detect = (facts: HostFacts, method?: string, over: Partial<AutodetectOptions> = {}) =>
  autodetect({ version: 4, facts, ...(method === undefined ? {} : { method }), ...over });

const PLAIN = ["lo 127.0.0.1/8 ::1/128", "eth0 10.0.0.5/24 fd00::5/64 fe80::5/64", "docker0 172.17.0.1/16"];

describe("first-found", () => {
  test("takes the address of the machine's interface with its network, silently", async () => {
    expect(await detect(machine(PLAIN))).toEqual({
      cidr: "10.0.0.5/24",
      interface: "eth0",
      reason: "first-found",
      warnings: [],
    });
    expect(await detect(machine(PLAIN), "", { version: 6 })).toMatchObject({ cidr: "fd00::5/64" });
  });

  test("looks at the interface with the highest index first, as upstream does", async () => {
    expect(await detect(machine(["eth0 10.0.0.5/24", "eth1 10.1.0.5/24"]))).toMatchObject({ cidr: "10.1.0.5/24" });
  });

  test("passes over a tunnel that upstream's names do not know, and says so", async () => {
    const detected = await detect(machine(["eth0 10.0.0.5/24", "wg0:wireguard 10.99.0.1/24"]));
    expect(detected.cidr).toBe("10.0.0.5/24");
    expect(detected.warnings).toEqual([
      "first-found would take 10.99.0.1/24 on wg0 (a tunnel); 10.0.0.5/24 on eth0 is used. Set IP_AUTODETECTION_METHOD=interface=wg0 if it shall be the other",
    ]);
  });

  test("takes a tunnel when there is nothing else, but not silently", async () => {
    const detected = await detect(machine(["lo 127.0.0.1/8", "tailscale0:tun 100.64.0.7/32"]));
    expect(detected).toMatchObject({ cidr: "100.64.0.7/32", warnings: [expect.stringContaining("a tunnel")] });
  });

  test("finds nothing where only docker0 is, and says what would take it", async () => {
    const detected = await detect(machine(["lo 127.0.0.1/8", "docker0 172.17.0.1/16"]));
    expect(detected).toEqual({
      reason: "first-found: no IPv4 address fits; there are 172.17.0.1/16 on docker0 (interface=docker0 takes it)",
      warnings: [],
    });
  });

  test("an address that another machine has, says the kernel, is none", async () => {
    const facts = machine(["eth0 fd00::5/64 fd00::6/64"]);
    const [eth0] = facts.interfaces();
    const failed = { ...eth0!, addresses: [{ ...eth0!.addresses[0]!, flags: 0x08 }, eth0!.addresses[1]!] };
    expect(await detect({ ...facts, interfaces: () => [failed] }, "", { version: 6 })).toMatchObject({
      cidr: "fd00::6/64",
    });
  });

  test("takes only what the machine has and others can reach, and whenever there is a plain one, a plain one", async () => {
    const name = fc.constantFrom(
      "eth0",
      "eth1",
      "ens3",
      "docker0",
      "br-1234",
      "virbr0",
      "tunl0",
      "wg0",
      "cali12ab",
      "lo",
      "kube-ipvs0",
      "lxc1",
      "vxlan.calico",
      "wireguard.cali",
      "bond0",
    );
    const address = fc.constantFrom(
      "10.0.0.1/24",
      "192.168.1.7/16",
      "127.0.0.1/8",
      "169.254.1.1/16",
      "8.8.8.8/32",
      "fd00::1/64",
      "fe80::1/64",
    );
    const line = fc
      .tuple(fc.boolean(), name, fc.uniqueArray(address))
      .map(([up, label, list]) => [`${up ? "" : "!"}${label}`, ...list].join(" "));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(line, { selector: (text) => text.replace("!", "").split(" ")[0] }),
        async (lines) => {
          const facts = machine(lines);
          const detected = await detect(facts);
          const all = facts
            .interfaces()
            .flatMap((on) => on.addresses.map((at) => ({ on, text: `${formatAddress(at.address)}/${at.length}` })));
          const reachable = all.filter(({ text }) => /^(10|192|8)\./.test(text));
          const usable = reachable.filter(({ on }) => !isExcluded(on.name));
          const plain = usable.filter(({ on }) => !suspicion(on));
          if (detected.cidr === undefined) return void expect(usable).toEqual([]);
          const taken = usable.find(({ on, text }) => on.name === detected.interface && text === detected.cidr);
          expect(taken).toBeDefined();
          if (plain.length > 0) expect(plain).toContainEqual(taken);
          else expect(detected.warnings).toHaveLength(1);
        },
      ),
    );
  });
});

describe("beside Kubernetes", () => {
  const facts = machine(["eth0 10.0.0.5/24", "eth1 192.168.7.5/24"]);
  const kubernetes = { internalAddresses: ["fd00::1", "10.0.0.5"] };

  test("a new node follows Kubernetes' InternalIP when first-found is only the default, and says so", async () => {
    const detected = await detect(facts, undefined, { kubernetes });
    expect(detected).toMatchObject({ cidr: "10.0.0.5/24", interface: "eth0" });
    expect(detected.warnings[0]).toContain("not 192.168.7.5/24 on eth1");
  });

  test("a node that has run with first-found's answer keeps it, and so does one that asks for first-found", async () => {
    for (const over of [{ recorded: "192.168.7.5/24" }, { method: "first-found" }]) {
      const detected = await detect(facts, undefined, { kubernetes, ...over });
      expect(detected.cidr).toBe("192.168.7.5/24");
      expect(detected.warnings[0]).toContain("set IP_AUTODETECTION_METHOD=kubernetes-internal-ip");
    }
  });

  test("an InternalIP that is not this machine's does not count", async () => {
    const other = { internalAddresses: ["10.9.9.9"] };
    expect(await detect(facts, undefined, { kubernetes: other })).toMatchObject({
      cidr: "192.168.7.5/24",
      warnings: [],
    });
    expect(await detect(facts, "kubernetes-internal-ip", { kubernetes: other })).toMatchObject({
      reason: "kubernetes-internal-ip: 10.9.9.9 is on no interface of this machine",
    });
  });

  test("kubernetes-internal-ip takes it, by family, and says where there is none", async () => {
    expect(await detect(facts, "kubernetes-internal-ip", { kubernetes })).toMatchObject({
      cidr: "10.0.0.5/24",
      warnings: [],
    });
    expect((await detect(facts, "kubernetes-internal-ip")).reason).toMatch(/not a node of a Kubernetes cluster/);
  });
});

describe("methods that name something", () => {
  const facts = machine(["lo 127.0.0.1/8", "eth0 10.0.0.5/24", "ens3 10.1.0.5/24", "docker0 172.17.0.1/16"], {
    sourceTowards: ({ value }) => (value >> 24n === 10n ? parseAddress("10.0.0.5") : undefined),
    resolve: async (name, version) => {
      if (name !== "gateway" || version !== 4) throw new Error("ENOTFOUND");
      return [parseAddress("10.0.0.254")];
    },
  });
  const cases: [string, string | undefined][] = [
    ["interface=eth.*", "10.0.0.5/24"],
    ["interface=nosuch, ens", "10.1.0.5/24"],
    ["interface=docker0", "172.17.0.1/16"],
    ["skip-interface=ens.*", "10.0.0.5/24"],
    ["skip-interface=ens.*,eth.*", undefined],
    ["cidr=10.1.0.0/16", "10.1.0.5/24"],
    ["cidr=1.2.3.0/24, 172.16.0.0/12", "172.17.0.1/16"],
    ["can-reach=10.7.7.7", "10.0.0.5/24"],
    ["can-reach=gateway", "10.0.0.5/24"],
    ["can-reach=8.8.8.8", undefined],
    ["can-reach=elsewhere", undefined],
    ["can-reach=fd00::1", undefined],
  ];
  test.each(cases)("%s", async (method, expected) => {
    const detected = await detect(facts, method);
    expect(detected.cidr).toBe(expected);
    if (expected === undefined) expect(detected.reason).toContain(method);
    expect(detected.warnings.length).toBe(detected.interface === "docker0" ? 1 : 0);
  });

  const wrong = ["frist-found", "interface=(", "cidr=10.0.0.0", "can-reach=", "interfaces=eth0"];
  test.each(wrong)("%s is refused with the variable's name", async (method) => {
    await expect(detect(facts, method, { version: 6 })).rejects.toMatchObject({
      code: "ENVIRONMENT",
      message: expect.stringContaining(`IP6_AUTODETECTION_METHOD=${method}`),
    } satisfies Partial<NodeError>);
  });
});

describeAsRoot("on a real machine", () => {
  test("interfaces, addresses and routes are the kernel's", async () => {
    using space = makeNamespace();
    using other = makeNamespace();
    const ip = (...args: string[]) => space.exec("ip", ...args);
    ip("link", "set", "lo", "up");
    for (const [name, address] of [
      ["eth0", "10.0.0.5/24"],
      ["virbr0", "192.168.122.1/24"],
      ["eth1", "10.1.0.5/16"],
    ] as const) {
      ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", other.name);
      ip("addr", "add", address, "dev", name);
      ip("link", "set", name, "up");
      other.exec("ip", "link", "set", name, "up");
    }
    ip("link", "add", "docker0", "type", "bridge");
    ip("addr", "add", "172.17.0.1/16", "dev", "docker0");
    ip("link", "set", "docker0", "up");
    ip("route", "add", "8.8.0.0/16", "via", "10.0.0.1");
    const facts = hostFacts(space.namespace);
    expect(await detect(facts)).toMatchObject({ cidr: "10.1.0.5/16", interface: "eth1", warnings: [] });
    expect(await detect(facts, "can-reach=8.8.8.8")).toMatchObject({ cidr: "10.0.0.5/24", interface: "eth0" });
    expect(await detect(facts, "can-reach=9.9.9.9")).toMatchObject({
      reason: "can-reach=9.9.9.9: there is no route to 9.9.9.9",
    });
    expect(await detect(facts, "interface=docker0")).toMatchObject({ cidr: "172.17.0.1/16" });
    expect(await detect(facts, "skip-interface=eth1")).toMatchObject({ cidr: "10.0.0.5/24" });
    ip("link", "set", "eth1", "down");
    expect(await detect(facts)).toMatchObject({
      cidr: "10.0.0.5/24",
      warnings: [expect.stringContaining("eth1 (down)")],
    });
    expect(facts.interfaces().find(({ name }) => name === "docker0")).toMatchObject({ kind: "bridge", up: true });
  });
});
