import { expect, test } from "vitest";
import type { FelixConfiguration } from "../api/felixconfiguration.ts";
import type { Kind } from "../api/kind.ts";
import { type Client, DatastoreError } from "../datastore/index.ts";
import { watchConfig } from "./config-watch.ts";

/** Tells of nothing but how far it is; the watch of Nodes breaks once. */
function breaking(broken: Promise<void>): Client {
  let isFirst = true;
  const watch = async function* (kind: Kind, { signal }: { signal: AbortSignal }) {
    yield { type: "synced", revision: "1" };
    if (kind.kind === "Node" && isFirst) {
      isFirst = false;
      await broken;
      throw new DatastoreError("UNAVAILABLE", "connection refused");
    }
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  return { watch } as unknown as Client;
}

test("a watch that breaks is trouble until it is whole again, also when nothing has changed meanwhile", async () => {
  const stop = new AbortController();
  const { promise: broken, resolve: breakIt } = Promise.withResolvers<void>();
  const said: (string | undefined)[] = [];
  const healed = Promise.withResolvers<void>();
  await watchConfig({
    client: breaking(broken),
    local: { environment: {}, hostname: "n1", exists: () => true },
    nodeName: "n1",
    signal: stop.signal,
    onChange: () => {},
    onProblem: () => {},
    onTrouble: (why) => {
      if (said.at(-1) !== undefined && why === undefined) healed.resolve();
      said.push(why);
    },
  });
  breakIt();
  await healed.promise;
  expect(said.filter((why) => why !== undefined)).toEqual(["nodes: connection refused"]);
  stop.abort();
});

test("a configuration that cannot be read any more stays in force, also when its watch is begun anew, and is told of", async () => {
  const stop = new AbortController();
  const configuration: FelixConfiguration = {
    apiVersion: "projectcalico.org/v3",
    kind: "FelixConfiguration",
    metadata: { name: "default" },
    spec: { logSeverityScreen: "Debug" },
  };
  const invalid = { type: "invalid", key: "felixconfigurations/default", error: new DatastoreError("INVALID", "torn") };
  const begun = Promise.withResolvers<void>();
  let times = 0;
  const watch = async function* (kind: Kind, { signal }: { signal: AbortSignal }) {
    if (kind.kind === "FelixConfiguration") {
      if (times++ === 0) {
        yield { type: "added", resource: configuration, revision: "1" };
        yield { type: "synced", revision: "1" };
        yield { ...invalid, revision: "2" };
        throw new DatastoreError("UNAVAILABLE", "gone");
      }
      yield { ...invalid, revision: "2" };
    }
    yield { type: "synced", revision: "2" };
    if (times === 2) begun.resolve();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  const problems: string[] = [];
  const changes: string[] = [];
  const first = await watchConfig({
    client: { watch } as unknown as Client,
    local: { environment: {}, hostname: "n1", exists: () => true },
    nodeName: "n1",
    signal: stop.signal,
    onChange: ({ config }) => changes.push(config.LogSeverityScreen),
    onTrouble: () => {},
    onProblem: (key, why) => problems.push(`${key}: ${why}`),
  });
  expect(first?.config.LogSeverityScreen).toBe("DEBUG");
  await begun.promise;
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  expect(changes.filter((severity) => severity !== "DEBUG")).toEqual([]);
  expect(problems).toEqual(Array(2).fill("felixconfigurations/default: torn"));
  stop.abort();
});
