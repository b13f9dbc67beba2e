import type { Sink } from "./io.ts";

/** Adds emphasis where the output can show it; returns text unchanged where it cannot. */
export interface Style {
  readonly enabled: boolean;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  green(text: string): string;
}

/** Colour only on a terminal that has it, and never when NO_COLOR is set (https://no-color.org). */
export function styleFor(sink: Sink, env: Readonly<Record<string, string | undefined>>): Style {
  const enabled = sink.isTerminal && !env.NO_COLOR && env.TERM !== "dumb";
  const sgr = (on: number, off: number) => (text: string) => (enabled ? `\x1b[${on}m${text}\x1b[${off}m` : text);
  return {
    enabled,
    bold: sgr(1, 22),
    dim: sgr(2, 22),
    red: sgr(31, 39),
    yellow: sgr(33, 39),
    green: sgr(32, 39),
  };
}
