import { UsageError } from "./errors.ts";
import type { Command, Option } from "./program.ts";
import { didYouMean } from "./suggest.ts";

/**
 * Rewrites arguments from the forms that pflag takes (and users of the Go tools type) into the one form that every parser
 * reads alike: `-ojson`, `-o json`, `-o=json` and `--output json` all become `--output=json`; `-Rf dir` becomes
 * `--recursive --filename=dir`. A value may begin with a dash, a missing one is an error. What is after `--` is left alone.
 *
 * Which options exist depends on the command, so this walks down the commands as it meets their names.
 */
export function normaliseArgv(root: Command, args: readonly string[]): string[] {
  const out: string[] = [];
  const path: Command[] = [root];
  for (let index = 0; index < args.length; index++) {
    const token = args[index]!;
    if (token === "--") return [...out, ...args.slice(index)];
    if (!token.startsWith("-") || token === "-") {
      out.push(token);
      const child = path.at(-1)?.commands?.find((command) => command.name === token);
      if (child) path.push(child);
      continue;
    }
    const next = () => {
      index++;
      return args[index];
    };
    if (token.startsWith("--")) out.push(longOption(token, path, next));
    else out.push(...shortOptions(token, path, next));
  }
  return out;
}

function longOption(token: string, path: readonly Command[], next: () => string | undefined): string {
  const equals = token.indexOf("=");
  const name = equals < 0 ? token.slice(2) : token.slice(2, equals);
  const option = optionsOf(path).get(name);
  if (!option) throw unknown(`--${name}`, path);
  if (option.type === "boolean")
    return equals < 0 ? `--${name}` : `--${name}=${booleanOf(name, token.slice(equals + 1))}`;
  return `--${name}=${given(option, `--${name}`, equals < 0 ? next() : token.slice(equals + 1))}`;
}

function shortOptions(token: string, path: readonly Command[], next: () => string | undefined): string[] {
  const out: string[] = [];
  const options = [...optionsOf(path)];
  for (let at = 1; at < token.length; at++) {
    const letter = token[at]!;
    const found = options.find(([, option]) => option.short === letter);
    if (!found) throw unknown(token.length === 2 ? token : `-${letter} in ${token}`, path);
    const [name, option] = found;
    const rest = token.slice(at + 1);
    if (option.type === "boolean" && !rest.startsWith("=")) {
      out.push(`--${name}`);
      continue;
    }
    const inline = rest.startsWith("=") ? rest.slice(1) : rest;
    if (option.type === "boolean") out.push(`--${name}=${booleanOf(name, inline)}`);
    else out.push(`--${name}=${given(option, `-${letter}, --${name}`, rest === "" ? next() : inline)}`);
    break;
  }
  return out;
}

/** Every option in force at the end of a path of commands: its own and those of the commands above it. */
export function optionsOf(path: readonly Command[]): Map<string, Option> {
  return new Map(path.flatMap((command) => Object.entries(command.options ?? {})));
}

function given({ notEmpty, value: what }: Option, name: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`flag needs an argument: ${name}`);
  if (notEmpty && value === "") throw new UsageError(`${name}: ${what ?? "the value"} must not be empty`);
  return value;
}

const TRUE = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE = ["0", "f", "F", "false", "FALSE", "False"];

/** The texts that Go's strconv.ParseBool takes. */
export function parseBoolean(text: string): boolean | undefined {
  return TRUE.includes(text) ? true : FALSE.includes(text) ? false : undefined;
}

function booleanOf(name: string, text: string): boolean {
  const value = parseBoolean(text);
  if (value === undefined) throw new UsageError(`invalid value "${text}" for --${name}: use true or false`);
  return value;
}

function unknown(flag: string, path: readonly Command[]): UsageError {
  const names = [...optionsOf(path)].filter(([, option]) => !option.hidden).map(([name]) => `--${name}`);
  return new UsageError(`unknown flag: ${flag}${flag.startsWith("--") ? didYouMean(flag, names) : ""}`);
}
