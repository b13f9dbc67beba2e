import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { itAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { sampleNode, samplePeer } from "../model/testing.ts";
import { refusal, resourceAt } from "./files.ts";
import { type Bird, openBird, renderBird1, renderBird2 } from "./index.ts";
import { birdIn, describeWithBird, findBird } from "./testing.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calico-bird-driver-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a refusal", () => {
  const files = { "bird.cfg": "a\n#: BGPPeer tor\nprotocol bgp x {\n  wrong;\n}\n" };

  it("names line and resource, in the words of either BIRD", () => {
    const where = { file: "bird.cfg", line: 4, resource: "BGPPeer tor" };
    expect(refusal("bird: /x/bird.cfg:4:3 syntax error, unexpected", files)).toMatchObject({
      code: "BIRD_REFUSED",
      where,
    });
    expect(refusal("bird: /x/bird.cfg, line 4: syntax error", files)).toMatchObject({ where });
    expect(refusal("/x/bird.cfg:4:3 syntax error", files).message).toContain(
      "refused line 4 of bird.cfg, of BGPPeer tor: syntax error",
    );
    expect(refusal("out of memory", files)).toMatchObject({ code: "BIRD_REFUSED", where: undefined });
    expect(refusal("", files).message).toContain("no reason given");
    expect(resourceAt(files["bird.cfg"], 1)).toBeUndefined();
    expect(resourceAt("#: IPPools\nfilter f {\n}\n\nfilter g {\n", 5)).toBeUndefined();
  });
});

