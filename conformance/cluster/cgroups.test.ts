import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { until } from "../kubernetes/agent.ts";
import { createLab, identity, type Lab, missingForLab } from "../lab/index.ts";
import { Cgroups, IN_CGROUPS, missingCgroups } from "./cgroups.ts";

const missing = missingForLab() ?? missingCgroups();
const ROOT = "/sys/fs/cgroup/pids";

describe.skipIf(missing !== undefined)(missing ? `cgroups (skipped: ${missing})` : "cgroups of nodes", () => {
  let lab: Lab | undefined;
  afterEach(() => lab?.dispose());

  test("a node's processes are in a sub-tree that they see as the whole", async () => {
    lab = await createLab({ nodes: 1 });
    const cgroups = new Cgroups();
    const [node] = lab.nodes;
    await cgroups.giveTo(node!);
    const seen = await node!.run([...IN_CGROUPS, "sh", "-c", "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/pids/pod"]);
    const paths = seen.trim().split("\n");
    expect(paths.length).toBeGreaterThan(4);
    for (const line of paths) expect(line).toMatch(/:\/$/);
    const daemon = await node!.daemon("sleep", [...IN_CGROUPS, "sleep", "infinity"]);
    // The shell in front of it may be about to join.
    await until("sleep runs", () => readFileSync(`/proc/${daemon.pid}/comm`, "utf8") === "sleep\n");
    const own = readFileSync(`/proc/${daemon.pid}/cgroup`, "utf8").split("\n");
    const folder = own.find((line) => line.split(":")[1] === "pids")!.split(":")[2]!;
    expect(folder).toMatch(/calico-cluster-.*\/node1$/);
    expect(readFileSync(join(ROOT, folder, "pod/cgroup.procs"), "utf8")).toBe("");
    await lab.dispose();
    await cgroups.remove();
    expect(() => readFileSync(join(ROOT, folder, "cgroup.procs"))).toThrow();
  });

  test("what a killed owner left is swept by the next, and what a living one has is not", async () => {
    const [pid, start] = identity(process.pid)!.split(" ");
    const dead = join(ROOT, `calico-cluster-${pid}-${Number(start) - 1}-1`);
    const alive = join(ROOT, `calico-cluster-${pid}-${start}-0`);
    mkdirSync(join(dead, "node1/kubepods"), { recursive: true });
    mkdirSync(join(alive, "node1"), { recursive: true });
    try {
      await new Cgroups().remove();
      expect(() => readFileSync(join(dead, "cgroup.procs"))).toThrow();
      expect(readFileSync(join(alive, "node1/cgroup.procs"), "utf8")).toBe("");
    } finally {
      rmdirSync(join(alive, "node1"));
      rmdirSync(alive);
    }
  });
});
