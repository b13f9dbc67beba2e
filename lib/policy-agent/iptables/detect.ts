/** Which back end the rest of the machine uses, found as kubelet's users are told to (kubernetes-sigs/iptables-wrappers). */
import { readFileSync } from "node:fs";
import { inNamespace, type Namespace } from "../../sys/index.ts";
import { type Logger, silentLogger } from "../../telemetry/index.ts";
import type { IpVersion } from "../rules/index.ts";
import { type Backend, DEFAULTS } from "./options.ts";
import { hasTool, iptablesTool, makeTools } from "./run.ts";

export interface DetectOptions {
  /** IptablesBackend: `Auto` when absent. */
  readonly specified?: "Legacy" | "NFT" | "Auto";
  readonly namespace?: Namespace;
  /** The choice and its reason are logged here. */
  readonly logger?: Logger;
}

export interface BackendChoice {
  readonly backend: Backend;
  /** In words. */
  readonly reason: string;
  /** kube-proxy's chains for Services are there: it runs in iptables mode. */
  readonly kubeProxy: boolean;
}

/** kubelet makes these so that others can tell (KEP-3178); the older one since 1.17. */
const HINTS = /^:KUBE-(?:IPTABLES-HINT|KUBELET-CANARY) /m;
const KUBERNETES = /^:KUBE-/m;
const KUBE_PROXY = /^:KUBE-SERVICES /m;
/** The chains by whose names kubelet and kube-proxy are found. */
export const KUBERNETES_CHAINS: ReadonlySet<string> = new Set([
  ...["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-SERVICES"],
]);
const OWN = /^-A cali-|--comment "?cali:/;

/** Chooses the back end. Reads only, and loads no kernel module of the legacy back end that is not loaded. */
export async function detectBackend(options: DetectOptions = {}): Promise<BackendChoice> {
  const { specified = "Auto", namespace, logger = silentLogger } = options;
  const tools = makeTools({ timeout: DEFAULTS.toolTimeout, ...(namespace && { namespace }) });
  const save = async (backend: Backend): Promise<string> => {
    let all = "";
    for (const version of [4, 6] as const) {
      // Where only the plain name is there, it is of one back end, and the other must not be asked by it.
      if (!hasTool(`${version === 4 ? "iptables" : "ip6tables"}-${backend}-save`)) continue;
      if (backend === "legacy" && !legacyLoaded(version, namespace)) continue;
      // All tables that are there: asking for one by its name makes it.
      all += (await tools.run([iptablesTool(version, backend, "save")])).output;
    }
    return all;
  };
  const saved = { nft: await save("nft"), legacy: await save("legacy") };
  const found = choose(saved);
  const wanted = specified === "Auto" ? undefined : specified === "NFT" ? "nft" : "legacy";
  const kubeProxy = KUBE_PROXY.test(saved.nft) || KUBE_PROXY.test(saved.legacy);
  const choice: BackendChoice =
    wanted === undefined
      ? { ...found, kubeProxy }
      : { backend: wanted, reason: `the configuration says ${specified}`, kubeProxy };
  if (choice.backend !== found.backend) {
    logger.warning("the iptables back end is not the one that others use", {
      ...choice,
      found: found.backend,
      because: found.reason,
    });
  } else logger.info("chose the iptables back end", { ...choice });
  return choice;
}

/** Those of {@link KUBERNETES_CHAINS} that the legacy back end has: `4 KUBE-SERVICES`. To ask for a chain there is to read all rules. */
export async function legacyChains(): Promise<string[]> {
  const tools = makeTools({ timeout: DEFAULTS.toolTimeout });
  const found: string[] = [];
  for (const version of [4, 6] as const) {
    const tool = iptablesTool(version, "legacy", "save");
    if (!legacyLoaded(version) || !hasTool(tool)) continue;
    const { output } = await tools.run([tool]);
    for (const [, name] of output.matchAll(/^:(\S+) /gm)) {
      if (KUBERNETES_CHAINS.has(name!)) found.push(`${version} ${name}`);
    }
  }
  return found;
}

/** By what iptables-save says of both. */
export function choose(saved: Readonly<Record<Backend, string>>): Omit<BackendChoice, "kubeProxy"> {
  for (const backend of ["nft", "legacy"] as const) {
    if (HINTS.test(saved[backend])) return { backend, reason: "kubelet's chains are there" };
  }
  const [proxyNft, proxyLegacy] = [KUBE_PROXY.test(saved.nft), KUBE_PROXY.test(saved.legacy)];
  if (proxyNft !== proxyLegacy) {
    return { backend: proxyNft ? "nft" : "legacy", reason: "kube-proxy's chains are there" };
  }
  const [nft, legacy] = [rules(saved.nft), rules(saved.legacy)];
  const [kubeNft, kubeLegacy] = [KUBERNETES.test(saved.nft), KUBERNETES.test(saved.legacy)];
  if (kubeNft !== kubeLegacy)
    return { backend: kubeNft ? "nft" : "legacy", reason: "the chains of Kubernetes are there" };
  const reason = `${legacy} rules of legacy, ${nft} of nft`;
  if (legacy === 0 && nft === 0 && !hasTool("iptables-legacy-restore"))
    return { backend: "nft", reason: "there is no other" };
  // Upstream's choice for a tie.
  return { backend: legacy >= nft ? "legacy" : "nft", reason };
}

/** Without Calico's own: an agent before this one would settle it for good. */
const rules = (saved: string): number =>
  saved.split("\n").filter((line) => line.startsWith("-") && !OWN.test(line)).length;

/** Asking iptables-legacy would load its modules, with hooks that cost every packet; nothing can be there before. */
function legacyLoaded(version: IpVersion, namespace?: Namespace): boolean {
  const read = (): boolean => {
    try {
      readFileSync(`/proc/thread-self/net/${version === 4 ? "ip_tables_names" : "ip6_tables_names"}`);
      return true;
    } catch {
      return false;
    }
  };
  return namespace ? inNamespace(namespace, read) : read();
}