describe("without BIRD", () => {
  it("says so, and writes nothing", async () => {
    const bird = await openBird({ folder, executable: join(folder, "no-bird"), runs: "child" });
    await expect(bird.apply({ "bird.cfg": "" })).rejects.toThrow("BIRD_NOT_RUNNING: there is no");
    expect(readdirSync(folder)).toEqual([]);
    const running = await openBird({ folder, executable: join(folder, "no-bird"), runs: "running", timeoutMs: 500 });
    await expect(running.apply({ "bird.cfg": "" })).rejects.toMatchObject({ code: "BIRD_CONTROL" });
    await expect(running.state()).rejects.toMatchObject({ code: "BIRD_CONTROL" });
    await expect(bird.apply({ "../bird.cfg": "" })).rejects.toThrow(RangeError);
    await bird.close("stop");
  });

  it("clears away what an end in the middle of writing left", async () => {
    writeFileSync(join(folder, ".bird.cfg.new"), "half");
    await openBird({ folder, runs: "child" });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describeWithBird("2", "BIRD 2", (executable) => {
  let space: TestNamespace;
  const birds: Bird[] = [];
  const open = async (some: Partial<Parameters<typeof openBird>[0]> = {}): Promise<Bird> => {
    const bird = await openBird({ folder, executable: birdIn(space, executable, tmpdirOf()), runs: "child", ...some });
    birds.push(bird);
    return bird;
  };
  /** Beside the configuration, which is listed. */
  const tmpdirOf = (): string => {
    scripts ??= mkdtempSync(join(tmpdir(), "calico-bird-scripts-"));
    return scripts;
  };
  let scripts: string | undefined;
  const text = (reason: string, address = "10.0.0.2") =>
    renderBird2(sampleNode({ ipv4: { peers: [samplePeer({ reason, address })] } }))["bird.cfg"];

  beforeEach(() => {
    space = makeNamespace("calico-bird");
    space.exec("ip", "link", "set", "lo", "up");
  });
  afterEach(async () => {
    await Promise.all(birds.splice(0).map((bird) => bird.close("stop")));
    space.dispose();
    if (scripts) rmSync(scripts, { recursive: true, force: true });
    scripts = undefined;
  });

  itAsRoot("is started, configured anew, asked, and stopped", async () => {
    const bird = await open();
    expect(await bird.apply({ "bird.cfg": text("one") })).toEqual({ changed: true, started: true, message: "" });
    expect(statSync(join(folder, "bird.cfg")).mode & 0o777).toBe(0o600);
    expect(await bird.apply({ "bird.cfg": text("one") })).toEqual({ changed: false, started: false, message: "" });
    expect(await bird.apply({ "bird.cfg": text("two", "10.0.0.3") })).toMatchObject({ changed: true, started: false });
    const { status, peers, protocols, routes } = await bird.state();
    expect(status).toMatchObject({
      version: expect.stringMatching(/^2\./),
      routerId: "10.0.0.1",
      message: "Daemon is up and running",
    });
    expect(peers).toMatchObject([{ name: "Mesh_10_0_0_2", address: "10.0.0.3", asn: 64512, state: "start" }]);
    expect(peers[0]?.sinceTime).toBeGreaterThan(Date.now() - 86_400_000);
    expect(protocols.map(({ name }) => name)).toContain("kernel6");
    expect(routes.at(-1)).toMatchObject({ table: "total" });
    await bird.close("stop");
    expect(await bird.ended).toMatchObject({ exitCode: 0 });
    expect(existsSync(join(folder, "bird.ctl"))).toBe(false);
  });

  itAsRoot("refuses a configuration, and everything is as it was", async () => {
    const bird = await open();
    await bird.apply({ "bird.cfg": text("good") });
    const bad = text("BGPPeer bad").replace("passive", "").replace("multihop;", "multihop of course;");
    await expect(bird.apply({ "bird.cfg": bad })).rejects.toMatchObject({
      code: "BIRD_REFUSED",
      where: {
        file: "bird.cfg",
        resource: "BGPPeer bad",
        line: bad.split("\n").findIndex((line) => line.includes("of course")) + 1,
      },
    });
    expect(readFileSync(join(folder, "bird.cfg"), "utf8")).toBe(text("good"));
    expect(readdirSync(folder).toSorted()).toEqual(["bird.cfg", "bird.ctl"]);
    expect((await bird.state()).peers).toHaveLength(1);
    expect(await bird.apply({ "bird.cfg": text("better") })).toMatchObject({ changed: true, started: false });
  });

  itAsRoot("is missed when it dies, and started by the next that is opened", async () => {
    const lines: string[] = [];
    const bird = await open({ log: (line) => lines.push(line) });
    await bird.apply({ "bird.cfg": text("one") });
    process.kill(processWith(join(folder, "bird.ctl")), "SIGKILL");
    expect(await bird.ended).toMatchObject({ signal: "SIGKILL" });
    expect(lines.join("\n")).toContain("Started");
    await expect(bird.apply({ "bird.cfg": text("two") })).rejects.toMatchObject({ code: "BIRD_NOT_RUNNING" });
    await expect(bird.state()).rejects.toMatchObject({ code: "BIRD_CONTROL" });
    const next = await open();
    expect(await next.apply({ "bird.cfg": text("two") })).toMatchObject({ started: true });
  });

  itAsRoot("is left running, and taken over", async () => {
    const bird = await open();
    await bird.apply({ "bird.cfg": text("one") });
    const reboot = (await bird.state()).status.lastReboot;
    await bird.close("leave");
    const next = await open();
    // What it has is not known: it is told, though the file is the same.
    expect(await next.apply({ "bird.cfg": text("one") })).toMatchObject({
      changed: false,
      started: false,
      message: expect.stringMatching(/^Reconfig/),
    });
    expect((await next.state()).status.lastReboot).toBe(reboot);
    const user = await open({ runs: "running", executable: join(folder, "no-bird") });
    await expect(user.apply({ "bird.cfg": `${text("one")}\nnonsense` })).rejects.toMatchObject({
      code: "BIRD_REFUSED",
      where: { file: "bird.cfg" },
    });
    expect(await user.apply({ "bird.cfg": text("three") })).toMatchObject({ changed: true, started: false });
    await user.close("stop");
    expect((await next.state()).status.lastReboot).toBe(reboot);
  });

  itAsRoot("recovers from a restart where one before it left routes, and only there", async () => {
    const asked: boolean[] = [];
    const recovering = async (recovers: () => boolean): Promise<boolean> => {
      const bird = await open({
        recovers: () => {
          asked.push(true);
          return recovers();
        },
      });
      await bird.apply({ "bird.cfg": text("one") });
      const { status } = await bird.state();
      await bird.close("restart");
      await bird.ended;
      return status.recovering;
    };
    expect(await recovering(() => false)).toBe(false);
    expect(await recovering(() => true)).toBe(true);
    const unknown = (): never => {
      throw new Error("the kernel does not answer");
    };
    expect(await recovering(unknown), "who cannot know waits").toBe(true);
    expect(asked).toHaveLength(3);
  });

  itAsRoot("tells its routes as they come, of a table of whatever size", async () => {
    const bird = await open();
    const blocks = Array.from({ length: 2_000 }, (_, i) => ({ cidr: `10.${i >> 8}.${i & 255}.0/26` }));
    await bird.apply(renderBird2(sampleNode({ ipv4: { blocks, peers: [samplePeer()] } })));
    const best = await Array.fromAsync(bird.routes({ which: "best" }));
    expect(new Set(best.map(({ prefix }) => prefix)).size).toBe(2_000);
    expect(best[0]).toMatchObject({ kind: "blackhole", protocol: "static4", source: "static", isBest: true });
    const one = await Array.fromAsync(bird.routes({ which: "prefix", cidr: "10.0.7.0/26" }));
    expect(one).toMatchObject([{ prefix: "10.0.7.0/26" }]);
    expect(await Array.fromAsync(bird.routes({ which: "prefix", cidr: "10.0.7.0/27" }))).toEqual([]);
    expect(await Array.fromAsync(bird.routes({ which: "accepted", protocol: "Mesh_10_0_0_2" }))).toEqual([]);
    expect(await Array.fromAsync(bird.routes({ which: "sent", protocol: "Mesh_10_0_0_2" }))).toEqual([]);
    await expect(bird.routes({ which: "accepted", protocol: "Mesh_x" }).next()).rejects.toMatchObject({
      code: "BIRD_CONTROL",
    });
    await expect(bird.routes({ which: "accepted", protocol: "x; down" }).next()).rejects.toThrow(RangeError);
    // Who has enough goes, and BIRD goes on.
    for await (const route of bird.routes({ which: "best" })) if (route.prefix !== "") break;
    expect((await bird.state()).routes.at(-1)).toMatchObject({ table: "total", networks: 2_000 });
  });

  itAsRoot("says why it cannot run what it can read", async () => {
    const bird = await open({ socket: join(folder, "no", "such", "folder", "bird.ctl") });
    await expect(bird.apply({ "bird.cfg": text("one") })).rejects.toThrow(
      /BIRD_NOT_RUNNING: BIRD ended as soon as it was started: exit status 1/,
    );
  });

  const older = findBird("1.6");
  if (older) {
    itAsRoot("may be BIRD 1.6 as well", async () => {
      const bird = await open({ executable: birdIn(space, older, tmpdirOf()) });
      const files = (reason: string) => renderBird1(sampleNode({ ipv4: { peers: [samplePeer({ reason })] } }));
      expect(await bird.apply(files("one"))).toMatchObject({ started: true });
      expect(await bird.apply(files("two"))).toMatchObject({
        changed: true,
        message: expect.stringMatching(/^Reconfig/),
      });
      expect((await bird.state()).peers).toMatchObject([{ name: "Mesh_10_0_0_2", address: "10.0.0.2" }]);
      await bird.close("restart");
      expect(await bird.ended).toMatchObject({ signal: "SIGKILL" });
    });
  } else {
    it.skip("may be BIRD 1.6 as well [there is none here]", () => {});
  }
});

/** The process that was started with that argument. */
function processWith(argument: string): number {
  const pid = readdirSync("/proc").find((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").includes(argument);
    } catch {
      return false;
    }
  });
  if (pid === undefined) throw new Error(`no process was started with ${argument}`);
  return Number(pid);
}
