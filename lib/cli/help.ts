import type { Command, Option } from "./program.ts";

/** The help of the last command of a path, in the order people read: what it is for, how it is written, examples, the rest. */
export function helpText(path: readonly Command[]): string {
  const command = path.at(-1)!;
  const name = path.map((step) => step.name).join(" ");
  const own = entries(command.options);
  const inherited = path.slice(0, -1).flatMap((step) => entries(step.options));
  const usage = [name, command.usage ?? (command.commands ? "COMMAND" : undefined), "[flags]"]
    .filter(Boolean)
    .join(" ");
  const sections = [
    command.description ?? command.summary,
    `Usage:\n  ${usage}`,
    section(
      "Examples",
      (command.examples ?? [])
        .map((example) => `  # ${example.comment}\n  ${line(path[0]!.name, example.line)}`)
        .join("\n\n"),
    ),
    section(
      "Commands",
      pairs((command.commands ?? []).filter(({ hidden }) => !hidden).map((child) => [child.name, child.summary])),
    ),
    section("Flags", pairs(own)),
    section("Global flags", pairs(inherited)),
    command.commands ? `Run '${name} COMMAND --help' for more about a command.` : "",
  ];
  return `${sections.filter((text) => text !== "").join("\n\n")}\n`;
}

/** Examples that pipe into the program write its name themselves. */
function line(program: string, text: string): string {
  return text.includes("$0") ? text.replaceAll("$0", program) : `${program} ${text}`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `${title}:\n${body}`;
}

function entries(options: Command["options"]): [string, string][] {
  return Object.entries(options ?? {})
    .filter(([, option]) => !option.hidden)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, option]) => [flag(name, option), describe(option)]);
}

function flag(name: string, option: Option): string {
  const short = option.short ? `-${option.short}, ` : "    ";
  const value = option.type === "boolean" ? "" : ` ${option.value ?? "TEXT"}`;
  return `${short}--${name}${value}`;
}

function describe(option: Option): string {
  return option.default === undefined ? option.summary : `${option.summary} (default ${option.default})`;
}

const WIDTH = 100;

/** Two columns; what does not fit into the second one goes on below itself. */
function pairs(rows: readonly (readonly [string, string])[]): string {
  const left = Math.max(0, ...rows.map(([term]) => term.length)) + 2;
  return rows
    .map(([term, text]) => {
      const lines = wrap(text, Math.max(30, WIDTH - left - 4));
      const indent = " ".repeat(left + 2);
      return `  ${term.padEnd(left)}${lines.join(`\n${indent}`)}`;
    })
    .join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(" ")) {
    if (current !== "" && current.length + 1 + word.length > width) {
      lines.push(current);
      current = word;
    } else {
      current = current === "" ? word : `${current} ${word}`;
    }
  }
  return [...lines, current];
}
