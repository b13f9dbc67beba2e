/** Who takes part in `bench:cni`: ways to give a pod an interface and to take it away, all as processes a runtime starts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Command {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

export interface Contestant {
  readonly name: string;
  /** Commands run one after the other; their times add up. */
  add(pod: Pod): readonly Command[];
  del(pod: Pod): readonly Command[];
}

/** A network namespace that waits for an interface. `id` is unique over the whole run. */
export interface Pod {
  readonly id: number;
  readonly netns: string;
}

/** Unique within its first 11 characters, which is what the host interface is named by. */
const containerId = (pod: Pod) => `be${pod.id.toString(16).padStart(9, "0")}0123456789abcdef`;

/** A CNI plugin called as a runtime calls it. */
export function plugin(name: string, executable: string, cniPath: string, config: object): Contestant {
  const stdin = JSON.stringify(config);
  const call = (command: string, pod: Pod): Command[] => [
    {
      argv: [executable],
      stdin,
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId(pod),
        CNI_NETNS: `/run/netns/${pod.netns}`,
        CNI_IFNAME: "eth0",
        CNI_PATH: cniPath,
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      },
    },
  ];
  return { name, add: (pod) => call("ADD", pod), del: (pod) => call("DEL", pod) };
}

/** What the kernel's part alone costs: the same objects made by two `ip -batch` calls and removed by one `ip link del`. */
export function floor(folder: string): Contestant {
  const link = (pod: Pod) => `flr${pod.id.toString(16)}`;
  return {
    name: "floor: ip -batch",
    add(pod) {
      const address = `10.99.${(pod.id >> 8) & 255}.${pod.id & 255}`;
      const host = join(folder, `host-${pod.id}`);
      const inside = join(folder, `pod-${pod.id}`);
      writeFileSync(
        host,
        `link add ${link(pod)} type veth peer name eth0 netns ${pod.netns}\n` +
          `link set ${link(pod)} address ee:ee:ee:ee:ee:ee up\nroute add ${address} dev ${link(pod)} scope link\n`,
      );
      writeFileSync(
        inside,
        `link set lo up\nlink set eth0 up\naddr add ${address}/32 dev eth0\n` +
          "route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0\n",
      );
      return [{ argv: ["ip", "-batch", host] }, { argv: ["ip", "-n", pod.netns, "-batch", inside] }];
    },
    del: (pod) => [{ argv: ["ip", "link", "del", link(pod)] }],
  };
}
