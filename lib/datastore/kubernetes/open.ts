import {
  type ClusterConfig,
  inClusterConfig,
  isInCluster,
  type Kubernetes,
  loadKubeconfig,
  openKubernetes,
} from "../../kubernetes/index.ts";
import type { Client } from "../client.ts";
import type { KubernetesConfig } from "../config.ts";
import { DatastoreError } from "../errors.ts";
import { stringifyJson } from "../json.ts";
import { KubernetesClient } from "./client.ts";
import { translated } from "./errors.ts";

/** Upstream's, where `qps` is set: the allocator asks in bursts. */
const BURST = 100;

/** The Client of the API server that a configuration names. CONFIG when it does not, or names a wrong one. Connects with the first request. */
export function openKubernetesClient(
  config: KubernetesConfig,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Client> {
  return translated(async () => {
    const kubernetes = await openCluster(config, env);
    return new KubernetesClient(kubernetes, {
      group: config.apiGroup,
      usePodCidr: config.usePodCidr ?? false,
      interfacePrefix: env.FELIX_INTERFACEPREFIX?.split(",")[0] || undefined,
    });
  });
}

/** The API server itself, for what is not a resource of Calico's. CONFIG as above. Connects with the first request. */
export async function openCluster(
  config: KubernetesConfig,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Kubernetes> {
  const { userAgent } = config;
  const cluster = await clusterOf(config, env);
  return openKubernetes({ ...cluster, ...(userAgent && { userAgent }) }, { stringify: stringifyJson });
}

async function clusterOf(
  config: KubernetesConfig,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ClusterConfig> {
  const { kubeconfigInline: text, context, apiEndpoint, caFile, certFile, keyFile, token, qps } = config;
  const { insecureSkipTlsVerify } = config;
  const burst = config.burst ?? (qps ? BURST : undefined);
  const overrides = { server: apiEndpoint, caFile, certFile, keyFile, token, insecureSkipTlsVerify, qps, burst };
  const file = text ? undefined : (config.kubeconfig ?? (apiEndpoint ? undefined : await homeKubeconfig(env)));
  if (text || file || apiEndpoint) return loadKubeconfig({ text, file, context, overrides });
  if (isInCluster(env)) {
    return {
      ...inClusterConfig(env),
      ...(qps === undefined ? {} : { qps }),
      ...(burst === undefined ? {} : { burst }),
    };
  }
  throw new DatastoreError(
    "CONFIG",
    "the datastore is Kubernetes, but no API server is named: set KUBECONFIG or K8S_API_ENDPOINT, " +
      'or "kubernetes.kubeconfig" in a network configuration ' +
      "(there is no $HOME/.kube/config, and this is not a pod of a cluster)",
  );
}

async function homeKubeconfig(env: Readonly<Record<string, string | undefined>>): Promise<string | undefined> {
  if (!env.HOME) return undefined;
  const file = `${env.HOME}/.kube/config`;
  return (await Bun.file(file).exists()) ? file : undefined;
}
