import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CHECKOUT } from "../lab/index.ts";
import { runInVm, VmError } from "./index.ts";
import { describeVm } from "./suite.ts";

const remains = () => readdirSync(tmpdir()).filter((name) => name.startsWith("calico-vm-"));

describeVm("virtual machine", () => {
  test("another kernel runs the command, on the machine's files, and keeps what it writes to itself", async () => {
    const before = remains();
    const mark = `vm-test-${process.pid}`;
    const script = [
      ...["uname -r", "pwd", "id -u", "cat /proc/1/comm", 'echo "$GREETING it\'s"'],
      `echo x >${mark} && echo x >/etc/${mark} && echo x >/tmp/${mark} && echo written`,
      ...["modprobe -a ip_vs dummy && test -e /proc/net/ip_vs && echo loaded", "cat /run/exchange/files/note"],
      ...["ls /sys/class/net", "echo complaint >&2", "exit 7"],
    ].join("\n");
    const options = { env: { GREETING: "hello," }, files: { note: "from outside\n" } };
    const outcome = await runInVm(["sh", "-c", script], options);
    expect(outcome).toMatchObject({ status: 7, stderr: "complaint\n" });
    const [release, ...said] = outcome.stdout.trimEnd().split("\n");
    expect(release).toMatch(/^6\.12\..*-amd64$/);
    expect(said).toEqual([CHECKOUT, "0", "bash", "hello, it's", "written", "loaded", "from outside", "lo"]);
    for (const folder of [CHECKOUT, "/etc", "/tmp"]) expect(existsSync(join(folder, mark))).toBe(false);
    expect(remains()).toEqual(before);
  });

  test("one port of the machine's can be reached, and nothing else", async () => {
    using server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello\n") });
    using other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("never\n") });
    const ask = (host: string, port: number | undefined) => `busybox wget -T 3 -q -O - http://${host}:${port}/`;
    const script = [
      ...[ask("10.0.2.100", server.port), ask("10.0.2.100", server.port)],
      ...[ask("10.0.2.100", other.port), ask("10.0.2.2", server.port), "true"],
    ].join("; ");
    const outcome = await runInVm(["sh", "-c", script], { port: server.port! });
    expect(outcome).toMatchObject({ status: 0, stdout: "hello\nhello\n" });
  });

  test("a command that does not end is ended with its machine, and what it said is in the error", async () => {
    const before = remains();
    const endless = runInVm(["sh", "-c", "echo so far; sleep 1000"], { timeout: 60_000 });
    const error = await endless.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(VmError);
    expect((error as VmError).message).toMatch(/VM_ENDED: the command did not end within 60000 ms\nso far/);
    expect(remains()).toEqual(before);
  });

  test("a machine that crashes is told from a command that fails", async () => {
    const crash = runInVm(["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 1000"]);
    await expect(crash).rejects.toThrow(/VM_ENDED: the machine ended before the command/);
  });
});
