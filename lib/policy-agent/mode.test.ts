import { expect, test } from "vitest";
import { chooseMode, type ModeFacts, otherModes } from "./mode.ts";

const facts = (given: {
  table?: boolean;
  ipvs?: boolean;
  backend?: "nft" | "legacy";
  kubeProxy?: boolean;
  missing?: string;
}): ModeFacts => ({
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
