/** What only this dataplane does, on a real kernel; what every dataplane does is in dataplane.test.ts. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openNetfilter } from "../../netlink/netfilter/index.ts";
import { isRoot, lockFileSync } from "../../sys/index.ts";
import { makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { type Dataplane, Program, type Rule } from "../rules/index.ts";
import { readSetSize } from "./events.ts";
import { type Backend, detectBackend, type IptablesOptions, openIptables, removeIptables } from "./index.ts";

const NEEDED = ["ip", "ipset", "iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft-restore"];
const missing = isRoot() ? NEEDED.find((tool) => spawnSync("which", [tool]).status !== 0) : "root";
function suite(title: string, body: () => void): void {
  if (missing === undefined) describe(title, body);
  else describe.skip(`${title} [skipped: needs ${missing}]`, body);
}

const drop: Rule = { match: [], action: { do: "drop" } };
const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
const port = (number: number): Rule => ({
  match: [
    { is: "protocol", protocol: 6 },
    { is: "ports", side: "destination", ports: [{ first: number, last: number }] },
  ],
  action: { do: "accept" },
});
/** Refused by the kernel in a chain that is not of the nat table, though iptables can say it. */
const impossible: Rule = { match: [], action: { do: "masquerade" } };

for (const backend of ["nft", "legacy"] as const) {
  suite(`iptables-${backend} in a namespace`, () => {
    let space: TestNamespace;
    const opened: Dataplane[] = [];
    beforeEach(() => {
      space = makeNamespace("calico-iptables");
    });
    afterEach(async () => {
      for (const dataplane of opened.splice(0)) await dataplane.close();
      space.dispose();
    });
    const open = async (v4: Program, options: Partial<IptablesOptions> = {}): Promise<Dataplane> => {
      const dataplane = await openIptables({ programs: { v4 }, backend, namespace: space.namespace, ...options });
      opened.push(dataplane);
      return dataplane;
    };
    const save = (where = space): string[] =>
      where
        .exec(`iptables-${backend}-save`)
        .split("\n")
        .filter((line) => /^-A|^:cali|^:[A-Z]+-/.test(line));
    const chain = (name: string): string[] => save().filter((line) => line.startsWith(`-A ${name} `));
    const members = (set: string): string[] =>
      [...space.exec("ipset", "save", set).matchAll(/^add \S+ (\S+)/gm)].map((found) => found[1] ?? "").sort();
    const failure = (dataplane: Dataplane): Promise<Error> =>
      dataplane.apply().then(
        () => new Error("it did not fail"),
        (error: Error) => error,
      );

    it("touches no IPv6 when it has no program for it", async () => {
      const v4 = new Program(4);
      v4.setSet("s:a", "net", ["10.0.0.1/32"]);
      v4.setChain("filter", { name: "cali-a", rules: [drop] });
      space.exec(`ip6tables-${backend}`, "-N", "cali-theirs");
      await (await open(v4)).apply();
      expect(space.exec(`ip6tables-${backend}-save`)).toContain(":cali-theirs ");
      expect(space.exec("ipset", "list", "-name").trim()).toBe("cali40s:a");
    });

    it("puts its rules behind those of others when it is told to append", async () => {
      space.exec(`iptables-${backend}`, "-A", "FORWARD", "-j", "ACCEPT");
      const v4 = new Program(4);
      v4.setChain("filter", { name: "cali-FORWARD", rules: [drop] });
      v4.setHook("filter", "FORWARD", { first: [jump("cali-FORWARD")], last: [port(1)] });
      const dataplane = await open(v4, { insertMode: "append", lockProbeInterval: 50 });
      await dataplane.apply();
      const shape = (): string[] => chain("FORWARD").map((line) => line.replace(/.* -j /, ""));
      expect(shape()).toEqual(["ACCEPT", "cali-FORWARD", "ACCEPT"]);
      space.exec(`iptables-${backend}`, "-A", "FORWARD", "-j", "RETURN");
      dataplane.recheck();
      expect((await dataplane.apply()).repaired).toEqual(["chain filter FORWARD had lost its way to Calico's rules"]);
      expect(shape()).toEqual(["ACCEPT", "RETURN", "cali-FORWARD", "ACCEPT"]);
    });

    it("finds the chains that are to blame, names them, and does all the rest", async () => {
      const v4 = new Program(4);
      for (let index = 0; index < 30; index++)
        v4.setChain("filter", { name: `cali-c${index}`, rules: [port(index + 1)] });
      const dataplane = await open(v4);
      await dataplane.apply();
      for (let index = 0; index < 30; index++) {
        const isBad = index === 7 || index === 23;
        v4.setChain("filter", { name: `cali-c${index}`, rules: [isBad ? impossible : port(index + 100)] });
      }
      v4.setChain("filter", { name: "cali-new", rules: [impossible] });
      v4.setChain("filter", { name: "cali-root", rules: [jump("cali-new"), jump("cali-c7")] });
      v4.setChain("mangle", { name: "cali-m", rules: [port(5)] });
      v4.setHook("filter", "FORWARD", { first: [jump("cali-root")], last: [] });
      const error = await failure(dataplane);
      expect(error.message).toMatch(/^DATAPLANE_REFUSED/);
      for (const name of ["cali-c7", "cali-c23", "cali-new"])
        expect(error.message).toContain(`chain filter ${name} was refused`);
      expect(chain("cali-c7").join()).toContain("--dports 8 ");
      expect(chain("cali-c23").join()).toContain("--dports 24 ");
      expect(chain("cali-new").join()).toMatch(/-j DROP$/);
      expect(chain("cali-c8").join()).toContain("--dports 108 ");
      expect(chain("cali-m")).toHaveLength(1);
      expect(chain("FORWARD")).toHaveLength(1);
      v4.setChain("filter", { name: "cali-c7", rules: [port(7)] });
      v4.setChain("filter", { name: "cali-c23", rules: [port(23)] });
      v4.setChain("filter", { name: "cali-new", rules: [port(9)] });
      await dataplane.apply();
      expect(chain("cali-new").join()).toContain("--dports 9 ");
    });

    it("keeps what fits of a set that is too big, closes the rules that need the rest, and goes on with it when there is room", async () => {
      const v4 = new Program(4);
      const address = (index: number): string => `10.0.0.${index}`;
      const range = (from: number, to: number): string[] =>
        Array.from({ length: to - from + 1 }, (_, index) => `${address(from + index)}/32`);
      v4.setSet("s:big", "net", range(1, 4));
      const inBig = { is: "set", side: "source", set: "s:big" } as const;
      v4.setChain("filter", { name: "cali-deny", rules: [{ match: [inBig], action: { do: "drop" } }] });
      v4.setChain("filter", { name: "cali-allow", rules: [{ match: [inBig], action: { do: "accept" } }] });
      const dataplane = await open(v4, { maxIpsetSize: 4 });
      await dataplane.apply();
      v4.changeSet("s:big", range(5, 6), range(1, 1));
      v4.setSet("s:other", "net", range(9, 9));
      v4.setSet("s:new", "net", range(1, 7));
      const error = await failure(dataplane);
      expect(error).toMatchObject({ code: "DATAPLANE_SET_FULL" });
      expect(error.message).toMatch(/set cali40s:big \(s:big\) is full: 1 members do not fit/);
      expect(error.message).toMatch(/set cali40s:new \(s:new\) is full: 3 members/);
      expect(members("cali40s:big")).toHaveLength(4);
      expect(members("cali40s:big")).toEqual(expect.arrayContaining(range(2, 4).map((net) => net.slice(0, -3))));
      expect(members("cali40s:other")).toEqual([address(9)]);
      expect(chain("cali-deny").join()).not.toContain("--match-set");
      expect(chain("cali-allow").join()).toContain("--match-set");
      expect(await failure(dataplane)).toMatchObject({ code: "DATAPLANE_SET_FULL" });
      v4.removeSet("s:new");
      v4.changeSet("s:big", [], range(2, 2));
      await dataplane.apply();
      expect(members("cali40s:big")).toEqual(range(3, 6).map((net) => net.slice(0, -3)));
      expect(chain("cali-deny").join()).toContain("--match-set");
      dataplane.recheck();
      expect(await dataplane.apply()).toMatchObject({ commands: 0, repaired: [] });
    });

    it("makes sets anew for another MaxIpsetSize under the rules that use them, and clears away what a killed one left", async () => {
      const v4 = new Program(4);
      v4.setSet("s:a", "net", ["10.0.0.1/32", "0.0.0.0/0"]);
      v4.setChain("filter", {
        name: "cali-a",
        rules: [{ match: [{ is: "set", side: "source", set: "s:a" }], action: { do: "drop" } }],
      });
      await (await open(v4, { maxIpsetSize: 100 })).apply();
      space.exec("ipset", "create", "cali4t0", "hash:ip", "family", "inet");
      const before = chain("cali-a");
      await (await open(v4, { maxIpsetSize: 200 })).apply();
      expect(chain("cali-a")).toEqual(before);
      expect(space.exec("ipset", "list", "-name").trim()).toBe("cali40s:a");
      expect(space.exec("ipset", "save")).toContain(" maxelem 200 ");
      expect(members("cali40s:a")).toEqual(["0.0.0.0/1", "10.0.0.1", "128.0.0.0/1"]);
    });

    it("has a member that is none left out and said, and the set's others in", async () => {
      const v4 = new Program(4);
      v4.setSet("s:a", "net", ["10.0.0.1/32", "example.org", "10.0.0.2/33"]);
      const error = await failure(await open(v4));
      expect(error.message).toContain('"example.org" cannot be its member');
      expect(members("cali40s:a")).toEqual(["10.0.0.1"]);
    });

    it("hears of what others change, and not of what it changes itself", async () => {
      const v4 = new Program(4);
      for (const name of ["cali-a", "cali-b", "cali-c"]) v4.setChain("filter", { name, rules: [port(1)] });
      v4.setHook("filter", "FORWARD", { first: [jump("cali-a")], last: [] });
      v4.setSet("s:a", "net", ["10.0.0.1/32"]);
      const dataplane = await open(v4, { ipsetCheckInterval: 20 });
      const heard: string[] = [];
      let wake = (): void => {};
      dataplane.onDrift((what) => {
        heard.push(what);
        wake();
      });
      const next = (): Promise<void> => {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        return promise;
      };
      await dataplane.apply();
      v4.setChain("filter", { name: "cali-b", rules: [port(2)] });
      v4.changeSet("s:a", ["10.0.0.2/32"], []);
      await dataplane.apply();
      let change = next();
      space.exec(`iptables-${backend}`, "-N", "SOMEBODY");
      space.exec(`iptables-${backend}`, "-F", "cali-c");
      await change;
      change = next();
      space.exec("ipset", "flush", "cali40s:a");
      await change;
      const [tables, sets, ...more] = heard;
      expect(tables).toMatch(/^chain (filter cali-c|cali-c of table filter) was changed$/);
      expect(sets).toBe("set cali40s:a had 0 members instead of 2");
      expect(more).toEqual([]);
      expect((await dataplane.apply()).repaired).toEqual([
        "chain filter cali-c was changed",
        "set cali40s:a had other members",
      ]);
      expect(space.exec(`iptables-${backend}-save`)).toContain(":SOMEBODY - [0:0]");
    });

    it("tells the sizes of sets without their members", async () => {
      space.exec("ipset", "create", "one", "hash:net");
      space.exec("ipset", "add", "one", "10.0.0.0/8");
      space.exec("ipset", "create", "two", "hash:ip,port", "family", "inet6");
      using netfilter = openNetfilter(space.namespace);
      expect(["one", "two", "none"].map((name) => readSetSize(netfilter, name))).toEqual([1, 0, "gone"]);
    });

    it("removes all that any version of Calico left, and nothing else", async () => {
      const lines = [
        "*nat",
        "-A POSTROUTING -o tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE",
        "-A POSTROUTING -o eth9 -j MASQUERADE",
        "COMMIT",
        "*filter",
        ":felix-FORWARD - [0:0]",
        ":cali-FORWARD - [0:0]",
        ":calitw-x - [0:0]",
        ":calico-dhcp - [0:0]",
        "-A FORWARD -j calico-dhcp",
        "-A FORWARD -j felix-FORWARD",
        '-A FORWARD -m comment --comment "cali:0123456789abcdef" -m set --match-set cali40old src -j cali-FORWARD',
        "-A cali-FORWARD -g calitw-x",
        "-A calitw-x -j DROP",
        "COMMIT",
      ];
      space.exec("ipset", "create", "cali40old", "hash:net");
      space.exec("ipset", "create", "theirs", "hash:net");
      space.run(() => spawnSync(`iptables-${backend}-restore`, ["--noflush"], { input: `${lines.join("\n")}\n` }));
      expect(chain("FORWARD")).toHaveLength(3);
      await removeIptables({ backend, namespace: space.namespace, versions: [4] });
      expect(
        save()
          .filter((line) => line.startsWith("-A"))
          .sort(),
      ).toEqual(["-A FORWARD -j calico-dhcp", "-A POSTROUTING -o eth9 -j MASQUERADE"]);
      expect(space.exec(`iptables-${backend}-save`)).toContain(":calico-dhcp ");
      expect(space.exec(`iptables-${backend}-save`)).not.toMatch(/felix|cali-|calitw/);
      expect(space.exec("ipset", "list", "-name").trim()).toBe("theirs");
    });

    it("ends, whatever series of programs led there, in the state that the last one makes from scratch", async () => {
      const names = ["cali-a", "cali-b", "cali-c"];
      const rule = (from: number) =>
        fc.oneof(
          fc.integer({ min: 1, max: 3 }).map(port),
          fc
            .constantFrom("s:1", "s:2")
            .map((set): Rule => ({ match: [{ is: "set", side: "source", set }], action: { do: "drop" } })),
          fc.constantFrom(...names.slice(from + 1), "cali-d").map(jump),
        );
      const program = fc.record({
        chains: fc.tuple(...names.map((_, index) => fc.array(rule(index), { maxLength: 3 }))),
        dropped: fc.constantFrom("", "cali-a"),
        sets: fc.tuple(
          ...[1, 2].map(() => fc.uniqueArray(fc.integer({ min: 1, max: 6 }).map((low) => `10.0.0.${low}/32`))),
        ),
        endpoints: fc.uniqueArray(fc.constantFrom("cali1a", "cali1b", "cali2", "tap0"), { maxLength: 4 }),
      });
      type Shape = typeof program extends fc.Arbitrary<infer T> ? T : never;
      const write = (target: Program, { chains, dropped, sets, endpoints }: Shape): void => {
        for (const [index, list] of sets.entries()) target.setSet(`s:${index + 1}`, "net", list);
        target.setChain("filter", { name: "cali-d", rules: [drop] });
        for (const [index, rules] of chains.entries()) {
          const name = names[index] ?? "";
          if (name === dropped) target.removeChain("filter", name);
          else target.setChain("filter", { name, rules });
        }
        const entries = new Map(endpoints.map((name) => [name, "cali-d"]));
        target.setDispatch("filter", { name: "cali-dispatch", direction: "in", entries, otherwise: [drop] });
        target.setHook("filter", "FORWARD", { first: dropped === "" ? [jump("cali-a")] : [], last: [port(9)] });
      };
      /** Chains may stand in any order, the rules of one may not. */
      const state = (where: TestNamespace): string[] => [
        ...save(where).toSorted((a, b) => (a.split(" ")[1] ?? a).localeCompare(b.split(" ")[1] ?? b)),
        ...where
          .exec("ipset", "save")
          .replaceAll(/ (hashsize|initval) \S+/g, "")
          .split("\n")
          .sort(),
      ];
      const property = fc.asyncProperty(
        program,
        fc.array(program, { minLength: 1, maxLength: 4 }),
        async (last, others) => {
          using walked = makeNamespace("calico-iptables");
          using direct = makeNamespace("calico-iptables");
          for (const [where, programs] of [
            [walked, [...others, last]],
            [direct, [last]],
          ] as const) {
            const v4 = new Program(4);
            const dataplane = await openIptables({
              programs: { v4 },
              backend,
              namespace: where.namespace,
              ipsetCheckInterval: 0,
            });
            try {
              for (const one of programs) {
                write(v4, one);
                await dataplane.apply();
              }
            } finally {
              await dataplane.close();
            }
          }
          expect(state(walked)).toEqual(state(direct));
        },
      );
      await fc.assert(property, { numRuns: 12 });
    });
  });
}

