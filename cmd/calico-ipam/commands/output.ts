import { type Call, CliError, type Option } from "../../../lib/cli/index.ts";

/** `-o json` on every command: what the tables say, for programs. Counts beyond 2^53 are exact. */
export const JSON_OPTION: Readonly<Record<string, Option>> = {
  output: { type: "text", short: "o", value: "FORMAT", summary: "Print json instead of text." },
};

/** Whether `-o json` was given; another format is refused. */
export function wantsJson(call: Call): boolean {
  const format = call.args.text("output");
  if (format !== undefined && format !== "json") {
    throw new CliError("USAGE", `unrecognized output format '${format}': there is json, and text without -o`);
  }
  return format === "json";
}
