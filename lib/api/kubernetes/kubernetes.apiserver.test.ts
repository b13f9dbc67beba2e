import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ApiServer, apiServerMissing, RequestFailed, startApiServer } from "../../kubernetes/testing/index.ts";
import { findKind, parseResource } from "../registry.ts";
import { type Json, objectOf, RIGHT, WRONG, WRONG_SECRETS } from "./testing.ts";

/**
 * What our checks take, a real API server takes, and what they refuse it refuses. Not ClusterNetworkPolicy, whose definition
 * a cluster gets from elsewhere.
 */
const missing = apiServerMissing();

describe.skipIf(missing)(`an API server${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await startApiServer();
  });
  afterAll(() => server?.stop());

  /** The API server's answer to an object: its status, 201 when it would take it. */
  async function answer(object: Json): Promise<number> {
    const kind = findKind(`${object.kind === "NetworkPolicy" ? "k8s" : ""}${object.kind}`)!;
    const group = kind.apiVersion === "v1" ? "/api/v1" : `/apis/${kind.apiVersion}`;
    const inside = kind.namespaced ? "/namespaces/default" : "";
    const path = `${group}${inside}/${kind.plural}?dryRun=All`;
    try {
      await server.request("POST", path, object);
      return 201;
    } catch (error) {
      if (error instanceof RequestFailed) return error.status;
      throw error;
    }
  }

  const isOurs = (kind: string): boolean => kind !== "ClusterNetworkPolicy";

  test.each(RIGHT.filter(([, kind]) => isOurs(kind)))("takes %s (%s)", async (_, kind, rest) => {
    expect(await answer(objectOf(kind, rest))).toBe(201);
  });

  test.each(WRONG.filter(([, kind]) => isOurs(kind)))("refuses %s (%s)", async (_, kind, rest) => {
    expect([400, 422]).toContain(await answer(objectOf(kind, rest)));
  });

  test.each(WRONG_SECRETS)("refuses secrets with %s wrong", async (_, rest) => {
    expect([400, 422]).toContain(await answer(objectOf("Secret", rest)));
  });

  test("prints only what is taken", async () => {
    const paths = ["namespaces", "services", "endpoints", "serviceaccounts", "secrets"].map(
      (plural) => `/api/v1/${plural}`,
    );
    paths.push("/apis/discovery.k8s.io/v1/endpointslices");
    for (const path of paths) {
      const { items, kind, apiVersion } = await server.request<{ items: Json[]; kind: string; apiVersion: string }>(
        "GET",
        path,
      );
      if (kind === "EndpointsList") continue;
      for (const item of items) {
        expect(parseResource({ ...item, apiVersion, kind: kind.slice(0, -"List".length) }).problems).toEqual([]);
      }
    }
  });
});
