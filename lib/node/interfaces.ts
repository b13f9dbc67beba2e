/** Which interfaces are no machine's way to others: by their names, as upstream knows them, and by what the kernel says they are. */
import type { HostInterface } from "./types.ts";

/** Names that first-found never looks at (node/pkg/lifecycle/startup/autodetection/autodetection_linux.go). `lo` is for all that begin so, as upstream has it. */
export const EXCLUDED_INTERFACES: readonly RegExp[] = [
  /^docker.*/,
  /^cbr.*/,
  /^dummy.*/,
  /^podman.*/,
  /^virbr.*/,
  /^lxcbr.*/,
  /^veth.*/,
  /^lo/,
  /^br-.*/,
  /^cali.*/,
  /^tunl.*/,
  /^flannel.*/,
  /^kube-ipvs.*/,
  /^cni.*/,
  /^vxlan\.calico.*/,
  /^vxlan-v6\.calico.*/,
  /^wireguard\.cali.*/,
  /^wg-v6\.cali.*/,
  /^nodelocaldns.*/,
];

export const isExcluded = (name: string): boolean => EXCLUDED_INTERFACES.some((pattern) => pattern.test(name));

/** Names beyond upstream's list that tell of the same. */
const SUSPECT_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^(docker|podman|cbr|cni|nerdctl|lxdbr|lxcbr|incusbr|br-)/, "a bridge for containers"],
  [/^virbr/, "a bridge for virtual machines"],
  [/^(cali|lxc|veth)/, "a workload's interface"],
  [/^(kube-ipvs|nodelocaldns|dummy)/, "an interface for service addresses"],
  [
    /^(tunl|vxlan|wireguard\.cali|wg|flannel|cilium_|weave|tun|tap|tailscale|zt|utun|gre|sit|ip6tnl|geneve|ipsec|nebula)/,
    "a tunnel",
  ],
];

const SUSPECT_KINDS: Readonly<Record<string, string>> = {
  wireguard: "a tunnel",
  vxlan: "a tunnel",
  geneve: "a tunnel",
  ipip: "a tunnel",
  sit: "a tunnel",
  gre: "a tunnel",
  gretap: "a tunnel",
  ip6tnl: "a tunnel",
  ip6gre: "a tunnel",
  erspan: "a tunnel",
  vti: "a tunnel",
  vti6: "a tunnel",
  xfrm: "a tunnel",
  tun: "a tunnel",
  nlmon: "no way to other machines",
  dummy: "an interface for service addresses",
  ifb: "no way to other machines",
};

/** Why an address of this interface is hardly one at which other machines reach this one; undefined when nothing speaks against it. */
export function suspicion({ name, kind, up }: HostInterface): string | undefined {
  if (name === "lo") return "the loopback interface";
  const byName = SUSPECT_NAMES.find(([pattern]) => pattern.test(name))?.[1];
  const byKind = kind === undefined ? undefined : SUSPECT_KINDS[kind];
  // A veth is what the machine has when it is a container or a lab node itself; its name says more than its kind.
  return byKind ?? byName ?? (up ? undefined : "down");
}
