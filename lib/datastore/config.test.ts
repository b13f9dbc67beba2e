import { describe, expect, test } from "vitest";
import { datastoreConfig, datastoreConfigFromEnv, datastoreConfigFromPlugin } from "./config.ts";
import { DatastoreError } from "./errors.ts";

const problem = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof DatastoreError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "no error";
};

describe("the environment", () => {
  test("chooses the datastore", () => {
    expect(datastoreConfigFromEnv({})).toEqual({ type: "sqlite", file: "/var/lib/calico/datastore.db" });
    expect(datastoreConfigFromEnv({ DATASTORE_FILE: "/a.db" })).toEqual({ type: "sqlite", file: "/a.db" });
    expect(datastoreConfigFromEnv({ ETCD_ENDPOINTS: "http://a:2379, https://b:2379/" })).toEqual({
      type: "etcdv3",
      endpoints: ["http://a:2379", "https://b:2379"],
    });
    expect(
      datastoreConfigFromEnv({
        ...{ DATASTORE_TYPE: "sqlite", CALICO_DATASTORE_TYPE: "etcdv3", CALICO_ETCD_ENDPOINTS: "https://a:2379" },
        ...{
          ETCD_USERNAME: "u",
          ETCD_PASSWORD: "p",
          ETCD_CA_CERT_FILE: "/ca",
          ETCD_CERT_FILE: "/cert",
          ETCD_KEY_FILE: "/key",
        },
      }),
    ).toEqual({
      ...{ type: "etcdv3", endpoints: ["https://a:2379"], username: "u", password: "p" },
      ...{ caCertFile: "/ca", certFile: "/cert", keyFile: "/key" },
    });
    expect(datastoreConfigFromEnv({ ETCD_DISCOVERY_SRV: "example.org" })).toEqual({
      type: "etcdv3",
      endpoints: [],
      discoverySrv: "example.org",
    });
  });

  test("that is wrong is CONFIG, naming the variable and no secret", () => {
    const etcd = { ETCD_ENDPOINTS: "https://a:2379" };
    const wrong: [Record<string, string>, string][] = [
      [{ DATASTORE_TYPE: "kubernetes" }, "DATASTORE_TYPE"],
      [{ DATASTORE_TYPE: "mysql" }, "DATASTORE_TYPE"],
      [{ DATASTORE_TYPE: "etcdv3" }, "ETCD_ENDPOINTS"],
      [{ ETCD_ENDPOINTS: "a:2379" }, "ETCD_ENDPOINTS"],
      [{ ETCD_ENDPOINTS: "http://user:s3cret@a:2379" }, "ETCD_ENDPOINTS"],
      [{ ...etcd, ETCD_DISCOVERY_SRV: "example.org" }, "ETCD_DISCOVERY_SRV"],
      [{ ...etcd, ETCD_CERT_FILE: "/cert" }, "ETCD_KEY_FILE"],
      [{ ...etcd, ETCD_PASSWORD: "s3cret" }, "ETCD_USERNAME"],
      [{ ...etcd, ETCD_CA_CERT: "s3cret", ETCD_CA_CERT_FILE: "/ca" }, "ETCD_CERT"],
    ];
    for (const [env, name] of wrong) {
      const message = problem(() => datastoreConfigFromEnv(env));
      expect(message).toContain("CONFIG");
      expect(message).toContain(name);
      expect(message).not.toContain("s3cret");
    }
  });
});

test("the plugin's keys choose the datastore, and are named when they are wrong", () => {
  expect(datastoreConfigFromPlugin({ datastore_file: "/a.db", mtu: 1500 })).toEqual({ type: "sqlite", file: "/a.db" });
  expect(datastoreConfigFromPlugin({ etcd_authority: "a:2379", etcd_scheme: "https" })).toEqual({
    type: "etcdv3",
    endpoints: ["https://a:2379"],
  });
  expect(problem(() => datastoreConfigFromPlugin({ datastore_type: 7 }))).toContain("CONFIG datastore_type");
  expect(problem(() => datastoreConfigFromPlugin({ datastore_type: "kubernetes" }))).toContain("CONFIG datastore_type");
});

test("a configuration file's names are used in messages by default", () => {
  expect(problem(() => datastoreConfig({ datastoreType: "etcdv3" }))).toContain("CONFIG etcdEndpoints");
});
