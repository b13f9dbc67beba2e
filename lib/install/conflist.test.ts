import { readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Env, InstallError, placeConflist, placesOf, renderConflist, templateOf } from "./index.ts";
import { fakeHost } from "./testing.ts";

const facts = { node: "n1", tls: new Set<string>() };
const render = (template: string, env: Env = {}, more: object = {}) =>
  renderConflist(template, env, placesOf(env), { ...facts, ...more });
const LIST = (plugin: string): string =>
  `{"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": [{"type": "calico", ${plugin}}]}`;

describe("what the network configuration says", () => {
  test("the default is upstream's", () => {
    const { text, types, files, unknown } = render(templateOf({}));
    expect(JSON.parse(text)).toEqual({
      name: "k8s-pod-network",
      cniVersion: "1.0.0",
      plugins: [
        {
          type: "calico",
          log_level: "info",
          log_file_path: "/var/log/calico/cni/cni.log",
          datastore_type: "kubernetes",
          nodename: "n1",
          mtu: 1500,
          ipam: { type: "calico-ipam" },
          policy: { type: "k8s" },
          kubernetes: { kubeconfig: "/etc/cni/net.d/calico-kubeconfig" },
          require_mtu_file: false,
          calico_api_group: "crd.projectcalico.org/v1",
        },
        { type: "portmap", snat: true, capabilities: { portMappings: true } },
      ],
    });
    expect({ types, files, unknown }).toEqual({
      types: ["calico", "calico-ipam", "portmap"],
      files: ["calico-kubeconfig"],
      unknown: [],
    });
  });

  test.each([
    ["LOG_LEVEL", { LOG_LEVEL: "debug" }, "debug"],
    ["LOG_FILE_PATH", {}, "/var/log/calico/cni/cni.log"],
    ["LOG_FILE_MAX_SIZE", {}, "100"],
    ["LOG_FILE_MAX_AGE", {}, "30"],
    ["LOG_FILE_MAX_COUNT", { LOG_FILE_MAX_COUNT: "3" }, "3"],
    ["DATASTORE_TYPE", { DATASTORE_TYPE: "etcdv3" }, "etcdv3"],
    ["KUBERNETES_NODE_NAME", {}, "n1"],
    ["KUBERNETES_NODE_NAME", { KUBERNETES_NODE_NAME: "other" }, "other"],
    ["KUBECONFIG_FILEPATH", { CNI_NET_DIR: "/var/lib/cni" }, "/var/lib/cni/calico-kubeconfig"],
    ["CNI_MTU", { CNI_MTU: "0" }, "0"],
    ["KUBERNETES_SERVICE_HOST", { KUBERNETES_SERVICE_HOST: "10.96.0.1" }, "10.96.0.1"],
    ["KUBERNETES_SERVICE_PORT", {}, ""],
    ["SERVICEACCOUNT_TOKEN", {}, ""],
    ["CALICO_API_GROUP", { CALICO_API_GROUP: "projectcalico.org/v3" }, "projectcalico.org/v3"],
    ["ETCD_ENDPOINTS", { ETCD_ENDPOINTS: "https://a:2379" }, "https://a:2379"],
    ["ETCD_DISCOVERY_SRV", {}, ""],
    ["ETCD_CERT_FILE", {}, ""],
    ["REQUIRE_MTU_FILE", { REQUIRE_MTU_FILE: "true" }, "true"],
  ])("__%s__ with %j is %j", (name, env: Env, value) => {
    expect(JSON.parse(render(LIST(`"x": "__${name}__"`), env).text).plugins[0].x).toBe(value);
  });

  test("etcd's files are named where they are installed, and only those", () => {
    const { text } = render(
      LIST(`"a": "__ETCD_CA_CERT_FILE__", "b": "__ETCD_KEY_FILE__"`),
      {},
      { tls: new Set(["etcd-ca"]) },
    );
    expect(JSON.parse(text).plugins[0]).toMatchObject({ a: "/etc/cni/net.d/calico-tls/etcd-ca", b: "" });
  });

  test("whatever a value is, it stays a value", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const { text } = render(LIST('"x": "__LOG_FILE_PATH__"'), { LOG_FILE_PATH: value });
        expect(JSON.parse(text).plugins[0].x).toBe(value);
      }),
    );
  });

  test("a placeholder that nothing stands for stays, and is named", () => {
    expect(render(LIST('"x": "__CNI_MUT__"')).unknown).toEqual(["__CNI_MUT__"]);
  });

  test.each([
    ['{"name": "a", "plugins": [{"type": "calico", "mtu": __CNI_MTU__}]}', { CNI_MTU: "" }, /not JSON/],
    ["[]", {}, /not an object/],
    ['{"plugins": [{"type": "calico"}]}', {}, /no name/],
    ['{"name": "a", "plugins": []}', {}, /no plugins/],
    ['{"name": "a", "plugins": [{}]}', {}, /without a type/],
    ['{"name": "a", "plugins": [{"type": "../calico"}]}', {}, /without a type/],
  ])("%s is refused", (template, env: Env, message) => {
    expect(() => render(template, env)).toThrow(message);
    expect(() => render(template, env)).toThrow(InstallError);
  });

  test("what cannot be read is not repeated, for there may be a token in it", () => {
    expect(() => render('{"secret": "hunter2"')).not.toThrow("hunter2");
  });

  test("a file wins over a text; one that is absent is named", () => {
    using host = fakeHost();
    const file = join(host.host, "template");
    expect(() => templateOf({ CNI_NETWORK_CONFIG_FILE: file, CNI_NETWORK_CONFIG: "{}" })).toThrow(file);
    writeFileSync(file, "[1]");
    expect(templateOf({ CNI_NETWORK_CONFIG_FILE: file, CNI_NETWORK_CONFIG: "{}" })).toBe("[1]");
  });
});

