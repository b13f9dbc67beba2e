import { closeFd, folderOf, makeFolder, OPEN, openFile, pathExists, statFd, writeAll } from "../sys/index.ts";

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
    if (options.stderr ?? true) writeQuietly(line);
    if (!options.file || fileFailed) return;
    try {
      append(options.file, line);
    } catch (error) {
      fileFailed = true;
      writeQuietly(`cannot write the log file ${options.file.path}: ${(error as Error).message}\n`);
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

/** Writes to several loggers, each of which has its own level; asked for anew with each line, so that they can be exchanged. */
export function joinLoggers(loggers: () => readonly Logger[]): Logger {
  const write =
    (level: "debug" | "info" | "warning" | "error") =>
    (message: string, fields?: Fields): void => {
      for (const logger of loggers()) logger[level](message, fields);
    };
  return {
    get level() {
      const levels = loggers().map(({ level }) => level);
      return levels.reduce((lowest, level) => (SEVERITY[level] < SEVERITY[lowest] ? level : lowest), "none" as Level);
    },
    debug: write("debug"),
    info: write("info"),
    warning: write("warning"),
    error: write("error"),
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

/** Standard error may be closed or a broken pipe: a log line is never worth failing for. */
function writeQuietly(line: string): void {
  try {
    writeAll(2, line, "write to standard error");
  } catch {}
}

function append(file: NonNullable<LoggerOptions["file"]>, line: string): void {
  const purpose = `write ${file.path}`;
  const open = () => openFile(file.path, OPEN.WRITE | OPEN.APPEND | OPEN.CREATE, purpose, 0o644);
  const folder = folderOf(file.path);
  if (!pathExists(folder)) makeFolder(folder);
  let fd = open();
  try {
    if (file.maxBytes > 0 && statFd(fd, purpose).length + line.length > file.maxBytes) {
      rotate(file);
      closeFd(fd);
      fd = open();
    }
    writeAll(fd, line, purpose);
  } finally {
    closeFd(fd);
  }
}

/** Shifts path → path.1 → … → path.N; drops what is too many or too old. Rare enough for node:fs. */
function rotate({ path, maxFiles, maxAgeDays }: NonNullable<LoggerOptions["file"]>): void {
  const { renameSync, statSync, unlinkSync } = process.getBuiltinModule("node:fs");
  const oldest = Date.now() - maxAgeDays * 86_400_000;
  for (let index = Math.max(1, maxFiles); index >= 1; index--) {
    const from = index === 1 ? path : `${path}.${index - 1}`;
    const old = statSync(from, { throwIfNoEntry: false });
    if (!old) continue;
    if (index > 1 && maxAgeDays > 0 && old.mtimeMs < oldest) unlinkSync(from);
    else renameSync(from, `${path}.${index}`);
  }
}
