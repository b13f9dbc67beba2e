import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HostInterface, InterfaceChange } from "../routes/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import { keepMtuFile, podMtu } from "./mtu.ts";

const PATTERN = /^(eth|ens).*/;
const make = (name: string, mtu: number, up = true): HostInterface => ({
  ...{ name, mtu, up, index: 1, enabled: true, addresses: new Set<string>() },
});

describe("the MTU of pods", () => {
  test("is the smallest of the interfaces to others that are up", () => {
    const all = [
      make("lo", 65536),
      make("eth0", 9001),
      make("ens5", 8900),
      make("eth1", 1400, false),
      make("cali1", 576),
    ];
    expect(podMtu(all, PATTERN)).toBe(8900);
  });

  test("where there is none, or no pattern, is the smallest of the common clouds", () => {
    expect(podMtu([make("lo", 65536)], PATTERN)).toBe(1460);
    expect(podMtu([make("eth0", 9001)], undefined)).toBe(1460);
  });
});

describe("its file", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-mtu-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("follows the interfaces, and those of pods do not matter", async () => {
    const file = join(folder, "deeper", "mtu");
    let all = [make("eth0", 1500)];
    let change: (change: InterfaceChange) => void = () => {};
    const said: unknown[] = [];
    const log = { ...silentLogger, info: (_: string, fields?: object) => void said.push(fields) };
    const interfaces = {
      get all() {
        return all;
      },
      onChange: (callback: typeof change) => {
        change = callback;
        return () => {};
      },
    };
    expect(await keepMtuFile({ interfaces, pattern: PATTERN, log, file })).toBe(true);
    expect(readFileSync(file, "utf8")).toBe("1500");
    all = [make("eth0", 1450), make("cali1", 1280)];
    change({ event: "new", interface: all[1]! });
    expect(readFileSync(file, "utf8")).toBe("1500");
    change({ event: "changed", interface: all[0]! });
    await expect.poll(() => readFileSync(file, "utf8")).toBe("1450");
    expect(said).toEqual([
      { mtu: 1500, file },
      { mtu: 1450, file },
    ]);
  });

  test("that cannot be written is told of", async () => {
    writeFileSync(join(folder, "no-folder"), "");
    const said: string[] = [];
    const log = { ...silentLogger, error: (message: string) => void said.push(message) };
    const interfaces = { all: [make("eth0", 1500)], onChange: () => () => {} };
    expect(await keepMtuFile({ interfaces, pattern: PATTERN, log, file: join(folder, "no-folder", "mtu") })).toBe(
      false,
    );
    expect(said).toEqual(["cannot tell the CNI plugin the MTU"]);
  });
});
