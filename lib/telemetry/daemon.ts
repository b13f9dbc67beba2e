/**
 * Health and metrics of daemons, a door of its own, because programs that do one thing and end need neither.
 *
 * Data flow: parts of the daemon report to {@link Health} and count in {@link Metrics} → {@link openTelemetryServer} answers probes and
 * scrapes with them. Metrics have upstream's names; those of Go's runtime do not exist here.
 */
export { EXIT_RESTART } from "./exit.ts";
export {
  formatDuration,
  Health,
  type HealthKinds,
  type HealthOptions,
  type HealthReport,
  type HealthReporter,
  type HealthSummary,
} from "./health.ts";
export {
  type Counter,
  DEFAULT_BUCKETS,
  type Family,
  formatNumber,
  type Gauge,
  Metrics,
  type Observer,
} from "./metrics.ts";
export { addProcessMetrics } from "./process-metrics.ts";
export {
  type ClientAuth,
  openTelemetryServer,
  type ServerTls,
  type TelemetryServer,
  type TelemetryServerOptions,
} from "./server.ts";
