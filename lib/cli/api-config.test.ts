import { expect, test } from "vitest";
import { parseApiConfig } from "./api-config.ts";

const HEAD = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\n";

test("a configuration file is its settings", async () => {
  const text = `${HEAD}metadata:\nspec:\n  datastoreType: "etcdv3"\n  etcdEndpoints: "https://a:2379,https://b:2379"\n  etcdCACertFile: /ca.pem\n  kubeconfig: /k\n  k8sClientQPS: 2.5\n  usePodCIDR: true\n  k8sDisableNodePoll: true\n`;
  expect(await parseApiConfig(text, "/etc/calico/calicoctl.cfg")).toEqual({
    settings: {
      datastoreType: "etcdv3",
      etcdEndpoints: "https://a:2379,https://b:2379",
      etcdCACertFile: "/ca.pem",
      kubeconfig: "/k",
      k8sClientQPS: "2.5",
      usePodCIDR: "true",
    },
    unused: ["k8sDisableNodePoll"],
  });
  expect(await parseApiConfig(HEAD, "x")).toEqual({ settings: {}, unused: [] });
});

test("a wrong configuration file is refused by key, and no value is repeated", async () => {
  const message = (text: string) =>
    parseApiConfig(text, "c.cfg").then(
      () => "",
      (error: Error) => error.message,
    );
  expect(await message(`${HEAD}spec:\n  etcdEndpoint: http://x\n`)).toBe(
    'c.cfg: spec.etcdEndpoint: there is no such setting; did you mean "etcdEndpoints"?',
  );
  expect(await message(`${HEAD}spec:\n  etcdPassword: [hunter2]\n`)).toBe("c.cfg: spec.etcdPassword: must be text");
  expect(await message("apiVersion: v1\nkind: CalicoAPIConfig\n")).toBe(
    'c.cfg: apiVersion: must be projectcalico.org/v3, not "v1"',
  );
  expect(await message("apiVersion: projectcalico.org/v3\nkind: IPPool\n")).toBe(
    'c.cfg: kind: must be CalicoAPIConfig, not "IPPool"',
  );
  expect(await message("{")).toMatch(/^c\.cfg: is neither YAML nor JSON: /);
  expect(await message(`${HEAD}spec:\n  etcdPassword: "hunter2\n`)).not.toContain("hunter2");
  expect(await message("")).toBe("c.cfg: must be an object with apiVersion, kind and spec");
});
