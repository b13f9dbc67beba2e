import { describe, expect, it } from "vitest";
import { RenderContext } from "./context.ts";
import { endpointMarkChains } from "./ipvs.ts";
import type { Chain, IpVersion, Table } from "./ir.ts";
import { EndpointMarks } from "./marks.ts";
import { CHAIN } from "./names.ts";
import { RULES_DEFAULTS, type RulesConfig } from "./options.ts";
import { printChain, printRule } from "./print.ts";
import { hooks, staticChains } from "./static.ts";

const context = (config: Partial<RulesConfig> = {}) => new RenderContext({ ...RULES_DEFAULTS, ...config });

function chain(
  table: Table,
  name: string,
  config: Partial<RulesConfig> = {},
  options: { readonly version?: IpVersion; readonly ipip?: boolean; readonly vxlan?: boolean } = {},
): string[] {
  const { version = 4, ipip = false, vxlan = false } = options;
  const all = staticChains(context(config), version, { ipip, vxlan });
  const found = all.find((each) => each.table === table && each.chain.name === name);
  expect(found, `${table} ${name}`).toBeDefined();
  return found!.chain.rules.map(printRule);
}

describe("the kernel's hooks", () => {
  it("are entered where upstream enters them, nat POSTROUTING after everybody else", () => {
    expect(
      hooks(context()).map(
        ({ table, hook, rules }) => `${table} ${hook} ${rules.first.map(printRule)} … ${rules.last.map(printRule)}`,
      ),
    ).toEqual([
      "raw PREROUTING -> jump cali-PREROUTING … ",
      "raw OUTPUT -> jump cali-OUTPUT … ",
      "mangle PREROUTING -> jump cali-PREROUTING … ",
      "mangle POSTROUTING -> jump cali-POSTROUTING … ",
      "nat PREROUTING -> jump cali-PREROUTING … ",
      "nat OUTPUT -> jump cali-OUTPUT … ",
      "nat POSTROUTING  … -> jump cali-POSTROUTING",
      "filter INPUT -> jump cali-INPUT … ",
      "filter OUTPUT -> jump cali-OUTPUT … ",
      "filter FORWARD -> jump cali-FORWARD … mark=0x10000/0x10000 -> accept  # Policy explicitly accepted packet.,-> set-mark 0x10000/0x10000",
    ]);
  });
});

