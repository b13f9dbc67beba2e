import { writeFileSync } from "node:fs";

export interface KubeconfigFile {
  readonly server: string;
  /** PEM; "" writes none. */
  readonly ca: string;
  readonly user: string;
  /** The fields below `user`. */
  readonly auth: object;
}

/** A kubeconfig as `kubectl config` writes one, but as JSON, which is YAML too. */
export function writeKubeconfig(file: string, { server, ca, user, auth }: KubeconfigFile): void {
  const authority = ca === "" ? {} : { "certificate-authority-data": Buffer.from(ca).toString("base64") };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server, ...authority } }],
    users: [{ name: user, user: auth }],
    contexts: [{ name: "test", context: { cluster: "test", user } }],
    "current-context": "test",
  };
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}
