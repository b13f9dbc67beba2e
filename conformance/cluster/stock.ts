/** The images that every node of a cluster has. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DIST, missingTool } from "../lab/index.ts";
import { type Image, type ImageFile, withLibraries } from "./images.ts";

export const PAUSE = "cluster.test/pause:1";
export const BUSYBOX = "cluster.test/busybox:1";
export const CALICO = "cluster.test/calico:1";

const APPLETS = "sh sleep ping nc httpd ip cat ls echo hostname mkdir printf traceroute".split(" ");
const BUSYBOX_FILE = "/bin/busybox";

export const missingBusybox = (): string | undefined => (existsSync(BUSYBOX_FILE) ? undefined : missingTool("busybox"));

export function stockImages(): Image[] {
  const busybox: ImageFile = { path: "bin/busybox", from: BUSYBOX_FILE };
  return [
    // Holds a pod's namespaces: it stays, and ends when it is told to, which the first process of a pid namespace does only by a handler.
    {
      name: PAUSE,
      files: [busybox, { path: "bin/sh", link: "busybox" }],
      command: ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do busybox sleep 2147483647 & wait $!; done"],
    },
    {
      name: BUSYBOX,
      files: [
        busybox,
        ...APPLETS.map((applet) => ({ path: `bin/${applet}`, link: "busybox" })),
        ...["etc", "tmp", "proc", "sys", "dev", "run"].map((path) => ({ path })),
        { path: "etc/passwd", text: "root:x:0:0:root:/:/bin/sh\n" },
      ],
      command: ["/bin/sh"],
    },
  ];
}

const XTABLES = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/xtables`;

/** Our executable under its names, and the tools with which it talks to the kernel: nothing else, no shell. */
export async function calicoImage(): Promise<Image> {
  const tools = ["nft", "ipset", "xtables-nft-multi", "xtables-legacy-multi"].map((tool) => `/usr/sbin/${tool}`);
  const links = ["iptables", "ip6tables"].flatMap((tool) =>
    ["", "-save", "-restore"].flatMap((part) => [
      { path: `usr/sbin/${tool}${part}`, link: "xtables-nft-multi" },
      { path: `usr/sbin/${tool}-nft${part}`, link: "xtables-nft-multi" },
      { path: `usr/sbin/${tool}-legacy${part}`, link: "xtables-legacy-multi" },
    ]),
  );
  const executable = (await withLibraries(join(DIST, "calico"))).map((file) =>
    file.from === join(DIST, "calico") ? { ...file, path: "usr/bin/calico" } : file,
  );
  return {
    name: CALICO,
    files: [
      ...executable,
      ...["calico-node", "calicoctl", "calico-ipam", "calico-cni"].map((name) => ({
        path: `usr/bin/${name}`,
        link: "calico",
      })),
      ...(await withLibraries(...tools)),
      ...links,
      ...readdirSync(XTABLES).map((name) => ({ path: `${XTABLES.slice(1)}/${name}`, from: join(XTABLES, name) })),
      ...["etc", "tmp", "proc", "sys", "dev", "run", "var/run", "var/lib", "lib/modules"].map((path) => ({ path })),
    ],
    command: ["/usr/bin/calico-node"],
  };
}
