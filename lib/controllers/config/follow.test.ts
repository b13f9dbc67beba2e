import { afterEach, describe, expect, test, vi } from "vitest";
import { KubeControllersConfiguration } from "../../api/kubecontrollersconfiguration.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import { memoryClient } from "../../datastore/testing.ts";
import { silentLogger } from "../../telemetry/index.ts";
import type { Time } from "../time.ts";
import { ConfigError, defaultConfiguration, followConfig } from "./index.ts";

/** Retries follow each other at once. */
const time: Time = { now: Date.now, sleep: () => new Promise((resolve) => setImmediate(resolve)), random: () => 0 };
const ref = { name: "default" };
const opened: { client: Client; stop: AbortController; done?: Promise<void> }[] = [];

afterEach(async () => {
  for (const { client, stop, done } of opened.splice(0)) {
    stop.abort();
    await done;
    await client.close();
  }
});

async function follow(client: Client, environment: Record<string, string> = {}) {
  const stop = new AbortController();
  const one: (typeof opened)[number] = { client, stop };
  opened.push(one);
  const { config, done } = await followConfig({ client, environment, log: silentLogger, signal: stop.signal, time });
  one.done = done;
  return config;
}

const stored = async (client: Client) => (await client.get(KubeControllersConfiguration, ref))!;

async function change(
  client: Client,
  edit: (spec: KubeControllersConfiguration["spec"]) => void,
): Promise<KubeControllersConfiguration> {
  return vi.waitUntil(async () => {
    const found = await stored(client);
    edit(found.spec);
    return client.update(KubeControllersConfiguration, found).catch(() => undefined);
  });
}

describe("the configuration is followed", () => {
  test("made where there is none, with its status", async () => {
    const client = memoryClient();
    const config = await follow(client, { LOG_LEVEL: "error" });
    expect(config.value).toMatchObject({ logLevel: "error", prometheusPort: 9094 });
    const resource = await vi.waitUntil(async () => {
      const found = await stored(client);
      return found.status && found;
    });
    expect(resource.spec).toEqual(defaultConfiguration().spec);
    expect(resource.status).toMatchObject({
      environmentVars: { LOG_LEVEL: "error" },
      runningConfig: { logSeverityScreen: "Error" },
    });
  });

  test("changes are in force while it runs, and only then are listeners called", async () => {
    const client = memoryClient();
    const config = await follow(client);
    const heard: string[] = [];
    config.onChange(() => heard.push(config.value.controllers.loadBalancer?.assignIPs ?? "off"));
    await change(client, ({ controllers }) => {
      controllers.loadBalancer = { assignIPs: "RequestedServicesOnly" };
    });
    await vi.waitUntil(() => heard.length === 1);
    await change(client, ({ controllers }) => {
      delete controllers.loadBalancer;
    });
    await vi.waitUntil(() => heard.length === 2);
    expect(heard).toEqual(["RequestedServicesOnly", "off"]);
    await vi.waitUntil(async () => !(await stored(client)).status?.runningConfig?.controllers.loadBalancer);
  });

  test("a status that is right is not written again, one that somebody spoilt is", async () => {
    const client = memoryClient();
    await follow(client);
    await vi.waitUntil(async () => (await stored(client)).status);
    const written = await stored(client);
    await client.update(KubeControllersConfiguration, { ...written, status: { environmentVars: { odd: "one" } } });
    await vi.waitUntil(async () => Bun.deepEquals((await stored(client)).status, written.status));
    const settled = (await stored(client)).metadata.resourceVersion;
    // Another follower with the same environment agrees.
    await follow(client);
    await client.get(KubeControllersConfiguration, ref);
    expect((await stored(client)).metadata.resourceVersion).toBe(settled);
  });

  test("made again when it is deleted", async () => {
    const client = memoryClient();
    const config = await follow(client);
    await change(client, (spec) => {
      spec.prometheusMetricsPort = 0;
    });
    await vi.waitUntil(() => config.value.prometheusPort === 0);
    await client.delete(KubeControllersConfiguration, ref);
    await vi.waitUntil(() => config.value.prometheusPort === 9094);
    expect((await stored(client)).spec.prometheusMetricsPort).toBe(9094);
  });

  test("a datastore that fails is tried again; one without the kind has the defaults", async () => {
    let failures = 3;
    const missing = new DatastoreError("CONFIG", "no such kind", { kindMissing: true });
    const failing = (error: Error, times: () => boolean): Client => {
      const client = memoryClient();
      return new Proxy(client, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name === "watch" && times()) {
            return async function* () {
              yield await Promise.reject(error);
            };
          }
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    };
    const unavailable = failing(new DatastoreError("UNAVAILABLE", "away"), () => failures-- > 0);
    expect((await follow(unavailable)).value.logLevel).toBe("info");
    expect(failures).toBeLessThan(1);
    expect((await follow(failing(missing, () => true))).value.prometheusPort).toBe(9094);
  });

  test("a variable that cannot be understood is the end, before anything is written", async () => {
    const client = memoryClient();
    await expect(follow(client, { HEALTH_ENABLED: "maybe" })).rejects.toThrow(ConfigError);
    expect(await client.get(KubeControllersConfiguration, ref)).toBeUndefined();
  });
});
