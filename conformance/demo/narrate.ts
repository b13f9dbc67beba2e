/** What the demo says to the person who watches it. Colour only where there is a terminal that wants it. */
export interface Narrator {
  /** Begins a part. */
  part(title: string): void;
  /** What is about to happen, or why. */
  explain(...lines: string[]): void;
  /** A command as one would type it. */
  command(where: string, text: string): void;
  /** What came of it; many lines are indented as they are. */
  outcome(text: string): void;
  good(text: string): void;
  bad(text: string): void;
}

export function narrator(write: (text: string) => void, colour: boolean): Narrator {
  const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const [bold, dim, red, green, cyan] = [1, 2, 31, 32, 36] as const;
  const indent = (text: string): string => text.trimEnd().replaceAll(/^(?=.)/gm, "    ");
  let parts = 0;
  return {
    part: (title) => write(`\n${paint(bold, `${++parts}. ${title}`)}\n`),
    explain: (...lines) => write(lines.map((line) => `  ${line}\n`).join("")),
    command: (where, text) => write(`  ${paint(cyan, `${where} $`)} ${text}\n`),
    outcome: (text) => write(`${paint(dim, indent(text))}\n`),
    good: (text) => write(`  ${paint(green, "✓")} ${text}\n`),
    bad: (text) => write(`  ${paint(red, `✗ ${text}`)}\n`),
  };
}

/** Whether the process's output is a terminal that wants colour (https://no-color.org). */
export function wantsColour(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
