import type { NetworkConfig } from "../cni/index.ts";
import { type Logger, openLogger } from "../telemetry/index.ts";

/** Upstream's limits where the configuration gives none. */
const DEFAULT_FILE = "/var/log/calico/cni/cni.log";
const DEFAULT_MEBIBYTES = 100;
const DEFAULT_DAYS = 30;
const DEFAULT_FILES = 10;

/**
 * The log of one call: `log_level`, `log_file_path` and its limits. Everything at or above the level goes to the file;
 * stderr, which runtimes show when a call fails, gets warnings and errors, and all of it at level debug.
 */
export function attachLogger(config: NetworkConfig, component = "cni-plugin"): Logger {
  const { level, filePath, fileMaxSize, fileMaxAge, fileMaxCount } = config.log;
  const file = openLogger({
    component,
    level,
    stderr: false,
    file: {
      path: filePath || DEFAULT_FILE,
      maxBytes: (fileMaxSize || DEFAULT_MEBIBYTES) * 1024 * 1024,
      maxFiles: fileMaxCount || DEFAULT_FILES,
      maxAgeDays: fileMaxAge || DEFAULT_DAYS,
    },
  });
  const stderr = openLogger({ component, level: level === "debug" || level === "error" ? level : "warning" });
  return {
    level,
    debug: both("debug"),
    info: both("info"),
    warning: both("warning"),
    error: both("error"),
  };

  function both(at: "debug" | "info" | "warning" | "error"): Logger["info"] {
    return (message, fields) => {
      file[at](message, fields);
      stderr[at](message, fields);
    };
  }
}
