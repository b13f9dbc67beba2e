import { afterEach, beforeEach, expect, test } from "vitest";
import { API_VERSION } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import type { Client } from "../datastore/index.ts";
import { memoryClient } from "../datastore/testing.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import { hostFacts, monitorAddresses, type PreparedNode } from "./index.ts";
import { fingerprint, pollInterval } from "./monitor.ts";
import { type KeptLog, keptLog, machine } from "./testing.ts";
import type { Env } from "./types.ts";

describeAsRoot("while the machine's addresses change", () => {
  let space: TestNamespace;
  let client: Client;
  let log: KeptLog;
  let stop: AbortController;
  let done: Promise<void>;
  let changes: PreparedNode[];

  beforeEach(() => {
    space = makeNamespace();
    client = memoryClient();
    log = keptLog();
    stop = new AbortController();
    done = Promise.resolve();
    changes = [];
    space.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0");
    space.exec("ip", "link", "set", "eth0", "up");
    space.exec("ip", "link", "set", "peer0", "up");
  });
  afterEach(async () => {
    stop.abort();
    await done;
    space.dispose();
  });

  const watch = (env: Env) => {
    done = monitorAddresses(client, env, {
      name: "n1",
      facts: hostFacts(space.namespace),
      namespace: space.namespace,
      log,
      signal: stop.signal,
      onChange: (node) => changes.push(node),
    });
  };
  async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
    for (const deadline = performance.now() + 15_000; !(await condition()); ) {
      if (performance.now() > deadline) throw new Error(`${what}: ${JSON.stringify(log.lines)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  const has = (address: string | undefined) => async () =>
    (await client.get(Node, { name: "n1" }))?.spec.bgp?.ipv4Address === address;
  const setAddress = (address: string) => {
    space.exec("ip", "addr", "flush", "dev", "eth0");
    space.exec("ip", "addr", "add", address, "dev", "eth0");
  };

  test("the Node follows without waiting for the poll, and labels stay", async () => {
    setAddress("10.0.0.5/24");
    await client.create(Node, {
      apiVersion: API_VERSION,
      kind: "Node",
      metadata: { name: "n1", labels: { rack: "a" } },
      spec: { bgp: { asNumber: 65001 } },
    });
    watch({ IP: "autodetect", AUTODETECT_POLL_INTERVAL: "0" });
    await until("the first address", has("10.0.0.5/24"));
    setAddress("10.0.0.6/24");
    await until("the second address", has("10.0.0.6/24"));
    const node = await client.get(Node, { name: "n1" });
    expect(node?.metadata.labels).toEqual({ rack: "a" });
    expect(node?.spec.bgp?.asNumber).toBe(65001);
    await until("the news of it", () => changes.length === 2);
    expect(changes.map(({ ipv4 }) => ipv4)).toEqual(["10.0.0.5/24", "10.0.0.6/24"]);
    expect(log.of("warning")).toContainEqual(expect.stringContaining("was 10.0.0.5/24 and is 10.0.0.6/24"));
  });

  test("it goes on when there is no address for a while, and complains once", async () => {
    let reads = 0;
    client = memoryClient({ hook: () => void reads++ });
    watch({ IP: "autodetect", AUTODETECT_POLL_INTERVAL: "20ms" });
    await until("several looks", () => reads > 5);
    expect(log.of("error")).toHaveLength(1);
    setAddress("10.0.0.5/24");
    await until("an address", has("10.0.0.5/24"));
  });
});

test("workloads that come and go are not looked at, changes of the machine's own interfaces are", () => {
  const lines = ["lo 127.0.0.1/8", "eth0 10.0.0.5/24"];
  const before = fingerprint(machine(lines));
  expect(fingerprint(machine([...lines, "cali123 fe80::1/64", "!veth7"]))).toBe(before);
  for (const other of [
    ["lo 127.0.0.1/8", "!eth0 10.0.0.5/24"],
    ["lo 127.0.0.1/8", "eth0 10.0.0.5/16"],
    [...lines, "eth1"],
  ]) {
    expect(fingerprint(machine(other))).not.toBe(before);
  }
});

test.each([
  [undefined, 60_000],
  ["", 60_000],
  ["1m30s", 90_000],
  ["0", 0],
  ["soon", 60_000, "AUTODETECT_POLL_INTERVAL=soon: is not a duration such as 60s or 1m30s; 60s is used"],
  ["-5s", 60_000, "AUTODETECT_POLL_INTERVAL=-5s: is not a duration such as 60s or 1m30s; 60s is used"],
])("AUTODETECT_POLL_INTERVAL=%s is %d ms", (text, milliseconds, complaint?: string) => {
  const log = keptLog();
  expect(pollInterval({ AUTODETECT_POLL_INTERVAL: text }, log)).toBe(milliseconds);
  expect(log.of("error")).toEqual(complaint === undefined ? [] : [complaint]);
});
