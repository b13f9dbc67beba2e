import { CniError, errorCode } from "./errors.ts";

export type Command = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** The parameters of one call, checked. What a command does not need and the caller did not give is "". */
export interface Environment {
  readonly command: Command;
  readonly containerId: string;
  /** A path; "" on a DEL whose namespace is gone. */
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS as given; see {@link parseArgs}. */
  readonly args: string;
  /** CNI_PATH, split. */
  readonly path: readonly string[];
  /** CNI_NETNS_OVERRIDE: the caller accepts that the namespace is the plugin's own. */
  readonly netnsOverride: boolean;
}

const COMMANDS: readonly string[] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/** Which variables must be there (SPEC.md section 2). CNI_PATH is asked for only when a plugin is executed. */
const REQUIRED: Readonly<Record<Command, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  GC: [],
  STATUS: [],
  VERSION: [],
};

/** IFNAMSIZ of the kernel is 16 with the terminating zero. */
const MAX_INTERFACE_NAME = 15;

const MAX_CONTAINER_ID = 200;

/** Reads and checks the CNI variables; throws CniError 4, which names every variable at fault. */
export function parseEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const command = env.CNI_COMMAND ?? "";
  if (!COMMANDS.includes(command)) {
    throw new CniError(
      errorCode.invalidEnvironment,
      command === "" ? "CNI_COMMAND is missing" : `CNI_COMMAND is unknown: ${quote(command)}`,
      `it must be one of ${COMMANDS.join(", ")}`,
    );
  }
  const required = REQUIRED[command as Command];
  const missing: string[] = [];
  for (const name of required) if (!env[name]) missing.push(name);
  if (missing.length > 0) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `missing environment variables: ${missing.join(", ")}`,
      `${command} needs them`,
    );
  }
  const containerId = env.CNI_CONTAINERID ?? "";
  const ifName = env.CNI_IFNAME ?? "";
  if (required.length > 0) {
    checkContainerId(containerId);
    checkInterfaceName(ifName);
  }
  const netns = env.CNI_NETNS ?? "";
  if (netns.includes("\0")) throw new CniError(errorCode.invalidEnvironment, "CNI_NETNS holds a zero byte");
  const override = env.CNI_NETNS_OVERRIDE ?? "";
  return {
    command: command as Command,
    containerId,
    netns,
    ifName,
    args: env.CNI_ARGS ?? "",
    path: foldersOf(env.CNI_PATH ?? ""),
    netnsOverride: override === "1" || override.toUpperCase() === "TRUE",
  };
}

function foldersOf(path: string): string[] {
  const folders: string[] = [];
  for (const folder of path.split(":")) if (folder !== "") folders.push(folder);
  return folders;
}

/**
 * Whether the text is what both a container ID and a network name may look like (libcni pkg/utils): it begins with a letter or
 * digit, and goes on with letters, digits, '_', '.' and '-'. By character: each ADD is a new process, and a regular expression's
 * first use costs it 0.1 ms.
 */
export function isName(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const isAlphanumeric = (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a);
    if (!isAlphanumeric && (i === 0 || (c !== 0x5f && c !== 0x2e && c !== 0x2d))) return false;
  }
  return text !== "";
}

function checkContainerId(id: string): void {
  if (!isName(id)) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_CONTAINERID is not a container ID: ${quote(id)}`,
      "it begins with a letter or digit, and goes on with letters, digits, '_', '.' and '-'",
    );
  }
  // It becomes part of the names of records and files; real ones have 64 characters.
  if (id.length > MAX_CONTAINER_ID) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_CONTAINERID is ${id.length} characters long, at most ${MAX_CONTAINER_ID} are possible`,
    );
  }
}

/** The kernel's own rules (net/core/dev.c, dev_valid_name). */
function checkInterfaceName(name: string): void {
  if (name.length <= MAX_INTERFACE_NAME && isName(name)) return;
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_INTERFACE_NAME) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_IFNAME is too long: ${quote(name)}`,
      `an interface name has at most ${MAX_INTERFACE_NAME} bytes, this one has ${bytes}`,
    );
  }
  if (name === "." || name === ".." || /[/:\s\0]/.test(name)) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_IFNAME is not an interface name: ${quote(name)}`,
      "it may not be '.' or '..', nor hold '/', ':' or white space",
    );
  }
}

/** CNI_ARGS, by the names that are given there. */
export type CniArgs = Readonly<Record<string, string>>;

/**
 * CNI_ARGS "A=1;B=2" as a record. Throws CniError 4 on a pair that is none, and on a name that is not in `known` unless
 * IgnoreUnknown is 1 or true. Upstream's plugin always ignores unknown ones: pass no `known` for that.
 */
export function parseArgs(text: string, known?: readonly string[]): CniArgs {
  const args: Record<string, string> = Object.create(null) as Record<string, string>;
  if (text === "") return args;
  for (const pair of text.split(";")) {
    const parts = pair.split("=");
    if (parts.length !== 2 || parts[0] === "") {
      throw new CniError(
        errorCode.invalidEnvironment,
        `CNI_ARGS has an invalid pair: ${quote(pair)}`,
        "it is a list such as FOO=BAR;ABC=123",
      );
    }
    args[parts[0]!] = parts[1]!;
  }
  const ignore = args.IgnoreUnknown;
  if (ignore !== undefined && !/^(0|1|true|false)$/i.test(ignore)) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_ARGS has IgnoreUnknown=${quote(ignore)}, which is not 0, 1, true or false`,
    );
  }
  if (known && !/^(1|true)$/i.test(ignore ?? "")) {
    const unknown = Object.keys(args).filter((name) => name !== "IgnoreUnknown" && !known.includes(name));
    if (unknown.length > 0) {
      throw new CniError(
        errorCode.invalidEnvironment,
        `CNI_ARGS has unknown names: ${unknown.join(", ")}`,
        "add IgnoreUnknown=1 to have them ignored",
      );
    }
  }
  return args;
}

/** Text from outside in a message: quoted, control characters visible, cut to a readable length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
