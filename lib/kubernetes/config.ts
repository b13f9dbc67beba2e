/** PEM text, or the file that holds it; a file is read again when its text changed, so that rotated certificates take effect. */
export type Pem = string | { readonly file: string };

/** Where an API server is, and how to be let in. Comes from `loadKubeconfig` or `inClusterConfig`, or is written by hand. */
export interface ClusterConfig {
  /** `https://host:port`, optionally with a path; `http://` for servers that have no TLS. */
  readonly server: string;
  /** The CA that issued the server's certificate. Absent: those that the runtime trusts. */
  readonly ca?: Pem;
  /** Accept whatever certificate the server shows. Excludes `ca`. */
  readonly insecureSkipTlsVerify?: boolean;
  /** The name the server's certificate must be for, when it is not the host of `server`; also sent as SNI. */
  readonly serverName?: string;
  readonly auth: Auth;
  /** The context's namespace, for commands that take one; nothing here uses it. */
  readonly namespace?: string;
  /** Requests a second, on average; unlimited when absent or 0. */
  readonly qps?: number;
  /** Requests at once, before `qps` holds them back; 100 when absent, as upstream's. */
  readonly burst?: number;
  /** Milliseconds for a request with its retries; 30000 when absent. Watches have no limit. */
  readonly timeout?: number;
  /** `calico/<version>` when absent. */
  readonly userAgent?: string;
}

export type Auth =
  | { readonly type: "none" }
  | { readonly type: "certificate"; readonly cert: Pem; readonly key: Pem }
  | { readonly type: "token"; readonly token: string }
  /** The file is read again after a while, and at once when the API server refuses what it held. */
  | { readonly type: "tokenFile"; readonly file: string }
  | ExecAuth;

/** A program that prints credentials: kubeconfig's `exec`, `client.authentication.k8s.io/v1` or `v1beta1`. */
export interface ExecAuth {
  readonly type: "exec";
  readonly apiVersion: "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1";
  /** With a slash it is a path; otherwise it is looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** Added to this process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Shown when the program cannot be found. */
  readonly installHint?: string;
  /** Tell the program which cluster it is for, in KUBERNETES_EXEC_INFO. */
  readonly provideClusterInfo: boolean;
  /** May the program ask the user? `Always`: it must be able to. */
  readonly interactiveMode: "Never" | "IfAvailable" | "Always";
  /** The cluster's extension `client.authentication.k8s.io/exec`, passed on to the program. */
  readonly clusterExtension?: unknown;
}
