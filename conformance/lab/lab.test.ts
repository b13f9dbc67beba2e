import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CHECKOUT, createLab, type HostNetwork, hostNetwork, type Lab } from "./index.ts";
import { describeLab } from "./suite.ts";

describeLab("lab", () => {
  let before: HostNetwork;
  let lab: Lab;
  beforeAll(async () => {
    before = await hostNetwork();
    lab = await createLab({ nodes: 3 });
  });
  afterAll(() => lab?.dispose());

  test("nodes reach each other over the underlay, over IPv4 and IPv6", async () => {
    const [first, , third] = lab.nodes;
    for (const address of [third!.address4, third!.address6, lab.underlay4, lab.underlay6]) {
      await first!.run(["ping", "-c1", "-W2", address]);
    }
  });

  test("each node has every namespace to itself, and its own cgroup", async () => {
    const kinds = ["net", "mnt", "pid", "uts", "ipc", "cgroup"];
    const seen = await Promise.all(
      lab.nodes.map((node) => node.run(["readlink", ...kinds.map((kind) => `/proc/self/ns/${kind}`)])),
    );
    const own = kinds.map((kind) => readlinkSync(`/proc/self/ns/${kind}`));
    const all = [own, ...seen.map((text) => text.trim().split("\n"))];
    for (const [index, kind] of kinds.entries()) {
      expect(new Set(all.map((row) => row[index])).size, kind).toBe(all.length);
    }
    for (const node of lab.nodes) {
      expect((await node.run(["hostname"])).trim()).toBe(node.name);
      if (node.cgroup) expect(await node.run(["cat", "/proc/self/cgroup"])).toMatch(/^0::\/$/m);
    }
  });

  test("what one node writes, its neighbours and the machine do not see; what it shares, they do", async () => {
    const [first, second] = lab.nodes;
    const name = `lab-test-${process.pid}`;
    for (const directory of [
      "/run",
      "/tmp",
      "/etc",
      "/var/lib/calico",
      "/etc/cni/net.d",
      "/opt/cni/bin",
      "/run/netns",
    ]) {
      await first!.run(["touch", join(directory, name)]);
      expect(existsSync(second!.path(join(directory, name)))).toBe(false);
      expect(existsSync(join(directory, name))).toBe(false);
    }
    await first!.run(["sh", "-c", `echo hello >${lab.share}/${name}`]);
    expect(await second!.run(["cat", `${lab.share}/${name}`])).toBe("hello\n");
    expect(readFileSync(join(lab.machineShare, name), "utf8")).toBe("hello\n");
    expect((await first!.exec(["touch", join(CHECKOUT, name)])).status, "the checkout is read-only").not.toBe(0);
  });

  test("a pod's network is its own; its name may be another node's pod's, too", async () => {
    const pods = await Promise.all(lab.nodes.map((node) => node.pod("same")));
    const links = await Promise.all(pods.map((pod) => pod.run(["ip", "-br", "link"])));
    for (const text of links) expect(text).toMatch(/^lo\s/);
    expect(new Set(pods.map((pod) => pod.containerId)).size).toBe(3);
    const inodes = await Promise.all(pods.map((pod) => pod.run(["readlink", "/proc/self/ns/net"])));
    expect(new Set(inodes).size).toBe(3);
    await Promise.all(pods.map((pod) => pod.remove()));
    for (const node of lab.nodes) expect(readdirSync(node.path("/run/netns"))).not.toContain("same");
  });

  test("processes a node's command leaves behind belong to the node, and are reaped", async () => {
    const [node] = lab.nodes;
    await node!.run(["sh", "-c", "sleep 0.01 & sleep 0.01 & exit 0"]);
    await expect.poll(() => node!.run(["ps", "-eo", "stat="])).not.toMatch(/Z/);
  });

  test("a command that takes too long is killed inside the node, and reported as killed", async () => {
    const [node] = lab.nodes;
    const outcome = await node!.exec(["sleep", "77"], { timeout: 100 });
    expect(outcome).toMatchObject({ signal: "SIGKILL", status: 137 });
    await expect.poll(() => node!.run(["ps", "-eo", "args="])).not.toContain("sleep 77");
  });

  test("the command that fails is named, with what it said", async () => {
    const [node] = lab.nodes;
    await expect(node!.run(["ls", "/nowhere"])).rejects.toThrow(/node1: ls \/nowhere: exit status 2\n.*No such file/);
    expect(await node!.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])).toEqual({
      status: 7,
      signal: null,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await node!.run(["sh", "-c", "cat; echo $GREETING"], { stdin: "in\n", env: { GREETING: "hi" } })).toBe(
      "in\nhi\n",
    );
  });

  test("block routes follow the list: added, moved, removed", async () => {
    const [first, second, third] = lab.nodes;
    const route = async (cidr: string) =>
      (await first!.run(["ip", cidr.includes(":") ? "-6" : "-4", "route", "show", cidr])).trim();
    await lab.routeBlocks([
      { node: "node1", cidr: "10.9.0.0/26" },
      { node: "node2", cidr: "10.9.0.64/26" },
      { node: "node2", cidr: "fd00:9::/122" },
      { node: "elsewhere", cidr: "10.9.0.128/26" },
    ]);
    expect(await route("10.9.0.0/26")).toBe("");
    expect(await route("10.9.0.64/26")).toContain(`via ${second!.address4}`);
    expect(await route("fd00:9::/122")).toContain(`via ${second!.address6}`);
    await lab.routeBlocks([{ node: "node3", cidr: "10.9.0.64/26" }]);
    expect(await route("10.9.0.64/26")).toContain(`via ${third!.address4}`);
    expect(await route("fd00:9::/122")).toBe("");
  });

  test("nothing of it is in the machine's own network namespace", async () => {
    expect(await hostNetwork()).toEqual(before);
  });
});

