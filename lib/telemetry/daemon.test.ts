import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  addProcessMetrics,
  formatDuration,
  formatNumber,
  Health,
  Metrics,
  openTelemetryServer,
  type TelemetryServer,
} from "./daemon.ts";
import type { Logger } from "./logger.ts";
import { statFields } from "./process-metrics.ts";

describe("metrics", () => {
  it("are text as Prometheus reads it, sorted, with what labels say quoted", () => {
    const metrics = new Metrics();
    metrics.gauge("felix_resync_state", "Current datastore state.").set(3);
    const errors = metrics.counters("felix_iptables_save_errors", 'Errors of\n"save".', ["ip_version", "tool"]);
    errors.with("6", "a").inc(2);
    errors.with("4", 'x\\y"\n').inc();
    errors.with("4", "gone").inc();
    errors.remove("4", "gone");
    metrics.counters("felix_never", "Nothing yet.", ["a"]);
    metrics.counter("felix_int_dataplane_failures", "Failures.");
    const seconds = metrics.histogram("felix_took_seconds", "How long.", [1, 0.1]);
    for (const value of [0.05, 0.1, 0.5, 7]) seconds.observe(value);
    expect(metrics.text()).toBe(`# HELP felix_int_dataplane_failures Failures.
# TYPE felix_int_dataplane_failures counter
felix_int_dataplane_failures 0
# HELP felix_iptables_save_errors Errors of\\n"save".
# TYPE felix_iptables_save_errors counter
felix_iptables_save_errors{ip_version="4",tool="x\\\\y\\"\\n"} 1
felix_iptables_save_errors{ip_version="6",tool="a"} 2
# HELP felix_resync_state Current datastore state.
# TYPE felix_resync_state gauge
felix_resync_state 3
# HELP felix_took_seconds How long.
# TYPE felix_took_seconds histogram
felix_took_seconds_bucket{le="0.1"} 2
felix_took_seconds_bucket{le="1"} 3
felix_took_seconds_bucket{le="+Inf"} 4
felix_took_seconds_sum 7.65
felix_took_seconds_count 4
`);
  });

  it("summarise the last ten minutes, and count and add up for ever", () => {
    let now = 0;
    const metrics = new Metrics(() => now);
    const summary = metrics.summary("s", "S.");
    const lines = (): string[] => metrics.text().split("\n").slice(2, -1);
    expect(lines()).toEqual([
      's{quantile="0.5"} NaN',
      's{quantile="0.9"} NaN',
      's{quantile="0.99"} NaN',
      "s_sum 0",
      "s_count 0",
    ]);
    for (let i = 1; i <= 100; i++) summary.observe(i);
    expect(lines()).toEqual([
      's{quantile="0.5"} 50',
      's{quantile="0.9"} 90',
      's{quantile="0.99"} 99',
      "s_sum 5050",
      "s_count 100",
    ]);
    now = 5 * 60_000;
    for (let i = 0; i < 300; i++) summary.observe(1000);
    expect(lines().slice(0, 2)).toEqual(['s{quantile="0.5"} 1000', 's{quantile="0.9"} 1000']);
    now = 11 * 60_000;
    expect(lines()[0]).toBe('s{quantile="0.5"} 1000');
    now = 40 * 60_000;
    expect(lines()).toEqual([
      's{quantile="0.5"} NaN',
      's{quantile="0.9"} NaN',
      's{quantile="0.99"} NaN',
      "s_sum 305050",
      "s_count 400",
    ]);
  });

  it("sample what is observed very often fairly", () => {
    const metrics = new Metrics();
    const summary = metrics.summary("s", "S.");
    for (let i = 0; i < 100_000; i++) summary.observe(i);
    const median = Number(/quantile="0.5"} (\S+)/.exec(metrics.text())?.[1]);
    expect(median).toBeGreaterThan(35_000); // 500 samples: seven standard deviations
    expect(median).toBeLessThan(65_000);
    expect(metrics.text()).toContain("s_count 100000");
  });

  it("write numbers as Go does", () => {
    const numbers = [0, 1, -1, 0.5, 123456, 1e6, 24100864, 1e-4, 0.00001, 1e21, Number.POSITIVE_INFINITY, Number.NaN];
    expect(numbers.map(formatNumber)).toEqual(
      "0 1 -1 0.5 123456 1e+06 2.4100864e+07 0.0001 1e-05 1e+21 +Inf NaN".split(" "),
    );
  });

  it("refuse names that are none or are there already, wrong labels, and counters that shrink", () => {
    const metrics = new Metrics();
    const counters = metrics.counters("a", "A.", ["x"]);
    expect(() => metrics.gauge("a", "A.")).toThrow("the metric a is there already");
    expect(() => metrics.gauge("a b", "A.")).toThrow(RangeError);
    expect(() => metrics.gauges("b", "B.", ["x-y"])).toThrow(RangeError);
    expect(() => counters.with()).toThrow("a has 1 labels, not 0");
    expect(() => counters.with("1").inc(-1)).toThrow(RangeError);
    expect(() => counters.with("1").inc(Number.NaN)).toThrow(RangeError);
  });

  it("tell of the process what its clients in other languages tell, and look it up for each text", () => {
    const metrics = new Metrics();
    addProcessMetrics(metrics);
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics.text())?.[1]);
    const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
    expect(value("process_resident_memory_bytes") / resident).toBeGreaterThan(0.5);
    expect(value("process_resident_memory_bytes") / resident).toBeLessThan(2);
    const started = Date.now() / 1000 - process.uptime();
    expect(Math.abs(value("process_start_time_seconds") - started)).toBeLessThan(60);
    expect(value("process_open_fds")).toBeGreaterThan(2);
    expect(value("process_max_fds")).toBeGreaterThan(value("process_open_fds"));
    const before = value("process_cpu_seconds_total");
    expect(before).toBeGreaterThan(0);
    for (const from = process.cpuUsage(); process.cpuUsage(from).user < 60_000; ) Math.sqrt(2);
    expect(value("process_cpu_seconds_total")).toBeGreaterThan(before);
    expect(metrics.text()).not.toMatch(/^go_/m);
    const odd = statFields("7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 55 66 0 0 20 0 1 0 777 8192 99 x");
    expect(odd).toEqual({ userTicks: 55, systemTicks: 66, startTicks: 777, virtualBytes: 8192, residentPages: 99 });
  });
});

