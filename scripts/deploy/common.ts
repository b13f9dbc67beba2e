export const NAMESPACE = "kube-system";
export const CONFIG = "calico-config";

export interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Parts of the manifest, which can be applied apart: `kubectl apply -l app.kubernetes.io/component=node`. */
export type Component = "crds" | "access" | "config" | "node" | "controllers" | "upgrade";

export const labels = (component: Component, more: Readonly<Record<string, string>> = {}) => ({
  ...more,
  "app.kubernetes.io/part-of": "calico",
  "app.kubernetes.io/component": component,
});

export interface Mount {
  readonly name: string;
  /** On the node. */
  readonly path: string;
  readonly type?: "DirectoryOrCreate" | "FileOrCreate";
}

export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: object;
}

export const variables = (values: Readonly<Record<string, string>>): EnvironmentVariable[] =>
  Object.entries(values).map(([name, value]) => ({ name, value }));
export const fromConfig = (name: string, key: string): EnvironmentVariable => ({
  name,
  valueFrom: { configMapKeyRef: { name: CONFIG, key } },
});
export const nodeNameAs = (name: string): EnvironmentVariable => ({
  name,
  valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } },
});

/** Where the API server is, for clusters in which its Service is served by what needs the API server itself. Upstream's ConfigMap. */
export const SERVICES_ENDPOINT = [{ configMapRef: { name: "kubernetes-services-endpoint", optional: true } }];

/** Probes as upstream's manifests have them. */
export const probe = (command: readonly string[], more: object = {}): object => ({
  exec: { command },
  ...{ periodSeconds: 10, timeoutSeconds: 10, failureThreshold: 6 },
  ...more,
});