describe("static chains", () => {
  it("refuse spoofed sources of workloads before connection tracking, and ask untracked policy of the others", () => {
    expect(chain("raw", CHAIN.prerouting, { interfacePrefixes: ["cali", "tap"] }, { vxlan: true })).toEqual([
      "-> set-mark 0x0/0x1b0000",
      "proto=17 dst-port=4789 -> notrack",
      "in=cali* -> set-mark 0x80000/0x80000",
      "in=tap* -> set-mark 0x80000/0x80000",
      "mark=0x80000/0x80000 -> jump cali-rpf-skip",
      "mark=0x80000/0x80000 rpf-failed -> drop",
      "mark=0x0/0x80000 -> jump cali-from-host-endpoint",
      "mark=0x10000/0x10000 -> accept",
    ]);
    expect(chain("raw", CHAIN.output, { vxlanPort: 8472 }, { vxlan: true })).toEqual([
      "-> set-mark 0x0/0x1b0000",
      "-> jump cali-to-host-endpoint",
      "proto=17 dst-port=8472 -> notrack",
      "mark=0x10000/0x10000 -> accept",
    ]);
  });

  it("ask pre-DNAT policy of packets that open a connection, and egress policy of translated ones", () => {
    expect(chain("mangle", CHAIN.prerouting, { mangleAllowAction: "RETURN" })).toEqual([
      "ct=related,established -> return",
      "mark=0x10000/0x10000 -> return",
      "-> jump cali-from-host-endpoint",
      "mark=0x10000/0x10000 -> return  # Host endpoint policy accepted packet.",
    ]);
    expect(chain("mangle", CHAIN.postrouting)).toEqual([
      "-> jump cali-egress-dscp",
      "mark=0x10000/0x10000 -> return",
      "-> set-mark 0x0/0x1b0000",
      "dnatted -> jump cali-to-host-endpoint",
      "mark=0x10000/0x10000 -> return  # Host endpoint policy accepted packet.",
    ]);
  });

  it("lead forwarded packets past both of their endpoints", () => {
    expect(chain("filter", CHAIN.forward)).toEqual([
      "-> set-mark 0x0/0x1a0000",
      "mark=0x0/0x10000 -> jump cali-from-hep-forward",
      "in=cali* -> jump cali-from-wl-dispatch",
      "out=cali* -> jump cali-to-wl-dispatch",
      "-> jump cali-to-hep-forward",
      "-> jump cali-cidr-block",
    ]);
  });

  it("let tunnels in from hosts of the cluster only", () => {
    expect(chain("filter", CHAIN.input, {}, { ipip: true, vxlan: true }).slice(0, 5)).toEqual([
      "proto=4 src@all-hosts-net dst-local -> accept  # Allow IPIP packets from Calico hosts",
      "proto=4 -> drop  # Drop IPIP packets from non-Calico hosts",
      "proto=17 dst-port=4789 src@all-vxlan-net dst-local -> accept  # Allow IPv4 VXLAN packets from allowed hosts",
      "proto=17 dst-port=4789 dst-local -> drop  # Drop IPv4 VXLAN packets from non-allowed hosts",
      "in=cali* -> goto cali-wl-to-host",
    ]);
    expect(chain("filter", CHAIN.output, {}, { ipip: true, vxlan: true })).toEqual([
      "mark=0x10000/0x10000 -> accept",
      "out=cali* -> return",
      "proto=4 dst@all-hosts-net src-local -> accept  # Allow IPIP packets to other Calico hosts",
      "proto=17 dst-port=4789 src-local dst@all-vxlan-net -> accept  # Allow IPv4 VXLAN packets to other allowed hosts",
      "-> set-mark 0x0/0x1b0000",
      "!dnatted -> jump cali-to-host-endpoint",
      "mark=0x10000/0x10000 -> accept  # Host endpoint policy accepted packet.",
    ]);
  });

  it("let WireGuard through, each IP version by its port", () => {
    const config = { wireguardPort: 51820, wireguardPortV6: 51821 };
    expect(chain("filter", CHAIN.input, config)[0]).toBe(
      "proto=17 dst-port=51820 dst-local -> accept  # Allow incoming IPv4 Wireguard packets",
    );
    expect(chain("filter", CHAIN.output, config, { version: 6 })).toContain(
      "proto=17 dst-port=51821 src-local -> accept  # Allow outgoing IPv6 Wireguard packets",
    );
    expect(chain("filter", CHAIN.input, { wireguardPort: 51820 }, { version: 6 })[0]).toBe(
      "in=cali* -> goto cali-wl-to-host",
    );
  });

  it("do with packets from workloads to the host what DefaultEndpointToHostAction says, after policy", () => {
    const last = (defaultEndpointToHostAction: RulesConfig["defaultEndpointToHostAction"]) =>
      chain("filter", CHAIN.workloadToHost, { defaultEndpointToHostAction });
    expect(last("DROP")).toEqual([
      "-> jump cali-from-wl-dispatch",
      "-> drop  # Configured DefaultEndpointToHostAction",
    ]);
    expect(last("ACCEPT")[1]).toMatch(/^-> accept/);
    expect(last("RETURN")[1]).toMatch(/^-> return/);
    expect(last("REJECT")[1]).toMatch(/^-> reject icmp/);
  });

  it("let workloads find their IPv6 router whatever policy says", () => {
    expect(chain("filter", CHAIN.workloadToHost, {}, { version: 6 }).slice(0, -2)).toEqual(
      [130, 131, 132, 133, 135, 136].map((type) => `proto=58 icmp=${type} -> accept`),
    );
  });

  it("keep failsafe ports open, also for answers where there is no connection tracking", () => {
    const config = {
      failsafeInboundHostPorts: [{ protocol: 6, port: 22, net: "10.0.0.0/8" }],
      failsafeOutboundHostPorts: [{ protocol: 17, port: 53, net: "fd00::/8" }],
    };
    expect(chain("filter", CHAIN.failsafeIn, config)).toEqual(["proto=6 dst-port=22 src=10.0.0.0/8 -> accept"]);
    expect(chain("filter", CHAIN.failsafeOut, config)).toEqual([]);
    expect(chain("raw", CHAIN.failsafeOut, config)).toEqual(["proto=6 src-port=22 dst=10.0.0.0/8 -> accept"]);
    const v6 = { version: 6 } as const;
    expect(chain("mangle", CHAIN.failsafeOut, config, v6)).toEqual(["proto=17 dst-port=53 dst=fd00::/8 -> accept"]);
    expect(chain("raw", CHAIN.failsafeIn, config, v6)).toEqual(["proto=17 src-port=53 src=fd00::/8 -> accept"]);
  });
});

