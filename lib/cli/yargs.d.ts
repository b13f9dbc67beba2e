/** The part of yargs that lib/cli uses; yargs 18 ships no types. */
declare module "yargs" {
  interface OptionSpec {
    readonly type: "string" | "boolean" | "array";
    readonly string?: true;
    readonly alias?: string;
  }
  interface CommandSpec {
    readonly command: string;
    builder(parser: Argv): Argv;
    handler(values: Readonly<Record<string, unknown>>): void;
  }
  interface Argv {
    scriptName(name: string): this;
    exitProcess(exit: boolean): this;
    help(enable: false): this;
    version(enable: false): this;
    locale(name: string): this;
    detectLocale(detect: boolean): this;
    showHelpOnFail(show: boolean): this;
    parserConfiguration(settings: Readonly<Record<string, boolean>>): this;
    strictOptions(): this;
    option(name: string, spec: OptionSpec): this;
    positional(name: string, spec: { readonly type: "string"; readonly array?: boolean }): this;
    command(spec: CommandSpec): this;
    fail(report: (message: string | null, error: Error | undefined) => void): this;
    parse(args: readonly string[]): unknown;
  }
  export default function yargs(): Argv;
}
