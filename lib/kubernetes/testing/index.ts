/**
 * For tests: a real API server over a real etcd, made for one test file and gone with it.
 *
 * `scripts/setup-kubernetes` builds the programs into .cache/bin. A server has certificates, an RBAC authorizer, users and
 * data of its own under the system's folder for temporary files; it listens on a loopback address, so that test files run beside each other.
 * Nothing else of a cluster runs: no scheduler, no kubelet, no controllers. So pods stay as they are written, a deleted
 * pod with `gracePeriodSeconds: 0` is gone at once, and a namespace that is deleted stays in phase Terminating.
 *
 *     const missing = apiServerMissing();
 *     describe.skipIf(missing)(`against an API server${missing ? ` (skipped: ${missing})` : ""}`, () => {
 *       let server: ApiServer;
 *       beforeAll(async () => { server = await startApiServer({ crds: "v1" }); });
 *       afterAll(() => server?.stop());
 *       test("…", () => loadKubeconfig({ file: server.kubeconfig("cni") }));
 *     });
 *
 * Such tests are files named `*.apiserver.test.ts`; `npm run conformance:kubernetes` builds the programs first, or fails.
 */

export { type AuditEvent, type AuditSummary, summarise } from "./audit.ts";
export { apiServerMissing, CACHED_BIN, kubectl, kubeProxy } from "./binaries.ts";
export { type ApiProxy, type ProxyOptions, startApiProxy, type WatchFault } from "./proxy.ts";
export { CLUSTER_ROLES, USERS, type UserName } from "./roles.ts";
export { startApiServer } from "./server.ts";
export type { ApiServer, ApiServerOptions, Group, KubeconfigOptions, ServiceAccountToken } from "./types.ts";
export { RequestFailed } from "./types.ts";