describe("health", () => {
  const build = (timeouts?: Record<string, number>) => {
    const clock = { now: 0 };
    const lines: string[] = [];
    const write = (message: string): void => void lines.push(message);
    const logger: Logger = { level: "info", debug: write, info: write, warning: write, error: write };
    return { clock, lines, health: new Health({ now: () => clock.now, logger, ...(timeouts && { timeouts }) }) };
  };

  it("takes other timeouts while it runs", () => {
    const { health, clock } = build({ slow: 50 });
    health.register("slow", { live: true }, 100).report({ live: true });
    clock.now = 70;
    expect(health.summary().live).toBe(false);
    health.override({ slow: 90_000 });
    expect(health.summary()).toMatchObject({ live: true, detail: expect.stringContaining("1m30s (override)") });
    health.override({});
    expect(health.summary().detail).toContain(" 100ms ");
  });

  it("is good when every part that is asked says so, and is told in upstream's table", async () => {
    const { health, lines } = build();
    const first = health.register("source1", { ready: true }, 100);
    const second = health.register("source2", { live: true, ready: true }, 0);
    expect(health.summary()).toMatchObject({ live: true, ready: false });
    first.report({ ready: true });
    second.report({ live: true, ready: true, detail: "but very busy!" });
    const response = health.answer("/readiness")!;
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(`+-----------+---------+----------------+-----------------+----------------+
| COMPONENT | TIMEOUT | LIVENESS       | READINESS       | DETAIL         |
+-----------+---------+----------------+-----------------+----------------+
| source1   | 100ms   | -              | reporting ready |                |
| source2   | -       | reporting live | reporting ready | but very busy! |
+-----------+---------+----------------+-----------------+----------------+`);
    second.report({ live: false, ready: true, detail: "stuck\nin two places" });
    const bad = health.answer("/liveness")!;
    expect([bad.status, health.answer("/readiness")!.status]).toEqual([503, 200]);
    expect(await bad.text()).toContain(`| source2   | -       | reporting non-live | reporting ready | stuck         |
|           |         |                    |                 | in two places |`);
    expect(health.answer("/other")).toBeUndefined();
    second.remove();
    expect(health.summary()).toMatchObject({ live: true, ready: true });
    expect(
      lines.filter((line) => line.startsWith("Overall health status changed")).map((line) => line.split("\n")[0]),
    ).toEqual([
      "Overall health status changed: live=true ready=false",
      "Overall health status changed: live=true ready=true",
      "Overall health status changed: live=false ready=true",
      "Overall health status changed: live=true ready=true",
    ]);
  });

  it("is bad of a part that has not reported for longer than its timeout, which the configuration may change", () => {
    const { health, clock } = build({ slow: 300, never: 0 });
    for (const name of ["slow", "fast", "never"])
      health.register(name, { live: true, ready: true }, 100).report({ live: true, ready: true });
    const rows = (): string[] =>
      health
        .summary()
        .detail.split("\n")
        .slice(3, -1)
        .map((row) => row.replaceAll(/\s+/g, " "));
    clock.now = 100;
    expect(health.summary()).toMatchObject({ live: true, ready: true });
    clock.now = 101;
    expect(rows()).toEqual([
      "| fast | 100ms | timed out | timed out | |",
      "| never | - (override) | reporting live | reporting ready | |",
      "| slow | 300ms (override) | reporting live | reporting ready | |",
    ]);
    expect(health.summary()).toMatchObject({ live: false, ready: false });
    clock.now = 301;
    expect(rows()[2]).toContain("timed out");
  });

  it("is good without parts", () => {
    expect(new Health().summary()).toMatchObject({ live: true, ready: true });
  });

  it("writes durations as Go does", () => {
    expect([100, 1500, 90_000, 3_600_000, 30_000].map(formatDuration)).toEqual([
      "100ms",
      "1.5s",
      "1m30s",
      "1h0m0s",
      "30s",
    ]);
  });
});

