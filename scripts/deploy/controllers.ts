/** The controllers of the cluster, one replica of them. */
import { labels, type ManifestObject, NAMESPACE, probe, SERVICES_ENDPOINT, variables } from "./common.ts";

const NAME = "calico-kube-controllers";
const SELECTOR = { "k8s-app": NAME };
/** Somebody without rights on the node; the image itself names nobody. */
const USER = 65_532;

export function controllerObjects(image: string): ManifestObject[] {
  const metadata = { name: NAME, namespace: NAMESPACE, labels: labels("controllers", SELECTOR) };
  const program = "/usr/bin/calico-kube-controllers";
  return [
    {
      ...{ apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata },
      spec: { maxUnavailable: 1, selector: { matchLabels: SELECTOR } },
    },
    {
      ...{ apiVersion: "apps/v1", kind: "Deployment", metadata },
      spec: {
        // One that works at a time; more would do no harm and no good.
        replicas: 1,
        selector: { matchLabels: SELECTOR },
        strategy: { type: "Recreate" },
        template: {
          metadata: { labels: SELECTOR },
          spec: {
            nodeSelector: { "kubernetes.io/os": "linux" },
            tolerations: [
              { key: "CriticalAddonsOnly", operator: "Exists" },
              { key: "node-role.kubernetes.io/master", effect: "NoSchedule" },
              { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" },
            ],
            serviceAccountName: NAME,
            securityContext: { seccompProfile: { type: "RuntimeDefault" } },
            priorityClassName: "system-cluster-critical",
            containers: [
              {
                ...{ name: NAME, image, imagePullPolicy: "IfNotPresent", command: [program] },
                envFrom: SERVICES_ENDPOINT,
                env: variables({ DATASTORE_TYPE: "kubernetes", CALICO_API_GROUP: "crd.projectcalico.org/v1" }),
                livenessProbe: probe([program, "check-status", "-l"], { initialDelaySeconds: 10 }),
                readinessProbe: probe([program, "check-status", "-r"]),
                securityContext: {
                  ...{ runAsNonRoot: true, runAsUser: USER, runAsGroup: USER },
                  ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
                },
                volumeMounts: [{ name: "status", mountPath: "/status" }],
              },
            ],
            volumes: [{ name: "status", emptyDir: {} }],
          },
        },
      },
    },
  ];
}
