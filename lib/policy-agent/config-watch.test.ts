import { expect, test } from "vitest";
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
