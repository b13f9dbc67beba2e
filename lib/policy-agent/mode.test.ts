import { expect, test } from "vitest";
import { chooseMode, followMode, type ModeFacts, otherModes } from "./mode.ts";

const facts = (given: {
  table?: boolean;
  ipvs?: boolean;
  backend?: "nft" | "legacy";
  kubeProxy?: boolean;
  missing?: string;
  traces?: () => string;
}): ModeFacts => ({
  traces: async () => given.traces?.() ?? "",
  kubeProxyTable: async () => given.table ?? false,
  ipvsInterface: () => given.ipvs ?? false,
  iptables: async () => ({
    backend: given.backend ?? "legacy",
    reason: "KUBE chains",
    kubeProxy: given.kubeProxy ?? false,
  }),
  nftMissing: async () => given.missing,
});
const auto = { nftablesMode: "Auto", iptablesBackend: "auto" } as const;

test("Auto follows kube-proxy's nftables table", async () => {
  expect((await chooseMode(auto, facts({ table: true, kubeProxy: true }))).mode).toBe("nftables");
});

test("Auto takes iptables where kube-proxy's chains are, in the back end in which they are", async () => {
  expect((await chooseMode(auto, facts({ kubeProxy: true, backend: "nft" }))).mode).toBe("iptables-nft");
  expect((await chooseMode(auto, facts({ kubeProxy: true, backend: "legacy" }))).mode).toBe("iptables-legacy");
});

test("Auto takes iptables where kube-proxy uses IPVS", async () => {
  expect((await chooseMode(auto, facts({ ipvs: true, backend: "nft" }))).mode).toBe("iptables-nft");
});

test("Auto takes nftables where there is no kube-proxy, if it can", async () => {
  expect((await chooseMode(auto, facts({}))).mode).toBe("nftables");
  const { mode, reason } = await chooseMode(auto, facts({ missing: "nft is not installed" }));
  expect(mode).toBe("iptables-legacy");
  expect(reason).toContain("nft is not installed");
});

test("a back end that is asked for is used, whatever is found", async () => {
  const legacy = { nftablesMode: "Disabled", iptablesBackend: "legacy" } as const;
  expect((await chooseMode(legacy, facts({ table: true, backend: "nft" }))).mode).toBe("iptables-legacy");
  expect((await chooseMode({ ...legacy, nftablesMode: "Enabled" }, facts({ kubeProxy: true }))).mode).toBe("nftables");
  const followed = { nftablesMode: "Auto", iptablesBackend: "nft" } as const;
  expect((await chooseMode(followed, facts({ kubeProxy: true, backend: "legacy" }))).mode).toBe("iptables-nft");
});

test("the others are what may be left over", () => {
  expect(otherModes("iptables-nft")).toEqual(["nftables", "iptables-legacy"]);
});

test("the choice is made again when kubelet or kube-proxy came, went or moved, and not before", async () => {
  let [traces, asked] = ["", 0];
  const now = facts({ traces: () => traces });
  const counted: ModeFacts = {
    ...now,
    iptables: async () => {
      asked++;
      return { ...(await now.iptables()), kubeProxy: traces !== "", backend: "nft" };
    },
  };
  const { choice, again } = await followMode(auto, counted);
  expect(choice.mode).toBe("nftables");
  expect([await again(), await again(), asked]).toEqual([undefined, undefined, 1]);
  traces = "KUBE-SERVICES";
  expect((await again())?.mode).toBe("iptables-nft");
  expect([await again(), asked]).toEqual([undefined, 2]);
});

test("a choice that could not be made is made the next time", async () => {
  let [traces, broken] = ["", false];
  const now = facts({ traces: () => traces });
  const { again } = await followMode(auto, {
    ...now,
    iptables: () => (broken ? Promise.reject(new Error("locked")) : now.iptables()),
  });
  [traces, broken] = ["KUBE-SERVICES", true];
  await expect(again()).rejects.toThrow("locked");
  broken = false;
  expect((await again())?.mode).toBe("nftables");
});

test.each([
  ["Enabled", "auto", "nftables"],
  ["Disabled", "nft", "iptables-nft"],
] as const)(
  "with NFTablesMode=%s, too, IPVS is followed: it takes other rules",
  async (nftablesMode, backend, mode) => {
    const given = { ipvs: false };
    const now: ModeFacts = { ...facts({}), ipvsInterface: () => given.ipvs };
    const { choice, again } = await followMode({ nftablesMode, iptablesBackend: backend }, now);
    expect([choice.mode, choice.ipvs, await again()]).toEqual([mode, false, undefined]);
    given.ipvs = true;
    expect(await again()).toMatchObject({ mode, ipvs: true });
    expect(await again()).toBeUndefined();
    given.ipvs = false;
    expect(await again()).toMatchObject({ mode, ipvs: false });
  },
);

test("what the configuration settles is never asked for", async () => {
  const never = facts({ traces: () => expect.unreachable() });
  const fixed = { nftablesMode: "Disabled", iptablesBackend: "legacy" } as const;
  for (const settings of [{ ...auto, nftablesMode: "Enabled" } as const, fixed]) {
    expect(await (await followMode(settings, never)).again()).toBeUndefined();
  }
});
