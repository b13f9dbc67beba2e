/** The agent on every node, and what it is configured by. */
import {
  CONFIG,
  fromConfig,
  labels,
  type ManifestObject,
  type Mount,
  NAMESPACE,
  nodeNameAs,
  probe,
  SERVICES_ENDPOINT,
  variables,
} from "./common.ts";

const SELECTOR = { "k8s-app": "calico-node" };

/**
 * The network configuration of the node's runtime, which the agent fills in and writes. Upstream's, with the group of the stored kinds; and pods wait for
 * their policy, so that after a boot none is attached before the agent has enforced any: this file is there from before, the rules are not.
 */
const NETWORK = `{
  "name": "k8s-pod-network",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "calico",
      "log_level": "info",
      "log_file_path": "/var/log/calico/cni/cni.log",
      "datastore_type": "kubernetes",
      "nodename": "__KUBERNETES_NODE_NAME__",
      "mtu": __CNI_MTU__,
      "ipam": { "type": "calico-ipam" },
      "policy": { "type": "k8s" },
      "policy_setup_timeout_seconds": 10,
      "kubernetes": { "kubeconfig": "__KUBECONFIG_FILEPATH__" },
      "calico_api_group": "__CALICO_API_GROUP__"
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": { "portMappings": true }
    }
  ]
}
`;

export const configMap = (): ManifestObject => ({
  ...{ apiVersion: "v1", kind: "ConfigMap" },
  metadata: { name: CONFIG, namespace: NAMESPACE, labels: labels("config") },
  data: { calico_backend: "bird", veth_mtu: "0", cni_network_config: NETWORK },
});

const VOLUMES = {
  run: { name: "var-run-calico", path: "/var/run/calico", type: "DirectoryOrCreate" },
  lib: { name: "var-lib-calico", path: "/var/lib/calico", type: "DirectoryOrCreate" },
  xtables: { name: "xtables-lock", path: "/run/xtables.lock", type: "FileOrCreate" },
  netns: { name: "netns", path: "/run/netns", type: "DirectoryOrCreate" },
  bin: { name: "cni-bin-dir", path: "/opt/cni/bin", type: "DirectoryOrCreate" },
  net: { name: "cni-net-dir", path: "/etc/cni/net.d", type: "DirectoryOrCreate" },
} as const satisfies Readonly<Record<string, Mount>>;

const at = (volume: Mount, mountPath: string = volume.path, more: object = {}): object => ({
  name: volume.name,
  mountPath,
  ...more,
});

export function nodeDaemonSet(image: string): ManifestObject {
  const container = { image, imagePullPolicy: "IfNotPresent", securityContext: { privileged: true } };
  return {
    ...{ apiVersion: "apps/v1", kind: "DaemonSet" },
    metadata: { name: "calico-node", namespace: NAMESPACE, labels: labels("node", SELECTOR) },
    spec: {
      selector: { matchLabels: SELECTOR },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
      template: {
        metadata: { labels: SELECTOR },
        spec: {
          nodeSelector: { "kubernetes.io/os": "linux" },
          hostNetwork: true,
          // Every node, and also one that is about to be emptied or has no network yet.
          tolerations: [
            { effect: "NoSchedule", operator: "Exists" },
            { key: "CriticalAddonsOnly", operator: "Exists" },
            { effect: "NoExecute", operator: "Exists" },
          ],
          serviceAccountName: "calico-node",
          securityContext: { seccompProfile: { type: "RuntimeDefault" } },
          priorityClassName: "system-node-critical",
          // For the hook before the end, which tells Kubernetes in 2 s at most, and for the processes' own end.
          terminationGracePeriodSeconds: 5,
          initContainers: [
            {
              ...{ name: "install", ...container },
              command: ["/usr/bin/calico", "install", "--only=executables"],
              volumeMounts: [at(VOLUMES.bin, "/host/opt/cni/bin")],
            },
          ],
          containers: [
            {
              ...{ name: "calico-node", ...container },
              command: ["/usr/bin/calico-node"],
              envFrom: SERVICES_ENDPOINT,
              env: [
                ...variables({ DATASTORE_TYPE: "kubernetes", WAIT_FOR_DATASTORE: "true" }),
                ...variables({ CALICO_API_GROUP: "crd.projectcalico.org/v1" }),
                nodeNameAs("NODENAME"),
                fromConfig("CALICO_NETWORKING_BACKEND", "calico_backend"),
                ...variables({
                  ...{ CLUSTER_TYPE: "k8s,bgp", IP: "autodetect" },
                  ...{ CALICO_IPV4POOL_IPIP: "Never", CALICO_IPV4POOL_VXLAN: "Never", CALICO_IPV6POOL_VXLAN: "Never" },
                  // The same variables as upstream's: what a pod sends to its own node passes, and IPv6 is not looked at.
                  ...{ FELIX_DEFAULTENDPOINTTOHOSTACTION: "ACCEPT", FELIX_IPV6SUPPORT: "false" },
                  ...{ FELIX_HEALTHENABLED: "true", FELIX_LOGSEVERITYFILE: "none" },
                  CNI_CONF_NAME: "10-calico.conflist",
                }),
                fromConfig("CNI_NETWORK_CONFIG", "cni_network_config"),
                fromConfig("CNI_MTU", "veth_mtu"),
                nodeNameAs("KUBERNETES_NODE_NAME"),
              ],
              resources: { requests: { cpu: "250m" } },
              lifecycle: { preStop: { exec: { command: ["/usr/bin/calico-node", "shutdown"] } } },
              livenessProbe: probe(["/usr/bin/calico-node", "health", "--felix-live", "--bgp-live"], {
                initialDelaySeconds: 10,
              }),
              readinessProbe: probe(["/usr/bin/calico-node", "health", "--felix-ready", "--bgp-ready"]),
              volumeMounts: [
                at(VOLUMES.run),
                at(VOLUMES.lib),
                at(VOLUMES.xtables),
                at(VOLUMES.netns, VOLUMES.netns.path, { mountPropagation: "HostToContainer" }),
                at(VOLUMES.bin, "/host/opt/cni/bin", { readOnly: true }),
                at(VOLUMES.net, "/host/etc/cni/net.d"),
              ],
            },
          ],
          volumes: Object.values(VOLUMES).map(({ name, path, type }) => ({ name, hostPath: { path, type } })),
        },
      },
    },
  };
}
