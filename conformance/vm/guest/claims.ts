/**
 * What a program in the virtual machine finds out, claim by claim, for the test file outside that started it. A test runner would take longer to
 * start there than all the rest takes.
 */

/** One line of JSON on standard output: what did not hold is said in `error`. */
export interface Finding {
  readonly claim: string;
  readonly error?: string;
  readonly seconds: number;
}

export async function claim(name: string, holds: () => Promise<void>): Promise<void> {
  const started = performance.now();
  let error: string | undefined;
  try {
    await holds();
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const finding: Finding = { claim: name, ...(error === undefined ? {} : { error }), seconds };
  console.log(JSON.stringify(finding));
}

export function findings(stdout: string): ReadonlyMap<string, Finding> {
  const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
  return new Map(lines.map((line) => JSON.parse(line) as Finding).map((finding) => [finding.claim, finding]));
}