describeLab("end of a lab", () => {
  const owner = `
    import { createLab } from "${CHECKOUT}/conformance/lab/index.ts";
    const lab = await createLab({ nodes: 2 });
    await lab.nodes[0].pod("p");
    lab.nodes[1].start(["sleep", "1000"], { timeout: 1e6 });
    lab.serve(["sleep", "1000"], "server.log");
    console.log(JSON.stringify({ name: lab.machineShare.split("/").at(-2), pids: lab.nodes.map((node) => node.pid) }));
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  `;

  test.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)("an owner ended by %s takes its nodes along", async (signal) => {
    const script = join(tmpdir(), `lab-owner-${process.pid}-${signal}.ts`);
    writeFileSync(script, owner);
    const child = Bun.spawn([process.execPath, script], { stdout: "pipe", stderr: "inherit", stdin: "ignore" });
    try {
      let said = "";
      for await (const chunk of child.stdout) {
        said += new TextDecoder().decode(chunk);
        if (said.includes("\n")) break;
      }
      const { name, pids } = JSON.parse(said) as { name: string; pids: number[] };
      const namespaces = pids.map((pid) => readlinkSync(`/proc/${pid}/ns/net`));
      child.kill(signal);
      await child.exited;
      expect(child.signalCode).toBe(signal);
      await expect.poll(() => pids.filter((pid) => existsSync(`/proc/${pid}`)), { timeout: 5000 }).toEqual([]);
      await expect.poll(() => holders(namespaces), { timeout: 5000 }).toEqual([]);
      if (signal === "SIGKILL") {
        // Nobody was left to tidy up: the next lab does.
        expect(existsSync(join(tmpdir(), name))).toBe(true);
        await using next = await createLab();
        expect(next.nodes).toHaveLength(1);
      }
      expect(existsSync(join(tmpdir(), name))).toBe(false);
      expect(cgroups()).not.toContain(name);
    } finally {
      child.kill("SIGKILL");
      await Bun.file(script).delete();
    }
  });

  test("a lab that cannot come up says why and leaves nothing", async () => {
    const labs = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`calico-lab-${process.pid}-`));
    await expect(createLab({ nodes: 2, dist: "/no\0where" })).rejects.toThrow();
    expect(labs()).toEqual([]);
  });
});

/** Processes that are in one of these network namespaces. */
function holders(namespaces: readonly string[]): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && namespaces.includes(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      return false;
    }
  });
}

function cgroups(): string[] {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].flatMap((path) => (existsSync(path) ? readdirSync(path) : []));
}