describe("without the tools", () => {
  const path = process.env.PATH;
  afterEach(() => {
    process.env.PATH = path;
  });

  it("does not open, and says what to install; there is nothing to remove", async () => {
    process.env.PATH = "/nowhere";
    const opening = openIptables({ programs: { v4: new Program(4) }, backend: "nft" });
    await expect(opening).rejects.toThrow(
      /DATAPLANE_TOOL_MISSING: there is no iptables-nft-restore to run; install iptables/,
    );
    await removeIptables({ backend: "nft", versions: [4] });
  });
});

suite("the xtables lock", () => {
  let folder: string;
  let lockFile: string;
  let space: TestNamespace;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-iptables-"));
    lockFile = join(folder, "xtables.lock");
    space = makeNamespace("calico-iptables");
  });
  afterEach(() => {
    space.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  it("that another holds too long fails the round, and the next one does its work", async () => {
    const v4 = new Program(4);
    v4.setChain("filter", { name: "cali-a", rules: [drop] });
    const options = {
      programs: { v4 },
      backend: "legacy",
      namespace: space.namespace,
      lockTimeout: 1,
      lockProbeInterval: 20.5,
      lockFile,
    } as const;
    const dataplane = await openIptables(options);
    try {
      const lock = lockFileSync(lockFile);
      await expect(dataplane.apply()).rejects.toThrow(/DATAPLANE_REFUSED.*xtables lock/);
      lock.release();
      expect((await dataplane.apply()).commands).toBe(2);
      expect(space.exec("iptables-legacy-save")).toContain("-A cali-a ");
    } finally {
      await dataplane.close();
    }
  });
});

