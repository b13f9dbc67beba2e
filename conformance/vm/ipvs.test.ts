/**
 * Policy beside kube-proxy in IPVS mode, which needs a kernel that has IPVS: guest/ipvs.ts looks into it in the virtual machine. The API server is
 * here, because emulated it takes a minute to start.
 */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { apiServerMissing, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { kubeProxyMissing } from "../kubernetes/kube-proxy.ts";
import { missingBuild } from "../lab/index.ts";
import { type Finding, findings } from "./guest/claims.ts";
import { CLAIMS, DATAPLANES, FOLLOWS, kubernetesObjects, NODE } from "./guest/services.ts";
import { runInVm } from "./index.ts";
import { describeVm } from "./suite.ts";

describeVm(
  "beside kube-proxy in IPVS mode",
  () => {
    let found: ReadonlyMap<string, Finding> = new Map();
    let said = "";
    beforeAll(async () => {
      await using server = await startApiServer({ names: ["172.31.0.1"] });
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: NODE.name } }, ...kubernetesObjects());
      const status = { addresses: [{ type: "InternalIP", address: NODE.address }] };
      await server.request("PATCH", `/api/v1/nodes/${NODE.name}/status`, { status }, "application/merge-patch+json");
      const kubeconfig = readFileSync(server.kubeconfig("admin-token", { server: "https://172.31.0.1:6443" }), "utf8");
      const outcome = await runInVm([process.execPath, "conformance/vm/guest/ipvs.ts"], {
        ...{ port: server.port, files: { kubeconfig }, env: { API_PORT: String(server.port) } },
        ...{ timeout: 900_000, memory: 3072 },
      });
      found = findings(outcome.stdout);
      said = outcome.stderr;
    }, 960_000);

    const holds = (claim: string) => {
      const finding = found.get(claim);
      expect(finding, `nothing was found out:\n${said}`).toBeDefined();
      expect(finding?.error).toBeUndefined();
    };
    describe.each(DATAPLANES)("%s", (dataplane) => {
      test.each(Object.values(CLAIMS))("%s", (claim) => holds(`${dataplane}: ${claim}`));
    });
    test.each(Object.values(FOLLOWS))("%s", holds);
  },
  apiServerMissing() ?? kubeProxyMissing() ?? missingBuild(),
);
