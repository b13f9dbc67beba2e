/** The images that every node of a cluster has. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { IMAGE_FOLDERS, IMAGE_LINKS, IMAGE_PROGRAMS, IMAGE_TOOLS, xtablesFolder } from "../../lib/install/image.ts";
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

/** The triplet of Debian's name for the machine's architecture. */
const TRIPLET = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;

/** What the Containerfile describes (lib/install/image.ts has its lists), of the machine's files: our executable under its names, and its tools. */
export async function calicoImage(): Promise<Image> {
  const executable = (await withLibraries(join(DIST, "calico"))).map((file) =>
    file.from === join(DIST, "calico") ? { ...file, path: "usr/bin/calico" } : file,
  );
  const extensions = xtablesFolder(TRIPLET);
  return {
    name: CALICO,
    files: [
      ...executable,
      ...IMAGE_PROGRAMS.map((name) => ({ path: `usr/bin/${name}`, link: "calico" })),
      ...(await withLibraries(...IMAGE_TOOLS)),
      ...IMAGE_LINKS.map(([name, link]) => ({ path: `usr/sbin/${name}`, link })),
      ...readdirSync(extensions).map((name) => ({
        path: join(extensions, name).slice(1),
        from: join(extensions, name),
      })),
      ...IMAGE_FOLDERS.map((path) => ({ path })),
    ],
  };
}