describe("writing it", () => {
  const env: Env = { CNI_NETWORK_CONFIG: LIST('"ipam": {"type": "calico-ipam"}') };
  const FOREIGN = '{"name": "theirs", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}';

  function place(host: ReturnType<typeof fakeHost>, more: Env = {}, dryRun = false) {
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const steps = placeConflist({ ...env, ...more }, host.places(), facts, { binFolder: host.bin, dryRun, warn });
    return { warnings, actions: steps.map(({ path, action }) => `${action} ${path.split("/").at(-1)}`) };
  }
  function withPlugins(host: ReturnType<typeof fakeHost>): void {
    for (const name of ["calico", "calico-ipam", "loopback"]) writeFileSync(join(host.bin, name), "");
  }

  test("waits for the executables that it names", () => {
    using host = fakeHost();
    expect(() => place(host)).toThrow(/not there: calico, calico-ipam/);
    expect(host.names(host.net)).toEqual([]);
    withPlugins(host);
    expect(place(host).actions).toEqual(["written 10-calico.conflist"]);
    expect(statSync(join(host.net, "10-calico.conflist")).mode & 0o777).toBe(0o600);
  });

  test("takes a link for an executable, although it leads to where only the node can see", () => {
    using host = fakeHost();
    for (const name of ["calico", "calico-ipam"]) symlinkSync(`/usr/lib/of-the-node/${name}`, join(host.bin, name));
    expect(place(host).actions).toEqual(["written 10-calico.conflist"]);
  });

  test("waits for the kubeconfig that it names, but not for one that somebody else keeps", () => {
    using host = fakeHost();
    withPlugins(host);
    const named = (file: string): Env => ({ CNI_NETWORK_CONFIG: LIST(`"kubernetes": {"kubeconfig": "${file}"}`) });
    expect(() => place(host, named("__KUBECONFIG_FILEPATH__"))).toThrow(/calico-kubeconfig/);
    expect(place(host, named("/etc/kubernetes/kubeconfig")).actions).toEqual(["written 10-calico.conflist"]);
    writeFileSync(join(host.net, "calico-kubeconfig"), "");
    expect(place(host, named("__KUBECONFIG_FILEPATH__")).actions).toEqual(["written 10-calico.conflist"]);
  });

  test("one that says so already keeps its inode", () => {
    using host = fakeHost();
    withPlugins(host);
    place(host);
    const { ino } = statSync(join(host.net, "10-calico.conflist"));
    expect(place(host).actions).toEqual(["unchanged 10-calico.conflist"]);
    expect(statSync(join(host.net, "10-calico.conflist")).ino).toBe(ino);
  });

  test("another network's is left alone: under its own name with a warning, under ours with a refusal", () => {
    using host = fakeHost();
    withPlugins(host);
    writeFileSync(join(host.net, "05-theirs.conflist"), FOREIGN);
    expect(place(host).warnings).toEqual([expect.stringMatching(/05-theirs.conflist is another network's/)]);
    writeFileSync(join(host.net, "10-calico.conflist"), FOREIGN);
    expect(() => place(host)).toThrow(expect.objectContaining({ code: "FOREIGN" }));
    expect(readFileSync(join(host.net, "10-calico.conflist"), "utf8")).toBe(FOREIGN);
    expect(readFileSync(join(host.net, "05-theirs.conflist"), "utf8")).toBe(FOREIGN);
  });

  test("the one of an older name goes after the new one is there, unless it is another network's", () => {
    using host = fakeHost();
    withPlugins(host);
    place(host);
    const renamed = { CNI_CONF_NAME: "05-calico.conflist" };
    expect(place(host, renamed, true).actions).toEqual(["written 05-calico.conflist", "removed 10-calico.conflist"]);
    expect(host.names(host.net)).toEqual(["10-calico.conflist"]);
    expect(place(host, renamed).actions).toEqual(["written 05-calico.conflist", "removed 10-calico.conflist"]);
    expect(host.names(host.net)).toEqual(["05-calico.conflist"]);
    writeFileSync(join(host.net, "10-calico.conflist"), FOREIGN);
    expect(place(host, renamed).actions).toEqual(["unchanged 05-calico.conflist", "left alone 10-calico.conflist"]);
  });

  test("what a service mesh chained to it stays, until something else of it changes", () => {
    using host = fakeHost();
    withPlugins(host);
    place(host);
    const path = join(host.net, "10-calico.conflist");
    const list = JSON.parse(readFileSync(path, "utf8"));
    list.plugins.push({ type: "istio-cni" });
    writeFileSync(path, JSON.stringify(list));
    expect(place(host).actions).toEqual(["left alone 10-calico.conflist"]);
    expect(JSON.parse(readFileSync(path, "utf8")).plugins).toHaveLength(2);
    const changed = { CNI_NETWORK_CONFIG: LIST('"ipam": {"type": "calico-ipam"}, "mtu": 9000') };
    expect(place(host, changed).actions).toEqual(["written 10-calico.conflist"]);
  });

  test("half of one, which an installer that was killed left, is replaced", () => {
    using host = fakeHost();
    withPlugins(host);
    writeFileSync(
      join(host.net, "10-calico.conflist"),
      '{"name": "k8s-pod-network", "plugins": [{"type": "calico", "ip',
    );
    expect(place(host).actions).toEqual(["written 10-calico.conflist"]);
  });

  test.each(["../10-calico.conflist", "calico", ".conflist", "10-calico.conflist.pending"])(
    "the name %s, which no runtime reads, is refused",
    (name) => {
      using host = fakeHost();
      expect(() => place(host, { CNI_CONF_NAME: name })).toThrow(`CNI_CONF_NAME=${name}`);
    },
  );
});
