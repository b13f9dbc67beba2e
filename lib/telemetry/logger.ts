import { appendFileSync, mkdirSync, renameSync, statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";

export type Level = "debug" | "info" | "warning" | "error" | "none";

const SEVERITY: Record<Level, number> = { debug: 0, info: 1, warning: 2, error: 3, none: 4 };
const TAG: Record<Level, string> = { debug: "DEBUG", info: "INFO", warning: "WARNING", error: "ERROR", none: "" };

/** Writes one line a call, in upstream's shape: `2024-10-19 20:50:00.035 [INFO][81] component: message key="value"`. */
export interface Logger {
  readonly level: Level;
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warning(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

export type Fields = Readonly<Record<string, string | number | boolean | bigint | undefined>>;

export interface LoggerOptions {
  readonly component: string;
  readonly level: Level;
  /** Where lines go beside stderr. The folder is made when it is missing; a file that cannot be written is reported once on stderr. */
  readonly file?: {
    readonly path: string;
    readonly maxBytes: number;
    readonly maxFiles: number;
    readonly maxAgeDays: number;
  };
  readonly stderr?: boolean;
}

/** A logger that is ready to use and has opened nothing: the file is first touched by the first line at or above the level. */
export function openLogger(options: LoggerOptions): Logger {
  const threshold = SEVERITY[options.level];
  let fileFailed = false;
  const write = (level: Level, message: string, fields: Fields | undefined): void => {
    if (SEVERITY[level] < threshold) return;
    const line = formatLine(new Date(), level, process.pid, options.component, message, fields);
    if (options.stderr ?? true) process.stderr.write(line);
    if (!options.file || fileFailed) return;
    try {
      rotate(options.file.path, line.length, options.file);
      appendFileSync(options.file.path, line, { mode: 0o644 });
    } catch (error) {
      if (isMissing(error) && tryMakeFolder(options.file.path)) {
        appendFileSync(options.file.path, line, { mode: 0o644 });
        return;
      }
      fileFailed = true;
      process.stderr.write(`cannot write the log file ${options.file.path}: ${(error as Error).message}\n`);
    }
  };
  return {
    level: options.level,
    debug: (message, fields) => write("debug", message, fields),
    info: (message, fields) => write("info", message, fields),
    warning: (message, fields) => write("warning", message, fields),
    error: (message, fields) => write("error", message, fields),
  };
}

/** Drops every line; for library code that is used without a logger. */
export const silentLogger: Logger = { level: "none", debug() {}, info() {}, warning() {}, error() {} };

/** One line with its newline. Values are quoted as JSON strings, so that a value can never forge a line or a field. */
export function formatLine(
  when: Date,
  level: Level,
  pid: number,
  component: string,
  message: string,
  fields?: Fields,
): string {
  const time = when.toISOString().replace("T", " ").replace("Z", "");
  let line = `${time} [${TAG[level]}][${pid}] ${component}: ${message.replaceAll("\n", "\\n")}`;
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (value !== undefined) line += ` ${key}=${typeof value === "string" ? JSON.stringify(value) : value}`;
  }
  return `${line}\n`;
}

/** Shifts path → path.1 → … → path.N when the next line would pass the limit; drops what is too many or too old. */
function rotate(path: string, adding: number, limit: { maxBytes: number; maxFiles: number; maxAgeDays: number }): void {
  if (limit.maxBytes <= 0) return;
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat || stat.size + adding <= limit.maxBytes) return;
  const oldest = Date.now() - limit.maxAgeDays * 86_400_000;
  for (let index = Math.max(1, limit.maxFiles); index >= 1; index--) {
    const from = index === 1 ? path : `${path}.${index - 1}`;
    const old = statSync(from, { throwIfNoEntry: false });
    if (!old) continue;
    if (index > 1 && limit.maxAgeDays > 0 && old.mtimeMs < oldest) unlinkSync(from);
    else renameSync(from, `${path}.${index}`);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function tryMakeFolder(path: string): boolean {
  try {
    return mkdirSync(dirname(path), { recursive: true }) !== undefined;
  } catch {
    return false;
  }
}
