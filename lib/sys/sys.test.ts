import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  allocate,
  closeFd,
  cString,
  currentNamespace,
  errnoName,
  inNamespace,
  lockFile,
  lockFileSync,
  openNamespace,
  openNetlinkSocket,
  readSysctl,
  receive,
  SysError,
  writeSysctl,
} from "./index.ts";
import { itAsRoot, makeNamespace } from "./testing.ts";

const threadNamespace = (): string => readlinkSync("/proc/thread-self/ns/net");

function caught(action: () => unknown): SysError {
  try {
    action();
  } catch (error) {
    if (error instanceof SysError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("errors", () => {
  it("are named as the kernel's headers name them", () => {
    const numbers = [1, 2, 11, 17, 19, 22, 95, 101, 105, 110, 133, 524, 41, 0, 4711];
    const names =
      "EPERM ENOENT EAGAIN EEXIST ENODEV EINVAL EOPNOTSUPP ENETUNREACH ENOBUFS ETIMEDOUT EHWPOISON ENOTSUPP";
    expect(numbers.map(errnoName)).toEqual([...names.split(" "), "errno 41", "errno 0", "errno 4711"]);
  });

  it("say what was attempted on which object", () => {
    const error = caught(() => openNamespace("/run/netns/there-is-none"));
    expect(error.message).toBe("open the network namespace /run/netns/there-is-none: open: ENOENT");
    expect(error).toMatchObject({ code: "ENOENT", errno: 2, call: "open" });
    const sysctl = caught(() => writeSysctl("net/there/is/none", "1"));
    expect(sysctl.message).toBe("set the sysctl net/there/is/none to 1: open: ENOENT");
    expect(readSysctl("net/there/is/none")).toBeUndefined();
    expect(readSysctl("kernel/ostype")).toBe("Linux");
  });
});

describe("memory for the kernel", () => {
  it("is zeroed and lies in a buffer of its own", () => {
    const bytes = allocate(3);
    expect(bytes).toEqual(new Uint8Array(3));
    expect(bytes.buffer.byteLength).toBe(3);
    expect(cString("aé")).toEqual(new Uint8Array([97, 0xc3, 0xa9, 0]));
    expect(() => cString("a\0b")).toThrow(RangeError);
  });
});

describe("sockets", () => {
  it("answer undefined when nothing comes in time, and name a bad descriptor", () => {
    const fd = openNetlinkSocket(0);
    expect(receive(fd, allocate(64), 5, () => "read")).toBeUndefined();
    closeFd(fd);
    expect(caught(() => receive(fd, allocate(64), 5, () => "read an answer")).message).toBe(
      "read an answer: recvfrom: EBADF",
    );
  });

  it("are not inherited by programs that are started", () => {
    const fd = openNetlinkSocket(0);
    const link = readlinkSync(`/proc/self/fd/${fd}`);
    const { stdout } = spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" });
    closeFd(fd);
    expect(stdout).not.toContain(link);
  });
});

describe("network namespaces", () => {
  it("are known by their inode", () => {
    using own = currentNamespace();
    expect(`net:[${own.inode}]`).toBe(threadNamespace());
  });

  it("are entered never for nothing: the own one costs no call and cannot fail", () => {
    using own = currentNamespace();
    expect(inNamespace(own, () => 7)).toBe(7);
  });

  itAsRoot("are left again, also after an error, and nested", () => {
    using a = makeNamespace();
    using b = makeNamespace();
    const home = threadNamespace();
    const seen = inNamespace(a.namespace, () => [
      threadNamespace(),
      inNamespace(b.namespace, threadNamespace),
      threadNamespace(),
    ]);
    expect(seen).toEqual([`net:[${a.namespace.inode}]`, `net:[${b.namespace.inode}]`, `net:[${a.namespace.inode}]`]);
    const fail = (): never => {
      throw new Error("inside");
    };
    expect(() => inNamespace(a.namespace, fail)).toThrow("inside");
    expect(threadNamespace()).toBe(home);
  });

  itAsRoot("take no promises, which would go on outside", () => {
    using a = makeNamespace();
    const home = threadNamespace();
    const promising = (() => Promise.resolve(1)) as unknown as () => number;
    expect(() => inNamespace(a.namespace, promising)).toThrow(TypeError);
    expect(threadNamespace()).toBe(home);
  });

  itAsRoot("are told from files that are none when they are entered", () => {
    using none = openNamespace("/etc/hostname");
    const error = caught(() => inNamespace(none, () => 1));
    expect(error.message).toBe("enter the network namespace /etc/hostname: setns: EINVAL");
    expect(caught(() => openNamespace("/run")).code).toBe("EINVAL");
  });

  itAsRoot("have sysctls of their own, which follow the thread, also for an interface with a dot in its name", () => {
    using a = makeNamespace();
    a.exec("ip", "link", "add", "a.5", "type", "veth", "peer", "name", "b.5");
    a.run(() => writeSysctl("net/ipv4/conf/a.5/proxy_arp", "1"));
    expect(a.run(() => readSysctl("net/ipv4/conf/a.5/proxy_arp"))).toBe("1");
    expect(readSysctl("net/ipv4/conf/a.5/proxy_arp")).toBeUndefined();
  });

  itAsRoot("stay open when their path goes", () => {
    const a = makeNamespace();
    const kept = openNamespace(a.path);
    a.dispose();
    expect(inNamespace(kept, threadNamespace)).toBe(`net:[${kept.inode}]`);
    kept.close();
    kept.close();
  });
});

describe("locks", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-sys-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("exclude each other until they are released", async () => {
    const path = join(folder, "lock");
    const first = lockFileSync(path);
    expect(caught(() => lockFileSync(path, { timeout: 20 })).message).toBe(
      `lock ${path}: another process held it for all of 20 ms: flock: ETIMEDOUT`,
    );
    await expect(lockFile(path, 5)).rejects.toMatchObject({ code: "ETIMEDOUT" });
    const waiting = lockFile(path, 60_000);
    first.release();
    first.release();
    const second = await waiting;
    expect(caught(() => lockFileSync(path, { timeout: 0 })).code).toBe("ETIMEDOUT");
    second.release();
    lockFileSync(path, { timeout: 0 }).release();
  });

  it("stop waiting when there is no reason left", () => {
    const path = join(folder, "lock");
    using held = lockFileSync(path);
    let asked = 0;
    expect(lockFileSync(path, { timeout: 60_000, abandon: () => ++asked === 3 })).toBeUndefined();
    expect([held.path, asked]).toEqual([path, 3]);
  });

  it("say which file cannot be made", () => {
    const path = join(folder, "no", "lock");
    expect(caught(() => lockFileSync(path)).message).toBe(`open the lock file ${path}: open: ENOENT`);
  });

  it("end with the process that holds them, however it ends", async () => {
    const path = join(folder, "lock");
    const module = JSON.stringify(join(import.meta.dirname, "index.ts"));
    const script = `const { lockFileSync } = await import(${module}); lockFileSync(${JSON.stringify(path)}); console.log("held"); setInterval(() => {}, 1e6);`;
    const holder = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    expect(caught(() => lockFileSync(path, { timeout: 0 })).code).toBe("ETIMEDOUT");
    holder.kill("SIGKILL");
    lockFileSync(path, { timeout: 30_000 }).release();
  });
});
