/** For tests: a server of faults for each test of a file, and clients that talk to it. */
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { type Kubernetes, type KubernetesOptions, openKubernetes } from "./client.ts";
import type { ClusterConfig } from "./config.ts";
import type { KubernetesError } from "./errors.ts";
import {
  type FaultServer,
  type Handler,
  makeTestCertificates,
  startFaultServer,
  type TestCertificates,
} from "./fault-server.ts";

/** A token that no message may hold. */
export const SECRET = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0c2VjcmV0c2VjcmV0.c2VjcmV0";
export const PODS = { group: "", version: "v1", plural: "pods", namespace: "default" };
export const POD = { ...PODS, name: "web-0" };
export const POOLS = { group: "crd.projectcalico.org", version: "v1", plural: "ippools" };

export interface FaultBench {
  /** The present test's. */
  readonly server: FaultServer;
  readonly certificates: TestCertificates;
  /** A client of the server, closed after the test; `handler` becomes the server's. */
  open(fields?: Partial<ClusterConfig>, handler?: Handler, options?: KubernetesOptions): Kubernetes;
}

export function useFaultServer(): FaultBench {
  let server: FaultServer;
  let certificates: TestCertificates;
  const opened: Kubernetes[] = [];
  beforeAll(() => {
    certificates = makeTestCertificates();
  });
  afterAll(() => certificates?.remove());
  // One a test: what an earlier test had sent must not be answered by the next one's handler.
  beforeEach(async () => {
    server = await startFaultServer(certificates);
  });
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close();
    await server.close();
  });
  return {
    get server() {
      return server;
    },
    get certificates() {
      return certificates;
    },
    open(fields = {}, handler, options = {}) {
      if (handler) server.handler = handler;
      server.asked.length = 0;
      const kubernetes = openKubernetes({ ...server.config, ...fields }, options);
      opened.push(kubernetes);
      return kubernetes;
    },
  };
}

/** What the work threw: a KubernetesError that says where and what, and no secret. */
export async function failure(work: Promise<unknown>): Promise<KubernetesError> {
  const error = await work.then(
    () => undefined,
    (one: unknown) => one as KubernetesError,
  );
  expect(error).toMatchObject({ name: "KubernetesError" });
  expect(error!.message).toMatch(/^kubernetes https?:\/\/\S+: \S/);
  expect(error!.message).not.toContain(SECRET);
  return error!;
}
