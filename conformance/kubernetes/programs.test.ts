/** calicoctl and calico-ipam with nothing but a kubeconfig. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ApiServer, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { pool } from "../cni/cluster.ts";
import type { Outcome } from "../lab/index.ts";
import { GROUP_VERSION, runProgram, type StoredObject } from "./cluster.ts";
import { describeModes } from "./suite.ts";

describeModes("calicoctl and calico-ipam", (mode) => {
  let server: ApiServer;
  let admin: string;
  beforeAll(async () => {
    server = await startApiServer({ crds: mode });
    admin = server.kubeconfig("admin");
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  });
  afterAll(() => server?.stop());

  const calicoctl = (args: string[], stdin?: object, kubeconfig = admin) =>
    runProgram("calicoctl", args, kubeconfig, stdin === undefined ? undefined : JSON.stringify(stdin));

  function succeeds(outcome: Outcome): string {
    expect({ status: outcome.status, stderr: outcome.stderr }, outcome.stdout).toEqual({ status: 0, stderr: "" });
    return outcome.stdout;
  }

  /** The object of `calicoctl get -o json`, which of one is itself and of several a list. */
  function only(text: string): object {
    const parsed = JSON.parse(text) as { items?: object[] };
    return parsed.items?.[0] ?? parsed;
  }

  const stored = (plural: string, name: string) =>
    server.request<StoredObject & { apiVersion: string; kind: string }>(
      "GET",
      `/apis/${GROUP_VERSION[mode]}/${plural}/${name}`,
    );

  test("create, get, apply, replace and delete of a pool, seen by the API server each time", async () => {
    const one = pool("one", "10.1.0.0/16", { ipipMode: "Always" });
    succeeds(await calicoctl(["create", "-f", "-"], one));
    expect(await stored("ippools", "one")).toMatchObject({ spec: { cidr: "10.1.0.0/16", ipipMode: "Always" } });
    expect((await calicoctl(["create", "-f", "-"], one)).status, "it exists").not.toBe(0);

    const got = only(succeeds(await calicoctl(["get", "ippool", "one", "-o", "json"])));
    expect(got).toMatchObject({
      apiVersion: "projectcalico.org/v3",
      kind: "IPPool",
      metadata: { name: "one" },
      spec: { cidr: "10.1.0.0/16", blockSize: 26, nodeSelector: "all()" },
    });
    succeeds(await calicoctl(["apply", "-f", "-"], pool("one", "10.1.0.0/16", { ipipMode: "Never", disabled: true })));
    expect(await stored("ippools", "one")).toMatchObject({ spec: { ipipMode: "Never", disabled: true } });
    expect(succeeds(await calicoctl(["get", "ippools", "-o", "wide"]))).toContain("10.1.0.0/16");
    succeeds(await calicoctl(["delete", "ippool", "one"]));
    await expect(stored("ippools", "one")).rejects.toThrow("404");
    expect((await calicoctl(["delete", "ippool", "one"])).stderr).toContain("one");
  });

  test("labels and annotations come back as they were written; v1 keeps them in upstream's annotation", async () => {
    const labelled = {
      ...pool("labelled", "10.2.0.0/16"),
      metadata: {
        name: "labelled",
        labels: { colour: "blue", "projectcalico.org/x": "y" },
        annotations: { note: "n" },
      },
    };
    succeeds(await calicoctl(["apply", "-f", "-"], labelled));
    const object = await stored("ippools", "labelled");
    expect(object.apiVersion).toBe(GROUP_VERSION[mode]);
    const metadata = object.metadata.annotations?.["projectcalico.org/metadata"];
    if (mode === "v1")
      expect(JSON.parse(metadata ?? "{}")).toMatchObject({ labels: { colour: "blue" }, annotations: { note: "n" } });
    else expect(metadata).toBeUndefined();
    const text = succeeds(await calicoctl(["get", "ippool", "labelled", "-o", "json"]));
    expect(only(text)).toMatchObject({
      metadata: { labels: { colour: "blue", "projectcalico.org/x": "y" }, annotations: { note: "n" } },
    });
    succeeds(await calicoctl(["delete", "ippool", "labelled"]));
  });

  test("nodes are the cluster's nodes, with Calico's part in annotations", async () => {
    expect(succeeds(await calicoctl(["get", "nodes"]))).toContain("n1");
    const node = {
      apiVersion: "projectcalico.org/v3",
      kind: "Node",
      metadata: { name: "n1" },
      spec: { bgp: { ipv4Address: "192.0.2.1/24", asNumber: 64512 } },
    };
    succeeds(await calicoctl(["apply", "-f", "-"], node));
    const object = await server.request<StoredObject>("GET", "/api/v1/nodes/n1");
    expect(object.metadata.annotations).toMatchObject({
      "projectcalico.org/IPv4Address": "192.0.2.1/24",
      "projectcalico.org/ASNumber": "64512",
    });
    expect(succeeds(await calicoctl(["get", "node", "n1", "-o", "yaml"]))).toContain("192.0.2.1/24");
  });

  test("profiles are the namespaces and the service accounts, to be read only", async () => {
    await server.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels: { tier: "front" } } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "till", namespace: "shop" } },
    );
    const names = succeeds(await calicoctl(["get", "profiles"]));
    expect(names).toContain("kns.shop");
    expect(names).toContain("ksa.shop.till");
    expect(succeeds(await calicoctl(["get", "profile", "kns.shop", "-o", "yaml"]))).toContain("pcns.tier: front");
    const refused = await calicoctl(["delete", "profile", "kns.shop"]);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/kns\.shop|profile/i);
  });

  test("policies: types are filled in, and they come back under the name they were given", async () => {
    const policy = {
      apiVersion: "projectcalico.org/v3",
      kind: "NetworkPolicy",
      metadata: { name: "allow-dns", namespace: "default" },
      spec: { selector: "all()", egress: [{ action: "Allow", protocol: "UDP", destination: { ports: [53] } }] },
    };
    succeeds(await calicoctl(["apply", "-f", "-"], policy));
    const text = succeeds(await calicoctl(["get", "networkpolicy", "allow-dns", "--namespace=default", "-o", "json"]));
    expect(only(text)).toMatchObject({ metadata: { name: "allow-dns" }, spec: { types: ["Egress"] } });
    succeeds(await calicoctl(["delete", "networkpolicy", "allow-dns", "--namespace=default"]));
  });

  test("what is not valid is refused with the field's name, and nothing is stored", async () => {
    const refused = await calicoctl(["apply", "-f", "-"], pool("bad", "10.9.0.0/33"));
    expect(refused.status).not.toBe(0);
    expect(refused.stderr + refused.stdout).toContain("cidr");
    await expect(stored("ippools", "bad")).rejects.toThrow("404");
  });

  test("calico-ipam show: pools and blocks", async () => {
    succeeds(await calicoctl(["apply", "-f", "-"], pool("shown", "10.3.0.0/16")));
    expect(succeeds(await runProgram("calico-ipam", ["show"], admin))).toContain("10.3.0.0/16");
    succeeds(await runProgram("calico-ipam", ["show", "--show-blocks"], admin));
    succeeds(await runProgram("calico-ipam", ["check"], admin));
    succeeds(await calicoctl(["delete", "ippool", "shown"]));
  });

  test("a token is enough, and what its user may not do is said by name", async () => {
    const reader = server.kubeconfig("reader");
    succeeds(await calicoctl(["get", "ippools"], undefined, reader));
    const refused = await calicoctl(["apply", "-f", "-"], pool("mine", "10.4.0.0/16"), reader);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr + refused.stdout).toMatch(/reader/);
    expect(refused.stderr + refused.stdout).not.toContain(server.token("reader"));
    await expect(stored("ippools", "mine")).rejects.toThrow("404");
  });
});
