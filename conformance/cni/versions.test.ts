import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Backend, type Cluster, createCluster, kubernetesArgs } from "./cluster.ts";
import { cnitool, confList, direct, missingCnitool, type Runtime } from "./cnitool.ts";
import { expectNothingLeft, expectSuccess } from "./expect.ts";
import { addressesIn, faults, since, VERSIONS } from "./result.ts";

const backends: Backend[] = ["sqlite", "etcd"];

describe.each(backends)("every version of the specification, on %s", (backend) => {
  describeLab(
    "attach, check and detach",
    () => {
      let cluster: Cluster;
      beforeAll(async () => {
        cluster = await createCluster({ backend });
      });
      afterEach(() => cluster.clean());
      afterAll(() => cluster?.dispose());

      const runtimes: [string, Runtime, string | undefined][] = [
        ["driven by cnitool", cnitool, missingCnitool],
        ["executed directly", direct(), undefined],
      ];
      for (const [how, runtime, missing] of runtimes) {
        describe.skipIf(missing !== undefined)(missing ? `${how} (skipped: ${missing})` : how, () => {
          test.each(VERSIONS)("%s", async (version) => {
            const [node] = cluster.nodes;
            const pod = await node!.pod(`v${version.replaceAll(".", "")}-${runtime.name}`);
            const list = confList(
              cluster.conf({
                cniVersion: version,
                ipam: { type: "calico-ipam", assign_ipv4: "true", assign_ipv6: "true" },
              }),
            );
            const args = kubernetesArgs(pod);

            const added = await runtime.call("ADD", list, pod, args);
            expectSuccess(added);
            expect(faults(version, added.json)).toEqual([]);
            const addresses = addressesIn(added.json);
            expect(addresses).toHaveLength(2);
            expect(addresses[0]).toMatch(/^10\.65\./);
            expect(addresses[1]).toMatch(/^fd65::/);
            const shown = await pod.run(["ip", "-oneline", "address", "show", "dev", "eth0", "scope", "global"]);
            for (const address of addresses) expect(shown).toContain(` ${address}/`);
            for (const address of addresses) await node!.run(["ping", "-c1", "-W2", address]);
            const records = await cluster.records();
            expect(records.endpoints.map((endpoint) => [...endpoint.addresses].sort())).toEqual([
              [...addresses].sort(),
            ]);
            expect([...records.handles.keys()]).toEqual([`calico-net.${runtime.containerId(pod)}`]);

            // libcni refuses by itself to CHECK or ask for STATUS what a version does not have.
            if (since(version, "0.4.0")) expectSuccess(await runtime.call("CHECK", list, pod, args));
            if (since(version, "1.1.0")) expectSuccess(await runtime.call("STATUS", list, pod));
            expectSuccess(await runtime.call("DEL", list, pod, args));
            expect(await pod.run(["ip", "-brief", "link"])).toMatch(/^lo\s+\S+\s+\S+\s+\S+\s*$/);
            await expectNothingLeft(cluster);
            await pod.remove();
          });
        });
      }

      test("VERSION names all of them", async () => {
        const pod = await cluster.nodes[0]!.pod("version");
        for (const plugin of ["calico", "calico-ipam"]) {
          const outcome = await pod.cni(
            "VERSION",
            { cniVersion: "1.0.0" },
            { plugin, containerId: "", netns: "", ifName: "" },
          );
          expectSuccess(outcome);
          expect(outcome.json).toMatchObject({ supportedVersions: VERSIONS });
        }
        await pod.remove();
      });
    },
    backend === "etcd" ? (missingTool("etcd") ?? missingTool("etcdctl")) : undefined,
  );
});
