import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Env, InstallError, installExecutables } from "./index.ts";
import { fakeHost, writeExecutable } from "./testing.ts";

function place(host: ReturnType<typeof fakeHost>, env: Env = {}, more: { further?: string; dryRun?: boolean } = {}) {
  const warnings: string[] = [];
  const folders = [host.bin, join(host.host, "secondary-bin-dir")];
  const steps = installExecutables(env, {
    ...{ source: join(host.host, "source"), folders, warn: (message: string) => void warnings.push(message) },
    ...more,
  });
  return { warnings, actions: steps.map(({ path, action }) => `${action} ${path.split("/").at(-1)}`) };
}

describe("executables", () => {
  test("are one file under two names, which anybody may execute", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 1);
    expect(place(host).actions).toEqual(["written calico", "linked calico-ipam"]);
    const [plugin, ipam] = ["calico", "calico-ipam"].map((name) => statSync(join(host.bin, name)));
    expect(plugin!.ino).toBe(ipam!.ino);
    expect(plugin!.mode & 0o7777).toBe(0o755);
    expect(readFileSync(join(host.bin, "calico")).equals(readFileSync(join(host.host, "source")))).toBe(true);
    expect(host.names(host.bin)).toEqual(["calico", "calico-ipam"]);
  });

  test("that are as they should be keep their inodes; changed ones leave the old file to who runs it", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 1);
    place(host);
    const { ino, mtimeMs } = statSync(join(host.bin, "calico"));
    expect(place(host).actions).toEqual(["unchanged calico", "unchanged calico-ipam"]);
    expect(statSync(join(host.bin, "calico"))).toMatchObject({ ino, mtimeMs });
    const running = openSync(join(host.bin, "calico"), "r");
    const before = readFileSync(join(host.host, "source"));
    writeExecutable(join(host.host, "source"), 2);
    expect(place(host).actions).toEqual(["written calico", "linked calico-ipam"]);
    expect(statSync(join(host.bin, "calico")).ino).not.toBe(ino);
    expect(readFileSync(running).equals(before)).toBe(true);
    closeSync(running);
  });

  test.each([
    ["as long and of other bytes", (path: string) => writeExecutable(path, 7)],
    ["shorter", (path: string) => writeExecutable(path, 1, 10)],
    ["of another mode", (path: string) => chmodSync(path, 0o644)],
  ])("one that is %s is replaced, and the other name made a link of it", (_, spoil) => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 1);
    place(host);
    spoil(join(host.bin, "calico"));
    place(host);
    expect(readFileSync(join(host.bin, "calico")).equals(readFileSync(join(host.host, "source")))).toBe(true);
    expect(statSync(join(host.bin, "calico")).mode & 0o777).toBe(0o755);
  });

  test("a name that is a symbolic link is replaced, and what it leads to is not", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 1);
    writeFileSync(join(host.host, "elsewhere"), "theirs");
    symlinkSync(join(host.host, "elsewhere"), join(host.bin, "calico"));
    place(host);
    expect(lstatSync(join(host.bin, "calico")).isFile()).toBe(true);
    expect(readFileSync(join(host.host, "elsewhere"), "utf8")).toBe("theirs");
  });

  test("what an installer that was killed left behind is taken away", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 1);
    writeFileSync(join(host.bin, ".calico-install.calico"), "half");
    place(host);
    expect(host.names(host.bin)).toEqual(["calico", "calico-ipam"]);
  });

  test("UPDATE_CNI_BINARIES=false leaves what is there, and installs what is not", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 2);
    writeFileSync(join(host.bin, "calico"), "theirs", { mode: 0o755 });
    const { actions, warnings } = place(host, { UPDATE_CNI_BINARIES: "false" });
    expect(actions).toEqual(["written calico-ipam", "left alone calico"]);
    expect(warnings).toHaveLength(1);
    expect(readFileSync(join(host.bin, "calico"), "utf8")).toBe("theirs");
  });

  test("without a folder that can be written, it takes executables that the node brings, and only when told to", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 2);
    const source = join(host.host, "source");
    const brought = join(host.host, "brought");
    expect(() => installExecutables({}, { source, folders: [brought], warn: () => {} })).toThrow(InstallError);
    expect(() =>
      installExecutables({ UPDATE_CNI_BINARIES: "false" }, { source, folders: [brought], warn: () => {} }),
    ).toThrow(/no folder for executables/);
  });

  test("an image's further plugins come too, except those that are skipped, and never over ours", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 2);
    for (const name of ["portmap", "bandwidth", "calico", "install"])
      writeFileSync(join(host.secrets, name), `image's ${name}`, { mode: 0o755 });
    place(host, { SKIP_CNI_BINARIES: "bandwidth, tuning" }, { further: host.secrets });
    expect(host.names(host.bin)).toEqual(["calico", "calico-ipam", "portmap"]);
    expect(statSync(join(host.bin, "calico")).size).toBe(3_000_000);
  });

  test("a dry run says the same and writes nothing", () => {
    using host = fakeHost();
    writeExecutable(join(host.host, "source"), 2);
    expect(place(host, {}, { dryRun: true }).actions).toEqual(["written calico", "linked calico-ipam"]);
    expect(host.names(host.bin)).toEqual([]);
    expect(existsSync(join(host.bin, ".calico-install.lock"))).toBe(false);
  });

  test("a setting that is neither true nor false is refused by its name", () => {
    using host = fakeHost();
    expect(() => place(host, { UPDATE_CNI_BINARIES: "perhaps" })).toThrow("UPDATE_CNI_BINARIES=perhaps");
  });
});
