import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LocalWorkload } from "./calc/index.ts";
import { openStatusFiles } from "./status-files.ts";

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "status-files-")), "endpoint-status");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true }));

const workload = (name: string, more: Partial<LocalWorkload> = {}): LocalWorkload => ({
  id: { orchestrator: "k8s", workload: `ns/${name}`, endpoint: "eth0" },
  interfaceName: `cali${name}`,
  mac: "",
  ipv4Nets: ["10.0.0.1/32"],
  ipv6Nets: [],
  ipv4Nats: [],
  ipv6Nats: [],
  profiles: [],
  tiers: [],
  allowSpoofedSourcePrefixes: [],
  ports: [],
  annotations: {},
  ...more,
});

test("a file a workload, named and written as other Calicos do; what is empty is left out", async () => {
  await openStatusFiles(folder).write([workload("web", { mac: "aa:bb:cc:dd:ee:ff" })]);
  expect(readdirSync(folder)).toEqual(["k8s ns%2Fweb eth0"]);
  expect(readFileSync(join(folder, "k8s ns%2Fweb eth0"), "utf8")).toBe(
    '{"ifaceName":"caliweb","mac":"aa:bb:cc:dd:ee:ff","ipv4Nets":["10.0.0.1/32"]}',
  );
});

test("a file goes with its workload, is left alone while nothing changes, and is replaced when something does", async () => {
  const files = openStatusFiles(folder);
  await files.write([workload("a"), workload("b")]);
  const path = join(folder, "k8s ns%2Fa eth0");
  const { ino } = statSync(path);
  await files.write([workload("a")]);
  expect(readdirSync(folder)).toEqual(["k8s ns%2Fa eth0"]);
  expect(statSync(path).ino).toBe(ino);
  await files.write([workload("a", { ipv6Nets: ["fd00::1/128"] })]);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ ipv6Nets: ["fd00::1/128"] });
});

test("what a process before this one left is taken over, and what is half written goes", async () => {
  mkdirSync(folder, { recursive: true });
  await openStatusFiles(folder).write([workload("a"), workload("old")]);
  writeFileSync(join(folder, ".k8s ns%2Fa eth0"), "{");
  const { ino } = statSync(join(folder, "k8s ns%2Fa eth0"));
  await openStatusFiles(folder).write([workload("a")]);
  expect(readdirSync(folder)).toEqual(["k8s ns%2Fa eth0"]);
  expect(statSync(join(folder, "k8s ns%2Fa eth0")).ino).toBe(ino);
});

test("a file that somebody removed comes back after a recheck", async () => {
  const files = openStatusFiles(folder);
  await files.write([workload("a")]);
  rmSync(join(folder, "k8s ns%2Fa eth0"));
  files.recheck();
  await files.write([workload("a")]);
  expect(readdirSync(folder)).toEqual(["k8s ns%2Fa eth0"]);
});

test("a file that somebody changed is put right after a recheck, and the others are left alone", async () => {
  const files = openStatusFiles(folder);
  const workloads = [workload("a"), workload("b")];
  await files.write(workloads);
  const [one, other] = readdirSync(folder).map((name) => join(folder, name)) as [string, string];
  const [good, untouched] = [readFileSync(one, "utf8"), statSync(other).ino];
  for (const bad of [good.replace("10.0.0.1", "10.0.0.2"), ""]) {
    for (let turn = 0; turn < 2; turn++) {
      files.recheck();
      await files.write(workloads);
    }
    writeFileSync(one, bad);
    await files.write(workloads);
    expect(readFileSync(one, "utf8")).toBe(bad);
    files.recheck();
    await files.write(workloads);
    expect(readFileSync(one, "utf8")).toBe(good);
  }
  expect(statSync(other).ino).toBe(untouched);
});

test("no workload: the folder is there and empty", async () => {
  await openStatusFiles(folder).write([]);
  expect(readdirSync(folder)).toEqual([]);
});

test("a pod with the longest name that Kubernetes allows has a file, too", async () => {
  const long = workload("", {
    id: { orchestrator: "k8s", workload: `${"n".repeat(63)}/${"p".repeat(253)}`, endpoint: "eth0" },
  });
  const other = { ...long, id: { ...long.id, workload: `${long.id.workload.slice(0, -1)}q` } };
  await openStatusFiles(folder).write([long, other, workload("a")]);
  expect(readdirSync(folder)).toHaveLength(3);
});

test("a file that cannot be written keeps none of the others from being written", async () => {
  const many = Array.from({ length: 40 }, (_, i) => workload(`pod${i}`));
  mkdirSync(join(folder, "k8s ns%2Fpod0 eth0"), { recursive: true });
  await expect(openStatusFiles(folder).write(many)).rejects.toThrow("k8s ns%2Fpod0 eth0");
  expect(readdirSync(folder).filter((name) => !name.startsWith("."))).toHaveLength(40);
});

test("tells which addresses endpoints have lost while no agent ran", async () => {
  const moved = { ipv4Nets: ["10.0.0.3/32"], ipv6Nets: ["fd00::3/128"] };
  await openStatusFiles(folder).write([
    workload("stays"),
    workload("gone", { ipv4Nets: ["10.0.0.2/32"] }),
    workload("moved", moved),
  ]);
  writeFileSync(join(folder, "k8s ns%2Fodd eth0"), '{"ipv4Nets":7}');
  writeFileSync(join(folder, "k8s ns%2Fempty eth0"), "");
  const now = [workload("stays"), workload("moved", { ...moved, ipv4Nets: ["10.0.0.4/32"] })];
  const files = openStatusFiles(folder);
  expect((await files.lost(now)).toSorted()).toEqual(["10.0.0.2", "10.0.0.3"]);
  await files.write(now);
  expect(await openStatusFiles(folder).lost(now)).toEqual([]);
});

test("the folder is not there before the first write: that it is there says that policy is in force", async () => {
  const files = openStatusFiles(folder);
  expect(await files.lost([])).toEqual([]);
  expect(existsSync(folder)).toBe(false);
  await files.write([]);
  expect(existsSync(folder)).toBe(true);
});
