import { normaliseArgv, optionsOf } from "./argv.ts";
import { type CliError, failureText, UsageError } from "./errors.ts";
import { helpText } from "./help.ts";
import type { Io } from "./io.ts";
import { didYouMean } from "./suggest.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** A flag. All take a value but booleans; `list` may be given several times, of the others the last one counts. */
export interface Option {
  readonly type: "text" | "boolean" | "list";
  /** One letter: `-f`. */
  readonly short?: string;
  readonly summary: string;
  /** What the value is, for the help: FILE. */
  readonly value?: string;
  readonly default?: string;
  /** `--name=""` is a usage error: what an empty variable of a script leaves shall not be taken for the default, or for the current folder. */
  readonly notEmpty?: true;
  /** Understood, but not listed in the help. */
  readonly hidden?: true;
}

/** An argument without a dash. `list` takes all that are left, so it comes last. */
export interface Positional {
  readonly name: string;
  readonly type: "text" | "list";
}

export interface Example {
  readonly comment: string;
  /** The line to type, beginning with the arguments: the program's name is put before it. */
  readonly line: string;
}

export interface Command {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** One or more sentences, for the command's own help. `summary` when absent. */
  readonly description?: string;
  /** How the arguments are written in the help: `[KIND [NAME...]]`. */
  readonly usage?: string;
  readonly positionals?: readonly Positional[];
  /** Also understood by the commands below. */
  readonly options?: Readonly<Record<string, Option>>;
  readonly examples?: readonly Example[];
  readonly commands?: readonly Command[];
  /** Understood, but not listed in the help. */
  readonly hidden?: true;
  /** Answers the exit status, 0 when nothing. Throws a coded error for what the user should read. */
  run?(call: Call): Promise<number | undefined> | number | undefined;
}

/** The root of a program's commands. */
export type Program = Command;

/** One run of one command. */
export interface Call {
  /** How the program was called, for messages that name a command line: `calicoctl ipam`. */
  readonly program: string;
  readonly args: Args;
  readonly env: Env;
  readonly io: Io;
}

/** The values of one command line. Asking for an option that the command does not declare is a defect. */
export class Args {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #known: ReadonlyMap<string, { readonly type: Option["type"]; readonly default?: string }>;
  constructor(
    values: Readonly<Record<string, unknown>>,
    known: ReadonlyMap<string, { readonly type: Option["type"]; readonly default?: string }>,
  ) {
    this.#values = values;
    this.#known = known;
  }

  /** The value of a text option or positional: given, else its default, else undefined. `""` when it was given empty. */
  text(name: string): string | undefined {
    const known = this.#declared(name, "text");
    const given = this.#values[name];
    const last = Array.isArray(given) ? given.at(-1) : given;
    return typeof last === "string" ? last : known.default;
  }

  flag(name: string): boolean {
    this.#declared(name, "boolean");
    const given = this.#values[name];
    return (Array.isArray(given) ? given.at(-1) : given) === true;
  }

  list(name: string): string[] {
    this.#declared(name, "list");
    const given = this.#values[name];
    return Array.isArray(given) ? given.map(String) : given === undefined ? [] : [String(given)];
  }

  #declared(name: string, type: Option["type"]): { readonly default?: string } {
    const known = this.#known.get(name);
    if (known?.type !== type) throw new TypeError(`the command declares no ${type} "${name}"`);
    return known;
  }
}

const HELP: Option = { type: "boolean", short: "h", summary: "Show this help." };

/** Runs the command that `argv` asks for. Answers the exit status; everything that goes wrong is on stderr. */
export async function runProgram(program: Program, argv: readonly string[], env: Env, io: Io): Promise<number> {
  const root: Program = { ...program, options: { ...program.options, help: HELP } };
  let stack = false;
  try {
    const args = argv[0] === "help" ? [...argv.slice(1), "--help"] : argv;
    const { path, values, extra } = await parse(root, normaliseArgv(root, args));
    const command = path.at(-1)!;
    if (extra.length > 0) throw unexpected(path, extra[0]!);
    if (values.help === true || !command.run) {
      io.stdout.write(helpText(path));
      return 0;
    }
    const known = new Map<string, { type: Option["type"]; default?: string }>(optionsOf(path));
    for (const positional of command.positionals ?? []) known.set(positional.name, positional);
    const call: Call = { program: nameOf(path.slice(0, -1)) || root.name, args: new Args(values, known), env, io };
    stack = values["log-level"] === "debug";
    return (await command.run(call)) ?? 0;
  } catch (error) {
    io.stderr.write(`${failureText(error, { stack }).trimEnd()}\n`);
    if (error instanceof UsageError) io.stderr.write(`Run '${helpFor(root, argv)} --help' for usage.\n`);
    return 1;
  }
}

