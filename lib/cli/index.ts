/**
 * What every command line of the project shares, and nothing about Calico: a program is data (commands, options,
 * examples), {@link runProgram} turns arguments into one call and errors into one clear message and an exit status.
 * Around it are the pure parts: boxed tables and plain columns laid out exactly as upstream's tools do, because scripts
 * parse them; numbers as Go prints them; YAML and JSON documents read with their position, for messages that say where.
 *
 * arguments -> argv (pflag's forms) -> yargs (which command, which values) -> Command.run -> Io
 */
export { type ApiConfig, parseApiConfig } from "./api-config.ts";
export { type ColumnsOptions, columns } from "./columns.ts";
export { type Document, describeDocument, readDocuments } from "./documents.ts";
export { CliError, failureText, UsageError } from "./errors.ts";
export { type Io, processIo, type Sink } from "./io.ts";
export { fiveDigits, wholePercent } from "./numbers.ts";
export { toJson, toYaml } from "./output.ts";
export {
  Args,
  type Call,
  type Command,
  type Env,
  type Example,
  type Option,
  type Positional,
  type Program,
  runProgram,
} from "./program.ts";
export { collectSources, type Source } from "./sources.ts";
export { type Style, styleFor } from "./style.ts";
export { didYouMean, nearest } from "./suggest.ts";
export { type Cell, type TableOptions, table } from "./table.ts";
export { type UsageRow, usageTable } from "./usage-table.ts";
