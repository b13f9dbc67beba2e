import { afterEach, beforeEach, expect, it } from "vitest";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { createIpam } from "../ipam/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { failureOf, makeSite, type Site } from "./testing.ts";

const ARGS = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx";

describeAsRoot("sandboxes of one Kubernetes pod", () => {
  let site: Site;
  beforeEach(async () => {
    site = await makeSite();
    await site.makePool("pool4", "10.77.0.0/16");
  });
  afterEach(() => site[Symbol.dispose]());

  const containers = async (): Promise<unknown[]> =>
    (await site.client.list(WorkloadEndpoint)).items.map(({ spec }) => spec.containerID);
  const sandbox = (container: string, config: object = {}) => ({
    container,
    args: ARGS,
    netns: site.anotherPod().path,
    config: { ipam_lock_file: `${site.folder}/${container}.lock`, ...config },
  });

  it("that are attached at the same time do not take each other's record", async () => {
    const [one, two] = [sandbox("c1"), sandbox("c2")];
    let first: Awaited<ReturnType<Site["add"]>> | undefined;
    site.hook = async ({ type }) => {
      if (type !== "write" || first) return undefined;
      site.hook = undefined;
      first = await site.add(one);
      return undefined;
    };
    const error = await failureOf(site.add(two));
    expect(error.code).toBe(11);
    expect(error.message).toContain("another sandbox");
    await site.check(first!, one);
    expect(await containers()).toEqual(["c1"]);
    expect(await createIpam(site.client).ipsByHandle("net1.c2")).toEqual([]);
    // The runtime tries again, and the later sandbox replaces the earlier one.
    const second = await site.add(two);
    await site.check(second, two);
    for (const each of [one, two]) await site.del(each);
    expect(await site.traces()).toEqual([]);
  });

  it("replace the interface of one whose record is gone", async () => {
    const [d1, d2, d3] = [sandbox("d1"), sandbox("d2"), sandbox("d3")];
    await site.add(d1);
    site.hook = ({ type }) => (type === "write" ? "crash-after" : undefined);
    await site.add(d2).catch(() => {});
    site.hook = undefined;
    expect(await containers()).toEqual(["d2"]);
    await site.del(d2);
    const result = await site.add(d3);
    await site.check(result, d3);
    for (const each of [d1, d3]) await site.del(each);
    expect(await site.traces()).toEqual([]);
  });

  it("replace the interface of one whose addresses are gone too", async () => {
    const [d1, d2] = [sandbox("d1"), sandbox("d2")];
    await site.add(d1);
    const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
    await site.client.delete(WorkloadEndpoint, endpoint!.metadata as never);
    await createIpam(site.client).releaseByHandle("net1.d1");
    await site.check(await site.add(d2), d2);
  });

  it.each([
    ["of another network", "net2/d1/eth0"],
    ["of a container that belongs to another pod", "net1/e1/eth0"],
    ["of another program", "somebody"],
  ])("leave an interface %s alone", async (_what, owner) => {
    const ipam = createIpam(site.client);
    const attributes = { node: "node-1", pod: "other", namespace: "default" };
    await ipam.autoAssign({ num4: 1, host: "node-1", handle: "net1.e1", use: "Workload", attributes });
    site.host.exec("ip", "link", "add", "calic440f455693", "type", "bridge");
    site.host.exec("ip", "link", "set", "calic440f455693", "alias", `calico:${owner}`);
    expect((await failureOf(site.add(sandbox("d3")))).code).toBe(106);
    expect(site.host.exec("ip", "-o", "link")).toContain("calic440f455693");
    expect(await containers()).toEqual([]);
  });

  it("do not inherit labels, ports or NAT addresses of the one before", async () => {
    await site.add(sandbox("d1"));
    const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
    const { metadata, spec } = endpoint!;
    await site.client.update(WorkloadEndpoint, {
      ...endpoint!,
      metadata: { ...metadata, labels: { ...metadata.labels, app: "old" } },
      spec: {
        ...spec,
        serviceAccountName: "old",
        ports: [{ name: "http", port: 80, protocol: "TCP" }],
        ipNATs: [{ internalIP: spec.ipNetworks![0]!.replace("/32", ""), externalIP: "192.0.2.1" }],
      },
    } as unknown as WorkloadEndpoint);
    await site.add(sandbox("d2"));
    const [fresh] = (await site.client.list(WorkloadEndpoint)).items;
    expect(fresh!.metadata.labels).not.toHaveProperty("app");
    for (const key of ["ports", "ipNATs", "serviceAccountName"]) expect(fresh!.spec).not.toHaveProperty(key);
  });
});
