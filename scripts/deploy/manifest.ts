/** deploy/calico.yaml: everything that a cluster needs, in the order in which it is applied. */
import { crdsOf, toYaml } from "../../lib/api/crd/index.ts";
import { accessObjects, upgradeAccessObjects } from "./access.ts";
import { labels, type ManifestObject } from "./common.ts";
import { controllerObjects } from "./controllers.ts";
import { configMap, nodeDaemonSet } from "./node.ts";

/** Whoever installs puts the image where the nodes find it, and its name in this one's place. */
export const imageOf = (version: string): string => `calico-ts/calico:v${version}`;

export function manifestObjects(image: string): ManifestObject[] {
  const crds = (crdsOf("v1") as unknown as ManifestObject[]).map((crd) => ({
    ...crd,
    metadata: { ...crd.metadata, labels: { ...crd.metadata.labels, ...labels("crds") } },
  }));
  return [...crds, ...accessObjects(), configMap(), nodeDaemonSet(image), ...controllerObjects(image)];
}

export const manifest = (
  image: string,
): string => `# Made by \`npm run generate:deploy\`: change the code that it is made of, not this file.
# How to install it: docs/install.md. In a cluster that runs another Calico: docs/upgrade.md.
# The image is made by the Containerfile; its name here is ${image}, put your own in its place.
# Parts have the label app.kubernetes.io/component: crds, access, config, node, controllers.
${toYaml(manifestObjects(image))}`;

/** deploy/upgrade-access.yaml, which is no part of an installation. */
export const upgradeAccess =
  (): string => `# Made by \`npm run generate:deploy\`: change the code that it is made of, not this file.
# What nodes that were changed may do beside what another Calico's roles let them, while both run: docs/upgrade.md applies it, and deletes it at the end.
${toYaml(upgradeAccessObjects())}`;
