import { afterEach, describe, expect, test, vi } from "vitest";
import { HostEndpoint } from "../../api/hostendpoint.ts";
import { API_VERSION } from "../../api/meta.ts";
import { Node } from "../../api/node.ts";
import type { Client } from "../../datastore/index.ts";
import { MemoryData, memoryClient } from "../../datastore/testing.ts";
import { Setting } from "../controller.ts";
import { type RunningController, runController } from "../testing.ts";
import { type HostEndpointsConfig, hostEndpointsController } from "./index.ts";

const ON: HostEndpointsConfig = { autoCreate: true, createDefault: true, templates: [] };
const OFF: HostEndpointsConfig = { ...ON, autoCreate: false };
const running: RunningController[] = [];

afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});

function start(client: Client, config: Setting<HostEndpointsConfig>): RunningController {
  const one = runController((context) => hostEndpointsController(context, config), { client });
  running.push(one);
  return one;
}

const addNode = (client: Client, name: string, labels: Record<string, string> = {}) =>
  client.create(Node, { apiVersion: API_VERSION, kind: "Node", metadata: { name, labels }, spec: {} });
const names = async (client: Client) =>
  (await client.list(HostEndpoint)).items.map(({ metadata }) => metadata.name).sort();
const until = (client: Client, expected: readonly string[]) =>
  vi.waitFor(async () => expect(await names(client)).toEqual(expected), { timeout: 10_000 });

describe("host endpoints follow their nodes", () => {
  test("made for nodes there are and nodes that come, with their labels, and gone with them", async () => {
    const client = memoryClient();
    await addNode(client, "n1", { rack: "a" });
    await client.create(HostEndpoint, {
      apiVersion: API_VERSION,
      kind: "HostEndpoint",
      metadata: { name: "mine" },
      spec: { node: "gone", interfaceName: "eth0" },
    });
    const controller = start(client, new Setting(ON));
    await until(client, ["mine", "n1-auto-hep"]);
    await addNode(client, "n2");
    await until(client, ["mine", "n1-auto-hep", "n2-auto-hep"]);
    const found = (await client.get(Node, { name: "n1" }))!;
    await client.update(Node, { ...found, metadata: { ...found.metadata, labels: { rack: "b" } } });
    await vi.waitFor(async () => {
      const endpoint = await client.get(HostEndpoint, { name: "n1-auto-hep" });
      expect(endpoint?.metadata.labels?.rack).toBe("b");
    });
    await client.delete(Node, { name: "n1" });
    await until(client, ["mine", "n2-auto-hep"]);
    expect(controller.state).toEqual({ ready: true, reason: "" });
  });

  test("turned off and on while it runs", async () => {
    const client = memoryClient();
    await addNode(client, "n1");
    const config = new Setting(OFF);
    start(client, config);
    config.set(ON);
    await until(client, ["n1-auto-hep"]);
    config.set(OFF);
    await until(client, []);
    config.set({ ...ON, createDefault: false });
    config.set(ON);
    await until(client, ["n1-auto-hep"]);
  });

  test("what somebody deletes or changes comes back", async () => {
    const client = memoryClient();
    await addNode(client, "n1");
    start(client, new Setting(ON));
    await until(client, ["n1-auto-hep"]);
    await client.delete(HostEndpoint, { name: "n1-auto-hep" });
    await until(client, ["n1-auto-hep"]);
    await vi.waitUntil(async () => {
      const found = await client.get(HostEndpoint, { name: "n1-auto-hep" });
      if (!found) return false;
      const moved = { ...found, spec: { ...found.spec, node: "elsewhere" } };
      return client.update(HostEndpoint, moved).then(
        () => true,
        () => false,
      );
    });
    const isBack = async () => expect((await client.get(HostEndpoint, { name: "n1-auto-hep" }))?.spec.node).toBe("n1");
    await vi.waitFor(isBack, { timeout: 10_000 });
  });

  test("what nodes that went while nobody looked have left behind goes at the start", async () => {
    const data = new MemoryData();
    const client = memoryClient({ data });
    await addNode(client, "n1");
    const first = start(client, new Setting(ON));
    await until(client, ["n1-auto-hep"]);
    await first.stop();
    running.splice(0);
    await client.delete(Node, { name: "n1" });
    expect(await names(client)).toEqual(["n1-auto-hep"]);
    start(memoryClient({ data }), new Setting(ON));
    await until(client, []);
  });
});
