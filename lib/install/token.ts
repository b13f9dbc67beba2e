/** The CNI plugin's token: asked for, tried, and written, once. When that is due is decided in `renewal.ts`. */
import { join } from "node:path";
import {
  type ClusterConfig,
  inClusterConfig,
  isInCluster,
  KubernetesError,
  type KubernetesObject,
  loadKubeconfig,
  openKubernetes,
  type Pem,
} from "../kubernetes/index.ts";
import { readTextFile } from "../sys/index.ts";
import { VERSION } from "../telemetry/index.ts";
import { type Env, KUBECONFIG, type Places } from "./conflist.ts";
import { InstallError } from "./errors.ts";
import { inFolder, placeText, type Step } from "./files.ts";
import { lifeOf, type PluginAccess, readKubeconfig, renderKubeconfig, type TokenLife } from "./kubeconfig.ts";

/** Where kubelet mounts a pod's service account. */
export const SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount";
const ACCOUNT = "calico-cni-plugin";
/** Seconds that a token is asked to be good; upstream's. An API server may give another time. */
const VALIDITY = 24 * 60 * 60;
/** Milliseconds for a request. */
const PATIENCE = 10_000;

/** Who makes the plugin's tokens, and for whom. */
export interface TokenSource {
  /** How this process talks to the API server. */
  readonly cluster: ClusterConfig;
  readonly namespace: string;
  /** The service account that the plugin acts as. */
  readonly account: string;
  /** What Kubernetes calls the node: it is what a token is tried with. */
  readonly node: string;
  /** What the plugin is to be told of the server, where that is not what this process is told. */
  readonly protocol?: string | undefined;
  readonly insecureSkipTlsVerify: boolean;
  /** Seconds. */
  readonly validity: number;
}

/** What the environment, and the account that kubelet mounted, make of it. Undefined: this is no pod. Throws KubernetesError CONFIG. */
export function tokenSourceOf(env: Env, node: string, secrets = SECRETS): TokenSource | undefined {
  const namespace = readTextFile(join(secrets, "namespace"))?.trim();
  if (!namespace || (!env.KUBECONFIG && !isInCluster(env))) return undefined;
  const cluster = env.KUBECONFIG ? loadKubeconfig({ file: env.KUBECONFIG }) : inClusterConfig(env, secrets);
  return {
    cluster: { ...cluster, userAgent: `calico-install/${VERSION}`, timeout: PATIENCE },
    namespace,
    account: env.CALICO_CNI_SERVICE_ACCOUNT || ACCOUNT,
    node,
    protocol: env.KUBERNETES_SERVICE_PROTOCOL || undefined,
    insecureSkipTlsVerify: env.SKIP_TLS_VERIFY === "true",
    validity: VALIDITY,
  };
}

/** Where a plugin finds the API server: what the file is to say beside the token. */
export function endpointOf({ cluster, protocol, insecureSkipTlsVerify }: TokenSource): Omit<PluginAccess, "token"> {
  const server = protocol === undefined ? cluster.server : cluster.server.replace(/^https?:/, `${protocol}:`);
  return insecureSkipTlsVerify || cluster.insecureSkipTlsVerify
    ? { server, insecureSkipTlsVerify: true }
    : { server, ca: textOf(cluster.ca), insecureSkipTlsVerify: false };
}

function textOf(pem: Pem | undefined): string | undefined {
  if (pem === undefined || typeof pem === "string") return pem;
  const text = readTextFile(pem.file);
  if (text === undefined)
    throw new InstallError("TOKEN", `there is no file ${pem.file}, which holds the API server's CA`);
  return text;
}

/** The file, as far as it is one that this process could have written. */
export interface KnownFile {
  readonly text: string;
  readonly access: PluginAccess & { readonly config: ClusterConfig };
  readonly life: TokenLife | undefined;
}

export function readFile(places: Places): KnownFile | undefined {
  const text = readTextFile(join(places.netFolder, KUBECONFIG));
  const access = text === undefined ? undefined : readKubeconfig(text);
  return text !== undefined && access ? { text, access, life: lifeOf(access.token) } : undefined;
}

/**
 * Asks for a token, tries it by a request of the kind that the plugin makes, through the very text that becomes the file, and only then
 * replaces the file. TOKEN when one of these fails: then the file is what it was.
 */
export async function renewKubeconfig(source: TokenSource, places: Places, dryRun = false): Promise<Step> {
  const path = join(places.netFolder, KUBECONFIG);
  if (dryRun) return { path, action: "written", why: "with a new token" };
  const token = await requestToken(source);
  const text = renderKubeconfig({ ...endpointOf(source), token });
  const access = readKubeconfig(text);
  if (access?.token !== token)
    throw new InstallError("TOKEN", "the API server's token, or its own name, cannot stand in a kubeconfig");
  const refused = await tryToken(access.config, source.node);
  if (refused) throw new InstallError("TOKEN", `the new token of ${source.account} is of no use: ${refused.why}`);
  return inFolder(places.netFolder, () => placeText(places.netFolder, KUBECONFIG, text, 0o600));
}

async function requestToken({ cluster, namespace, account, validity }: TokenSource): Promise<string> {
  const kubernetes = openKubernetes(cluster);
  try {
    type Answer = KubernetesObject & { readonly status?: { readonly token?: string } };
    const path = {
      group: "",
      version: "v1",
      plural: "serviceaccounts",
      namespace,
      name: account,
      subresource: "token",
    };
    const spec = { audiences: [], expirationSeconds: validity };
    const asked = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
    const { status } = await kubernetes.create<Answer>(path, asked);
    if (status?.token) return status.token;
    throw new InstallError("TOKEN", `${kubernetes.name} answers a TokenRequest for ${account} without a token`);
  } catch (error) {
    if (!(error instanceof KubernetesError)) throw error;
    const remedy =
      error.code === "FORBIDDEN"
        ? `; this account needs the verb create of serviceaccounts/token for ${account}`
        : error.code === "NOT_FOUND"
          ? `; is there a service account ${namespace}/${account}? CALICO_CNI_SERVICE_ACCOUNT names another`
          : "";
    throw new InstallError("TOKEN", `no token for the CNI plugin: ${error.message}${remedy}`, { cause: error });
  } finally {
    await kubernetes.close();
  }
}

/** Why a token does not do. `isFinal`: the API server itself said no; otherwise nobody knows. */
export interface Refusal {
  readonly why: string;
  readonly isFinal: boolean;
}

/** Reads the Node, as the plugin does. A Node that is not there is an answer to somebody who was let in. */
export async function tryToken(config: ClusterConfig, node: string): Promise<Refusal | undefined> {
  const kubernetes = openKubernetes({ ...config, timeout: PATIENCE });
  try {
    await kubernetes.get({ group: "", version: "v1", plural: "nodes", name: node });
    return undefined;
  } catch (error) {
    if (!(error instanceof KubernetesError)) throw error;
    if (error.code === "NOT_FOUND") return undefined;
    return { why: error.message, isFinal: error.code === "UNAUTHORIZED" || error.code === "FORBIDDEN" };
  } finally {
    await kubernetes.close();
  }
}
