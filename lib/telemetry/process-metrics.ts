import { readdirSync, readFileSync } from "node:fs";
import type { Metrics } from "./metrics.ts";

/** Clock ticks a second in /proc/<pid>/stat: USER_HZ, 100 on every architecture that is supported. */
const TICKS = 100;
const PAGE = 4096;

/** The process_… metrics of Prometheus' clients, from /proc/self (proc(5)). What cannot be read keeps its last value. */
export function addProcessMetrics(metrics: Metrics): void {
  const cpu = metrics.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
  const open = metrics.gauge("process_open_fds", "Number of open file descriptors.");
  const limit = metrics.gauge("process_max_fds", "Maximum number of open file descriptors.");
  const resident = metrics.gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  const virtual = metrics.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
  const start = metrics.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
  metrics.collect(() => {
    try {
      const fields = statFields(readFileSync("/proc/self/stat", "utf8"));
      cpu.inc(Math.max(0, (fields.userTicks + fields.systemTicks) / TICKS - cpu.value));
      virtual.set(fields.virtualBytes);
      resident.set(fields.residentPages * pageSize());
      const booted = /^btime (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1];
      if (booted !== undefined) start.set(Number(booted) + fields.startTicks / TICKS);
      open.set(readdirSync("/proc/self/fd").length - 1); // reading the folder takes one
      const most = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
      if (most !== undefined) limit.set(Number(most));
    } catch {
      // A process at its limit of descriptors must still be able to tell of it.
    }
  });
}

/** arm64 kernels may have larger pages; then the two lines of /proc/self differ by the factor. */
let page: number | undefined;
function pageSize(): number {
  if (page !== undefined) return page;
  const kilobytes = Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  const pages = Number(readFileSync("/proc/self/statm", "utf8").split(" ")[0]);
  const exact = (kilobytes * 1024) / pages;
  page = [4096, 16_384, 65_536].find((size) => Math.abs(exact / size - 1) < 0.2) ?? PAGE;
  return page;
}

/** Of /proc/<pid>/stat. The second field, the command's name in parentheses, may contain anything. */
export function statFields(text: string): {
  userTicks: number;
  systemTicks: number;
  startTicks: number;
  virtualBytes: number;
  residentPages: number;
} {
  const rest = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number): number => Number(rest[number - 3]); // the third is the first of these
  return {
    userTicks: field(14),
    systemTicks: field(15),
    startTicks: field(22),
    virtualBytes: field(23),
    residentPages: field(24),
  };
}
