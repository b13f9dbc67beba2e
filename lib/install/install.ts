/** Everything at once and once, as upstream's installer does it: certificates, executables, kubeconfig, and last the network configuration. */
import { dirname, join } from "node:path";
import { pathExists, readTextFile } from "../sys/index.ts";
import { confNames, type Env, type Places, placeConflist } from "./conflist.ts";
import { InstallError } from "./errors.ts";
import { installExecutables } from "./executables.ts";
import type { Step } from "./files.ts";
import { installedTls, installTls } from "./tls.ts";
import { renewKubeconfig, SECRETS, tokenSourceOf } from "./token.ts";

/** In the order in which they are done: each needs those before it. */
export const PARTS = ["executables", "kubeconfig", "conflist"] as const;
export type Part = (typeof PARTS)[number];

export interface InstallOptions {
  readonly env: Env;
  readonly parts: readonly Part[];
  readonly places: Places;
  /** The executable to install. */
  readonly executable: string;
  readonly binFolders: readonly string[];
  /** Makes those that are not there. */
  readonly makesFolders?: boolean;
  /** The image's folder of further plugins. */
  readonly furtherPlugins?: string;
  /** The pod's service account. */
  readonly secrets?: string;
  /** What the node is called where the environment does not say. */
  readonly node: string;
  /** Nothing is written and no token made; the steps are those that would be done. */
  readonly dryRun?: boolean;
  readonly onStep: (step: Step) => void;
  readonly warn: (message: string) => void;
}

/**
 * Throws {@link InstallError} at the first step that cannot be done; those before it hold, and doing all again is harmless. A dry run throws the
 * same, after it has said that the file would be left alone.
 */
export async function install(options: InstallOptions): Promise<void> {
  const { env, parts, places, executable, dryRun = false, warn, secrets = SECRETS } = options;
  const node = env.KUBERNETES_NODE_NAME || options.node;
  const expected = new Set<string>();
  const onStep = (step: Step): void => {
    if (dryRun && step.action !== "removed") expected.add(step.path);
    options.onStep(step);
  };
  if (parts.includes("executables")) {
    const { binFolders: folders, makesFolders = false, furtherPlugins: further } = options;
    for (const step of installExecutables(env, {
      ...{ source: executable, folders, makesFolders, dryRun, warn },
      ...(further !== undefined && { further }),
    }))
      onStep(step);
  }
  if (!parts.includes("kubeconfig") && !parts.includes("conflist")) return;
  if (!pathExists(places.netFolder))
    throw new InstallError(
      "FILES",
      `there is no folder ${places.netFolder}: mount the node's folder of network configurations there, or name it by --net-dir`,
    );
  for (const step of installTls(env, places, dryRun)) onStep(step);
  if (parts.includes("kubeconfig")) {
    const source = tokenSourceOf(env, node, secrets);
    if (source) onStep(await renewKubeconfig(source, places, dryRun));
    else warn("no kubeconfig is written: this is not a pod with a service account");
  }
  if (parts.includes("conflist")) {
    const token = readTextFile(join(secrets, "token"));
    // In a dry run the first one may not have been made yet.
    const binFolder = options.binFolders.find((folder) => pathExists(folder) || isBelow(folder, expected));
    const facts = { node, token, tls: installedTls(places) };
    try {
      for (const step of placeConflist(env, places, facts, { binFolder, dryRun, expected, warn })) onStep(step);
    } catch (error) {
      if (dryRun && error instanceof InstallError && (error.code === "INCOMPLETE" || error.code === "FOREIGN"))
        onStep({ path: join(places.netFolder, confNames(env).name), action: "left alone", why: error.message });
      throw error;
    }
  }
}

const isBelow = (folder: string, files: ReadonlySet<string>): boolean =>
  files.values().some((file) => dirname(file) === folder);