describe("with IPVS", () => {
  const config = { kubeIPVSSupportEnabled: true, kubeNodePortRanges: [{ first: 30000, last: 32767 }] };

  it("INPUT marks what is forwarded, and OUTPUT finds its endpoint by the mark", () => {
    expect(chain("filter", CHAIN.input, config).slice(0, 3)).toEqual([
      "-> set-mark 0x0/0xffe00000",
      "-> jump cali-forward-check",
      "!mark=0x0/0xffe00000 -> return",
    ]);
    expect(chain("filter", CHAIN.forwardCheck, config)).toEqual([
      "ct=related,established -> return",
      "proto=6 dst-port=30000-32767 dst@this-host -> goto cali-set-endpoint-mark  # To kubernetes NodePort service",
      "proto=17 dst-port=30000-32767 dst@this-host -> goto cali-set-endpoint-mark  # To kubernetes NodePort service",
      "!dst@this-host -> jump cali-set-endpoint-mark  # To kubernetes service",
    ]);
    expect(chain("filter", CHAIN.output, config)[1]).toBe("!mark=0x0/0xffe00000 -> goto cali-forward-endpoint-mark");
    expect(chain("mangle", CHAIN.postrouting, config)[2]).toBe("!mark=0x0/0xffe00000 -> return");
    expect(chain("filter", CHAIN.forwardEndpointMark, config)).toEqual([
      "!mark=0x200000/0xffe00000 -> jump cali-from-endpoint-mark",
      "out=cali* -> jump cali-to-wl-dispatch",
      "-> jump cali-to-hep-forward",
      "-> set-mark 0x0/0xffe00000",
      "mark=0x10000/0x10000 -> accept  # Policy explicitly accepted packet.",
    ]);
  });

  it("every endpoint has a mark of its own; one for which there is none left is closed", () => {
    const ctx = context({ ...config, markMask: 0x7f0000 });
    const { endpoint, nonCaliEndpoint } = ctx.marks;
    const marks = new EndpointMarks(endpoint, nonCaliEndpoint);
    const { dispatch, chains } = endpointMarkChains(ctx, marks, ["calia", "calib"], ["eth0"]);
    expect([...dispatch.entries]).toEqual([
      ["calia", "cali-sm-calia"],
      ["calib", "cali-sm-calib"],
      ["eth0", "cali-sm-eth0"],
    ]);
    expect(dispatch.otherwise.map(printRule)).toEqual([
      "in=cali* -> drop  # Unknown endpoint",
      "-> set-mark 0x200000/0x600000  # Non-Cali endpoint mark",
    ]);
    const text = (name: string) => printChain(chains.find((each: Chain) => each.name === name)!);
    const [a, b] = ["calia", "calib"].map((name) => marks.get(name)!.toString(16));
    expect(text("cali-sm-calia")).toBe(`cali-sm-calia:\n  -> set-mark 0x${a}/0x600000`);
    expect(text("cali-sm-eth0")).toBe("cali-sm-eth0:\n  -> drop  # No mark left for the endpoint");
    expect(text("cali-from-endpoint-mark")).toBe(`cali-from-endpoint-mark:
  mark=0x${a}/0x600000 -> goto cali-fw-calia
  mark=0x${b}/0x600000 -> goto cali-fw-calib
  -> drop  # Unknown interface`);
  });
});