suite("the choice of the back end", () => {
  let space: TestNamespace;
  beforeEach(() => {
    space = makeNamespace("calico-iptables");
  });
  afterEach(() => space.dispose());
  const run = (backend: Backend, ...args: readonly string[]): string => space.exec(`iptables-${backend}`, ...args);
  const detect = (specified?: "Legacy" | "NFT" | "Auto") =>
    detectBackend({ namespace: space.namespace, ...(specified && { specified }) });

  it.each(["nft", "legacy"] as const)(
    "follows kubelet's hints to %s, however many rules the other has",
    async (backend) => {
      run(backend, "-t", "mangle", "-N", backend === "nft" ? "KUBE-IPTABLES-HINT" : "KUBE-KUBELET-CANARY");
      for (let index = 0; index < 3; index++) run(backend === "nft" ? "legacy" : "nft", "-A", "INPUT", "-j", "ACCEPT");
      expect(await detect()).toEqual({ backend, reason: "kubelet's chains are there", kubeProxy: false });
    },
  );

  it.each(["nft", "legacy"] as const)("follows other chains of Kubernetes to %s", async (backend) => {
    run(backend, "-t", "nat", "-N", "KUBE-SERVICES");
    expect(await detect()).toMatchObject({ backend, kubeProxy: true });
  });

  it("follows the greater number of rules, and says it", async () => {
    run("legacy", "-A", "INPUT", "-j", "ACCEPT");
    for (let index = 0; index < 2; index++) run("nft", "-A", "INPUT", "-j", "ACCEPT");
    expect(await detect()).toMatchObject({ backend: "nft", reason: "1 rules of legacy, 2 of nft" });
    run("legacy", "-A", "INPUT", "-j", "ACCEPT");
    expect((await detect()).backend).toBe("legacy");
  });

  it("takes what the configuration says, whatever it finds", async () => {
    run("nft", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT");
    expect(await detect("Legacy")).toMatchObject({ backend: "legacy", reason: "the configuration says Legacy" });
    expect((await detect("NFT")).backend).toBe("nft");
  });
});
