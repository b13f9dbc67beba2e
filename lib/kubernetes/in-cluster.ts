import { pathExists } from "../sys/index.ts";
import type { ClusterConfig } from "./config.ts";
import { KubernetesError } from "./errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether this process is told where an API server is, as pods are. */
export const isInCluster = (env: Environment = process.env): boolean =>
  Boolean(env.KUBERNETES_SERVICE_HOST && env.KUBERNETES_SERVICE_PORT);

/**
 * The configuration of a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, and the service account's token and CA from
 * `folder`, read again as kubelet rotates them. CONFIG when one of them is missing.
 */
export function inClusterConfig(
  env: Environment = process.env,
  folder = "/var/run/secrets/kubernetes.io/serviceaccount",
): ClusterConfig {
  const host = env.KUBERNETES_SERVICE_HOST ?? "";
  const port = env.KUBERNETES_SERVICE_PORT ?? "";
  for (const [name, value] of [
    ["KUBERNETES_SERVICE_HOST", host],
    ["KUBERNETES_SERVICE_PORT", port],
  ] as const)
    if (value === "") throw refuse(`${name} is not set: this process is not in a pod; give it a kubeconfig`);
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  if (!/^\d+$/.test(port) || !URL.canParse(server))
    throw refuse(`KUBERNETES_SERVICE_HOST "${host}" and KUBERNETES_SERVICE_PORT "${port}" are not a host and a port`);
  const file = (name: string): string => {
    const path = `${folder}/${name}`;
    if (pathExists(path)) return path;
    throw refuse(`${path} is missing: the pod needs a service account whose token is mounted`);
  };
  return { server, ca: { file: file("ca.crt") }, auth: { type: "tokenFile", file: file("token") } };
}

const refuse = (message: string): KubernetesError =>
  new KubernetesError("CONFIG", `in-cluster configuration: ${message}`);
