/** The text of the Containerfile, from the list of what an image holds. */
import {
  IMAGE_FOLDERS,
  IMAGE_LINKS,
  IMAGE_PACKAGES,
  IMAGE_PROGRAMS,
  IMAGE_TOOLS,
  xtablesFolder,
} from "../../lib/install/image.ts";

/** Lines for a shell: what the image holds, copied below `root`. */
export function imageScript(root: string, executable: string): string[] {
  return [
    "set -e",
    `root=${root}`,
    `mkdir -p ${["usr/bin", "usr/sbin", ...IMAGE_FOLDERS].map((folder) => `"$root/${folder}"`).join(" ")}`,
    // ldd says "name => /path (0x…)", or "/path (0x…)" of the loader.
    `libraries() { ldd "$@" | sed -n 's/^.*[[:space:]]\\(\\/[^ ]*\\) (0x.*/\\1/p' | sort -u; }`,
    `cp -L --parents ${IMAGE_TOOLS.join(" ")} $(libraries ${IMAGE_TOOLS.join(" ")} ${executable}) "$root"`,
    `cp -L --parents ${xtablesFolder("*-linux-gnu")}/*.so "$root"`,
    `for pair in ${IMAGE_LINKS.map(([name, target]) => `${name}:${target}`).join(" ")}; do ln -s "\${pair#*:}" "$root/usr/sbin/\${pair%:*}"; done`,
    `install -m 755 ${executable} "$root/usr/bin/calico"`,
    `for name in ${IMAGE_PROGRAMS.join(" ")}; do ln -s calico "$root/usr/bin/$name"; done`,
  ];
}

export const containerfile = (): string => `# Made by \`npm run generate:deploy\`: change scripts/deploy, not this file.
# \`npm ci && npm run build\` first: what is put in is dist/calico, of this machine's architecture.
FROM debian:bookworm-slim AS root
RUN apt-get update && apt-get install --yes --no-install-recommends ${IMAGE_PACKAGES.join(" ")}
COPY dist/calico /tmp/calico
RUN ${imageScript("/image", "/tmp/calico").join("; \\\n    ")}

# Nothing but the executable under its names, and nft, iptables and ipset with the libraries that they are linked with.
FROM scratch
COPY --from=root /image /
ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin
CMD ["/usr/bin/calico-node"]
`;