interface Parsed {
  readonly path: readonly Command[];
  readonly values: Readonly<Record<string, unknown>>;
  /** Arguments that no positional takes. */
  readonly extra: readonly string[];
}

async function parse(root: Command, args: readonly string[]): Promise<Parsed> {
  const { default: yargs } = await import("yargs");
  let parsed: Parsed | undefined;
  let failure: Error | undefined;
  type Parser = ReturnType<typeof yargs>;
  const declare = (parser: Parser, path: readonly Command[]): Parser => {
    const command = path.at(-1)!;
    for (const [name, option] of Object.entries(command.options ?? {})) {
      const type = option.type === "text" ? "string" : option.type === "list" ? "array" : "boolean";
      parser.option(name, { type, ...(option.type === "list" ? { string: true } : {}) });
    }
    for (const { name, type } of command.positionals ?? []) {
      parser.positional(name, { type: "string", array: type === "list" });
    }
    // The words that are left are collected here, so that the message about them can say what there is instead.
    if (!command.positionals) parser.positional(REST, { type: "string", array: true });
    for (const child of command.commands ?? []) {
      parser.command({
        command: [child.name, shapeOf(child)].join(" "),
        builder: (inner) => declare(inner, [...path, child]),
        handler: (values) => {
          parsed ??= result([...path, child], values);
        },
      });
    }
    return parser;
  };
  const parser = yargs()
    .scriptName(root.name)
    .exitProcess(false)
    .help(false)
    .version(false)
    .detectLocale(false)
    .locale("en")
    .showHelpOnFail(false)
    .parserConfiguration({
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "greedy-arrays": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
    })
    .strictOptions()
    .fail((message, error) => {
      failure ??= error ?? new UsageError(message ?? "the arguments are not understood");
    });
  declare(parser, [root]);
  parser.command({
    command: `$0 ${shapeOf(root)}`,
    builder: (inner) => inner,
    handler: (values) => {
      parsed ??= result([root], values);
    },
  });
  parser.parse(args);
  if (parsed) return parsed;
  throw failure ?? new UsageError("the arguments are not understood");
}

/** Cannot be the name of an option or a positional of a program. */
const REST = "@rest";

function shapeOf(command: Command): string {
  const positionals = command.positionals ?? [{ name: REST, type: "list" as const }];
  return positionals.map(({ name, type }) => (type === "list" ? `[${name}..]` : `[${name}]`)).join(" ");
}

/** yargs keeps what follows `--` apart; here all words are dealt to the positionals in turn. */
function result(path: readonly Command[], values: Readonly<Record<string, unknown>>): Parsed {
  const positionals = path.at(-1)?.positionals ?? [];
  const textsOf = (name: string) => [values[name] ?? []].flat().map(String);
  const after = textsOf("_").slice(path.length - 1);
  const words = [...positionals.flatMap(({ name }) => textsOf(name)), ...textsOf(REST), ...after];
  const dealt: Record<string, unknown> = { ...values };
  for (const { name, type } of positionals) dealt[name] = type === "list" ? words.splice(0) : words.shift();
  return { path, values: dealt, extra: words };
}

function unexpected(path: readonly Command[], word: string): CliError {
  const command = path.at(-1)!;
  const name = nameOf(path);
  if (!command.commands) return new UsageError(`"${name}" does not take the argument ${JSON.stringify(word)}`);
  const names = command.commands.map((child) => child.name);
  return new UsageError(
    `unknown command ${JSON.stringify(word)} for "${name}"${didYouMean(word, names) || `; there is ${names.join(", ")}`}`,
  );
}

function nameOf(path: readonly Command[]): string {
  return path.map((command) => command.name).join(" ");
}

/** The deepest command that the arguments name, as it is typed. */
function helpFor(root: Command, argv: readonly string[]): string {
  const path: Command[] = [root];
  for (const word of argv) {
    const child = path.at(-1)?.commands?.find((command) => command.name === word);
    if (child) path.push(child);
  }
  return nameOf(path);
}
