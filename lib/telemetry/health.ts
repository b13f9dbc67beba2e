/** Whether the parts of a daemon are alive and ready (libcalico-go/lib/health): names, words and table are upstream's. */
import type { Logger } from "./logger.ts";

/** What a part says of itself. */
export interface HealthReport {
  readonly live?: boolean;
  readonly ready?: boolean;
  readonly detail?: string;
}

/** Which of the two a part is asked for. */
export interface HealthKinds {
  readonly live?: boolean;
  readonly ready?: boolean;
}

export interface HealthReporter {
  /** Says how it stands; must be said again before the timeout. */
  report(report: HealthReport): void;
  /** The part is asked no longer. */
  remove(): void;
}

export interface HealthSummary {
  readonly live: boolean;
  readonly ready: boolean;
  /** A table of the parts. */
  readonly detail: string;
}

export interface HealthOptions {
  /** HealthTimeoutOverrides: milliseconds by the name of the part; 0: never. */
  readonly timeouts?: Readonly<Record<string, number>>;
  /** Hears of changes. */
  readonly logger?: Logger;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

interface Part {
  readonly name: string;
  readonly kinds: HealthKinds;
  readonly timeout: number;
  latest: HealthReport;
  at: number;
}

/** All parts together: live, or ready, when each part that is asked for it says so and did so lately. Without parts both. */
export class Health {
  readonly #options: HealthOptions;
  #timeouts: Readonly<Record<string, number>>;
  readonly #now: () => number;
  readonly #parts = new Map<string, Part>();
  #last: HealthSummary | undefined;

  constructor(options: HealthOptions = {}) {
    this.#options = options;
    this.#timeouts = options.timeouts ?? {};
    this.#now = options.now ?? (() => performance.now());
  }

  /** Other HealthTimeoutOverrides from now on. */
  override(timeouts: Readonly<Record<string, number>>): void {
    this.#timeouts = timeouts;
  }

  /** Until its first report a part is live and not ready. `timeout` in milliseconds; 0: what it said holds until it says otherwise. */
  register(name: string, kinds: HealthKinds, timeout: number): HealthReporter {
    const part: Part = { name, kinds, timeout, latest: { live: true }, at: this.#now() };
    this.#parts.set(name, part);
    return {
      report: (report) => {
        const before = part.latest;
        part.latest = report;
        part.at = this.#now();
        const changed =
          !before.live !== !report.live || !before.ready !== !report.ready || before.detail !== report.detail;
        if (changed) {
          this.#options.logger?.info("Health of component changed", {
            name,
            report: reportText(kinds, report),
            before: reportText(kinds, before),
            detail: report.detail,
          });
        }
      },
      remove: () => {
        if (this.#parts.get(name) === part) this.#parts.delete(name);
      },
    };
  }

  summary(): HealthSummary {
    const rows: string[][] = [];
    let live = true;
    let ready = true;
    for (const part of [...this.#parts.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const override = this.#timeouts[part.name];
      const timeout = override ?? part.timeout;
      const late = timeout !== 0 && this.#now() - part.at > timeout;
      const liveness = stateOf("live", part, late);
      const readiness = stateOf("ready", part, late);
      live &&= liveness.good;
      ready &&= readiness.good;
      const timeoutText = timeout === 0 ? "-" : formatDuration(timeout);
      rows.push([
        part.name,
        override === undefined ? timeoutText : `${timeoutText} (override)`,
        liveness.text,
        readiness.text,
        part.latest.detail ?? "",
      ]);
    }
    const detail = table([["COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL"], ...rows]);
    const summary = { live, ready, detail };
    if (this.#last?.live !== live || this.#last.ready !== ready) {
      const level = live && ready ? "info" : "warning";
      this.#options.logger?.[level](`Overall health status changed: live=${live} ready=${ready}\n${detail}`);
    }
    this.#last = summary;
    return summary;
  }

  /** Answers `GET /liveness` and `/readiness`: 200 when good, 503 when not, with the table; undefined for other paths. */
  answer(path: string): Response | undefined {
    if (path !== "/liveness" && path !== "/readiness") return undefined;
    const summary = this.summary();
    const good = path === "/liveness" ? summary.live : summary.ready;
    return new Response(summary.detail, {
      status: good ? 200 : 503,
      headers: { "content-type": "text/plain; charset=utf-8" },
    });
  }
}

function stateOf(kind: "live" | "ready", part: Part, late: boolean): { good: boolean; text: string } {
  if (!part.kinds[kind]) return { good: true, text: "-" };
  if (late) return { good: false, text: "timed out" };
  return part.latest[kind] ? { good: true, text: `reporting ${kind}` } : { good: false, text: `reporting non-${kind}` };
}

function reportText(kinds: HealthKinds, report: HealthReport): string {
  const parts: string[] = [];
  if (kinds.live) parts.push(report.live ? "live" : "non-live");
  if (kinds.ready) parts.push(report.ready ? "ready" : "non-ready");
  return parts.join(",");
}

/** Lines between the header and around all; what has several lines makes its row higher. */
function table(rows: readonly string[][]): string {
  const cells = rows.map((row) => row.map((cell) => cell.split("\n")));
  const widths = rows[0]!.map((_, column) =>
    Math.max(...cells.flatMap((row) => row[column]!.map((line) => line.length))),
  );
  const rule = `+${widths.map((width) => "-".repeat(width + 2)).join("+")}+`;
  const lines = cells.map((row) => {
    const height = Math.max(...row.map((cell) => cell.length));
    return Array.from(
      { length: height },
      (_, line) => `| ${row.map((cell, column) => (cell[line] ?? "").padEnd(widths[column]!)).join(" | ")} |`,
    );
  });
  const [head = [], ...body] = lines;
  return [rule, ...head, rule, ...body.flat(), ...(body.length > 0 ? [rule] : [])].join("\n");
}

/** As Go writes a duration: "100ms", "1.5s", "1m30s", "1h0m0s". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds}ms`;
  const seconds = milliseconds / 1000;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${Math.round((seconds % 60) * 1000) / 1000}s`;
  return hours > 0 ? `${hours}h${minutes}m${rest}` : minutes > 0 ? `${minutes}m${rest}` : rest;
}
