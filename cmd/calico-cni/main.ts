import { CniError, errorCode, formatError, SUPPORTED_VERSIONS } from "../../lib/cni/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";
import { runAndEnd } from "./run.ts";
import { readStdin, writeStdout } from "./stdio.ts";

const HELP = `Calico CNI plugin ${VERSION}
CNI protocol versions supported: ${SUPPORTED_VERSIONS.join(", ")}

A container runtime calls it with CNI_COMMAND and the other CNI_ variables set, and the network configuration on stdin.
  -v   print the version
  -t   test the connection to the datastore that the network configuration on stdin names
`;

/** The CNI plugin, installed as /opt/cni/bin/calico. Answers with the exit status. */
export async function main(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const [flag, ...more] = args;
  if (flag === undefined) {
    if (!env.CNI_COMMAND && process.stdin.isTTY) return print(HELP);
    return runAndEnd(() => import("./verbs.ts"), env);
  }
  if (more.length === 0) {
    switch (flag) {
      case "-v":
      case "--version":
        return print(`${VERSION}\n`);
      case "-h":
      case "--help":
        return print(HELP);
      case "-t": {
        const { testConnection } = await import("./test-connection.ts");
        const failure = await testConnection(await readStdin(), env);
        if (failure) writeStdout(formatError(failure, "1.1.0"));
        return failure ? 1 : 0;
      }
    }
  }
  const wrong = new CniError(
    errorCode.usage,
    "failed to parse CLI flags",
    `"${args.join(" ")}" is not understood: -v, -t or nothing`,
  );
  writeStdout(formatError(wrong, "1.1.0"));
  return 1;
}

function print(text: string): number {
  writeStdout(text);
  return 0;
}
