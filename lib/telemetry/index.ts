/** Structured log lines and the version they come from. Health and metrics of daemons: `daemon.ts`. */
export {
  type Fields,
  formatLine,
  joinLoggers,
  type Level,
  type Logger,
  type LoggerOptions,
  openLogger,
  silentLogger,
} from "./logger.ts";
export { VERSION } from "./version.ts";
