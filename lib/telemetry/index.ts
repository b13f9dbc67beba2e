/** Structured log lines and the version they come from. Metrics and health reporters join when the first daemon does. */
export {
  type Fields,
  formatLine,
  type Level,
  type Logger,
  type LoggerOptions,
  openLogger,
  silentLogger,
} from "./logger.ts";
export { VERSION } from "./version.ts";