describe("the server of both", () => {
  const servers: TelemetryServer[] = [];
  const folders: string[] = [];
  const errors: Error[] = [];
  afterEach(() => {
    errors.length = 0;
    for (const server of servers.splice(0)) server.close();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });
  const start = (options: Partial<Parameters<typeof openTelemetryServer>[0]>): TelemetryServer => {
    const server = openTelemetryServer({
      host: "localhost",
      port: 0,
      onError: (error) => void errors.push(error),
      ...options,
    });
    servers.push(server);
    return server;
  };
  const until = async (condition: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !condition(); ) {
      if (Date.now() > deadline) throw new Error("it did not happen within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };

  it("answers probes and scrapes, and nothing else", async () => {
    const health = new Health();
    const part = health.register("part", { live: true, ready: true }, 0);
    const metrics = new Metrics();
    metrics.counter("a", "A.").inc();
    const { port } = start({ health, metrics });
    const get = (path: string, init?: RequestInit): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`, init);
    expect((await get("/readiness")).status).toBe(503);
    expect((await get("/liveness")).status).toBe(200);
    part.report({ live: true, ready: true });
    expect((await get("/readiness?x=1")).status).toBe(200);
    const scraped = await get("/metrics");
    expect([scraped.headers.get("content-type"), await scraped.text()]).toEqual([
      "text/plain; version=0.0.4; charset=utf-8",
      "# HELP a A.\n# TYPE a counter\na 1\n",
    ]);
    expect((await get("/readiness/x")).status).toBe(404);
    expect((await get("/metrics", { method: "POST" })).status).toBe(405);
    metrics.collect(() => {
      throw new Error("broken collector");
    });
    expect((await get("/metrics")).status).toBe(500);
    expect((await get("/liveness")).status).toBe(200);
  });

  it("says that the port is taken, once, and listens when it is free", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    const server = start({ port, metrics: new Metrics() });
    expect([server.port, errors.length]).toEqual([undefined, 1]);
    await new Promise((resolve) => other.close(resolve));
    await until(() => server.port === port);
    expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
    expect(errors).toHaveLength(1);
  });

  const openssl = spawnSync("openssl", ["version"]).status === 0;
  (openssl ? it : it.skip)(
    `serves metrics by TLS, to known clients only${openssl ? "" : " [skipped: needs openssl]"}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "calico-telemetry-"));
      folders.push(folder);
      const file = (name: string): string => join(folder, name);
      for (const name of ["server", "client", "stranger"]) {
        const made = spawnSync("openssl", [
          ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj".split(" "),
          `/CN=${name}`,
          ..."-addext subjectAltName=IP:127.0.0.1 -keyout".split(" "),
          file(`${name}.key`),
          "-out",
          file(`${name}.crt`),
        ]);
        if (made.status !== 0) throw new Error(made.stderr.toString());
      }
      copyFileSync(file("client.crt"), file("ca.crt"));
      const files = { certFile: file("server.crt"), keyFile: file("server.key") };
      const get = async (port: number | undefined, as?: string): Promise<number | string> => {
        const tls = {
          ca: readFileSync(file("server.crt"), "utf8"),
          ...(as && { cert: readFileSync(file(`${as}.crt`), "utf8"), key: readFileSync(file(`${as}.key`), "utf8") }),
        };
        return fetch(`https://127.0.0.1:${port}/metrics`, { tls, keepalive: false } as RequestInit).then(
          ({ status }) => status,
          () => "refused",
        );
      };
      const open = start({ metrics: new Metrics(), tls: files, reloadInterval: 20 });
      expect(await get(open.port)).toBe(200);
      const known = start({
        metrics: new Metrics(),
        tls: { ...files, caFile: file("ca.crt"), clientAuth: "RequireAndVerifyClientCert" },
      });
      expect(await get(known.port, "client")).toBe(200);
      expect([await get(known.port), await get(known.port, "stranger")]).toEqual(["refused", "refused"]);
      expect(errors).toEqual([]);
      const { port } = open;
      const before = readFileSync(files.certFile, "utf8");
      for (const end of ["crt", "key"]) copyFileSync(file(`stranger.${end}`), file(`server.${end}`));
      expect(readFileSync(files.certFile, "utf8")).not.toBe(before);
      let renewed: number | string = "refused";
      for (const deadline = Date.now() + 20_000; renewed !== 200 && Date.now() < deadline; ) renewed = await get(port);
      expect([renewed, open.port]).toEqual([200, port]);
      const none = start({ metrics: new Metrics(), tls: { ...files, clientAuth: "RequireAnyClientCert" } });
      expect([none.port, errors[0]?.message]).toEqual([undefined, expect.stringContaining("no file with their CA")]);
      start({ metrics: new Metrics(), tls: { ...files, keyFile: file("none") } });
      expect(errors[1]?.message).toContain("ENOENT");
    },
  );
});
