/** What a test sees of its API server. */
import type { AuditEvent } from "./audit.ts";
import type { UserName } from "./roles.ts";

/** Which CustomResourceDefinitions: "v1" crd.projectcalico.org, "v3" projectcalico.org with its admission policies. */
export type Group = "v1" | "v3" | "both";

export interface ApiServerOptions {
  /** CRDs to have from the start. Default: none. */
  readonly crds?: Group;
  /** In front of both servers' commands: `["nsenter", "--target=123", "--net", "--"]` puts them in another network namespace. */
  readonly prefix?: readonly string[];
  /** Address to listen on, in that namespace. Default: 127.0.0.1. */
  readonly host?: string;
  /** Further names and addresses by which clients reach it, for its certificate: a lab's `["172.31.0.1"]`. */
  readonly names?: readonly string[];
  /** Record every request, for {@link ApiServer.audit}. Default: false. */
  readonly audit?: boolean;
  /** Fill in a pod's service account and its token, as a cluster with a controller manager does, which makes the accounts. Default: false. */
  readonly serviceAccounts?: boolean;
  /** Further options of kube-apiserver, after the harness's own, which they override. */
  readonly arguments?: readonly string[];
}

export interface KubeconfigOptions {
  /** Instead of the server's own URL: a proxy's, a relay's. */
  readonly server?: string;
  /** PEM of the CA to trust instead of the server's own; "" trusts the system's only. */
  readonly ca?: string;
  /** Bearer token instead of the user's own; with `tokenFile` only the file's path is written. */
  readonly token?: string;
  readonly tokenFile?: string;
}

export interface ServiceAccountToken {
  readonly namespace: string;
  readonly name: string;
  /** Seconds until it expires; negative: it has expired. Default: 3600. The server remembers a token it has let in for up to 10 s. */
  readonly seconds?: number;
}

export interface ApiServer {
  /** https://127.0.0.1:PORT; stays the same over restarts. */
  readonly url: string;
  readonly port: number;
  /** PEM of the CA that signed the server's certificate and the users'. */
  readonly ca: string;
  /** A folder of this server's own, removed by {@link stop}: for files that belong with it. */
  readonly folder: string;
  /** Of the present kube-apiserver and etcd. */
  readonly pids: readonly number[];
  /**
   * The path of a kubeconfig file for a user: "admin" (certificate, system:masters), "admin-token" (token, system:masters),
   * "reader" (token, may read everything), "nobody" (token, no rights), "cni", "node" and "controllers" (tokens of the service accounts
   * calico-cni-plugin, calico-node and calico-kube-controllers in kube-system, with exactly upstream's ClusterRoles).
   */
  kubeconfig(user: UserName, options?: KubeconfigOptions): string;
  /** The bearer token that {@link kubeconfig} writes. Of "admin" there is none. */
  token(user: Exclude<UserName, "admin">): string;
  /** A token as the server itself signs for a service account, which is made if it is not there. */
  serviceAccountToken(account: ServiceAccountToken): Promise<string>;
  /**
   * A request as admin, past every client under test. Answers with the parsed body; an answer of 400 and more is an Error
   * with `status` and the server's message. `path` is absolute: "/api/v1/nodes".
   */
  request<T = unknown>(method: string, path: string, body?: object, contentType?: string): Promise<T>;
  /** Server-side apply of objects of any kind, as admin, in their order; waits for CRDs among them to be served. */
  apply(...objects: readonly object[]): Promise<void>;
  /** Applies our generated CRDs, in v3 also the admission policies, with strict field validation, and waits until they are served. */
  installCrds(group: Group): Promise<void>;
  /** Ends kube-apiserver as a crash would (SIGKILL). etcd stays. */
  kill(): Promise<void>;
  /** Ends it if it still runs, and starts it again on the same port and data. */
  restart(): Promise<void>;
  /** Stops and continues the process: connections stay open and nothing is answered. */
  pause(): void;
  resume(): void;
  /** Removes everything before the present revision from etcd, past the API server. */
  compact(): Promise<void>;
  /** A key of etcd below /registry written past the API server and its validation; undefined removes it. */
  writeRaw(key: string, value: object | undefined): Promise<void>;
  /** All requests that were answered so far, the harness's own included (user "admin"), where `audit` was asked for. Watches count from when they begin. */
  audit(): Promise<readonly AuditEvent[]>;
  /** Ends both and removes all that they left. May be called more than once. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An answer of 400 and more to {@link ApiServer.request}. */
export class RequestFailed extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** The Status object, where the answer was one. */
    readonly body: unknown,
  ) {
    super(message);
  }
}
