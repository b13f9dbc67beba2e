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

  test("means Kubernetes where it names an API server and nothing else", () => {
    expect(datastoreConfigFromEnv({ KUBECONFIG: "/k" })).toEqual({ type: "kubernetes", kubeconfig: "/k" });
    expect(datastoreConfigFromEnv({ K8S_API_ENDPOINT: "https://a:6443/" })).toEqual({
      ...{ type: "kubernetes", apiEndpoint: "https://a:6443" },
    });
    expect(datastoreConfigFromEnv({ DATASTORE_TYPE: "kubernetes" })).toEqual({ type: "kubernetes" });
    expect(datastoreConfigFromEnv({ KUBECONFIG: "/k", ETCD_ENDPOINTS: "http://a:2379" }).type).toBe("etcdv3");
    expect(datastoreConfigFromEnv({ KUBECONFIG: "/k", DATASTORE_FILE: "/a.db" }).type).toBe("sqlite");
    expect(datastoreConfigFromEnv({ KUBECONFIG: "/k", DATASTORE_TYPE: "sqlite" }).type).toBe("sqlite");
    expect(
      datastoreConfigFromEnv({
        ...{ CALICO_KUBECONFIG: "/b", KUBECONFIG: "/a", K8S_CURRENT_CONTEXT: "c", K8S_API_ENDPOINT: "https://a/k8s" },
        ...{ K8S_CA_FILE: "/ca", K8S_CERT_FILE: "/cert", K8S_KEY_FILE: "/key", K8S_API_TOKEN: "t" },
        ...{ K8S_INSECURE_SKIP_TLS_VERIFY: "true", K8S_CLIENT_QPS: "2.5", K8S_CLIENT_BURST: "7", USE_POD_CIDR: "1" },
        CALICO_API_GROUP: "projectcalico.org/v3",
      }),
    ).toEqual({
      ...{ type: "kubernetes", kubeconfig: "/b", context: "c", apiEndpoint: "https://a/k8s", caFile: "/ca" },
      ...{ certFile: "/cert", keyFile: "/key", token: "t", insecureSkipTlsVerify: true, qps: 2.5, burst: 7 },
      ...{ usePodCidr: true, apiGroup: "v3" },
    });
  });

  test("that is wrong is CONFIG, naming the variable and no secret", () => {
    const etcd = { ETCD_ENDPOINTS: "https://a:2379" };
    const wrong: [Record<string, string>, string][] = [
      [{ DATASTORE_TYPE: "mysql" }, "DATASTORE_TYPE"],
      [{ K8S_API_ENDPOINT: "a:6443" }, "K8S_API_ENDPOINT"],
      [{ K8S_API_ENDPOINT: "https://user:s3cret@a:6443" }, "K8S_API_ENDPOINT"],
      [{ KUBECONFIG: "/k", K8S_CERT_FILE: "/c" }, "K8S_KEY_FILE"],
      [{ KUBECONFIG: "/k", K8S_INSECURE_SKIP_TLS_VERIFY: "maybe" }, "K8S_INSECURE_SKIP_TLS_VERIFY"],
      [{ KUBECONFIG: "/k", K8S_CLIENT_QPS: "fast" }, "K8S_CLIENT_QPS"],
      [{ KUBECONFIG: "/k", CALICO_API_GROUP: "v3" }, "CALICO_API_GROUP"],
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
  expect(datastoreConfigFromPlugin({ datastore_type: "kubernetes" })).toEqual({ type: "kubernetes" });
  const keys = { qps: 0, burst: 3, calico_api_group: "crd.projectcalico.org/v1" };
  const kubernetes = { kubeconfig: "/k", k8s_api_root: "", node_name: "n" };
  const policy = { type: "k8s", k8s_api_root: "https://a:6443", k8s_auth_token: "t" };
  const wanted = {
    ...{ type: "kubernetes", kubeconfig: "/k", apiEndpoint: "https://a:6443", token: "t", burst: 3, apiGroup: "v1" },
  };
  expect(datastoreConfigFromPlugin({ ...keys, kubernetes, policy })).toEqual(wanted);
  const flat = { "kubernetes.kubeconfig": "/k", "policy.k8s_api_root": "https://a:6443", "policy.k8s_auth_token": "t" };
  expect(datastoreConfigFromPlugin({ ...keys, ...flat })).toEqual(wanted);
  expect(problem(() => datastoreConfigFromPlugin({ kubernetes: { kubeconfig: 7 } }))).toContain(
    "CONFIG kubernetes.kubeconfig",
  );
});

test("a configuration file's names are used in messages by default", () => {
  expect(problem(() => datastoreConfig({ datastoreType: "etcdv3" }))).toContain("CONFIG etcdEndpoints");
});
