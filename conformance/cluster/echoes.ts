/** Echo requests from a pod to many addresses, all the time: see {@link file://./echo.ts}. */
import { fileURLToPath } from "node:url";
import type { PodObject } from "./cluster.ts";
import type { ClusterNode } from "./node.ts";

export interface Echoes {
  /** Every address that has answered at least once. */
  readonly heard: ReadonlySet<string>;
  /** Answers how often all were asked, and the longest time between two rounds in milliseconds. Throws when that has ended before. */
  stop(): Promise<{ readonly rounds: number; readonly longestPause: number }>;
}

/** From the network namespace of a pod of this node, to single addresses or networks. */
export function startEchoes(node: ClusterNode, pod: PodObject, targets: readonly string[]): Echoes {
  const [pid] = node.processes(pod.metadata.uid);
  if (pid === undefined) throw new Error(`${pod.metadata.name} has no process on ${node.name}`);
  const program = [process.execPath, fileURLToPath(new URL("echo.ts", import.meta.url)), ...targets];
  const child = Bun.spawn(
    ["nsenter", `--target=${pid}`, "--net", "--", "setpriv", "--pdeathsig=KILL", "--", ...program],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  const heard = new Set<string>();
  let end: readonly string[] | undefined;
  const reading = (async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const [word = "", ...more] = line.split(" ");
        if (word === "end") end = more;
        else heard.add(word);
      }
    }
  })();
  return {
    heard,
    async stop() {
      await child.stdin.end();
      await reading;
      if (end === undefined) throw new Error("the program that asks for echoes has ended before its time");
      return { rounds: Number(end[0]), longestPause: Number(end[1]) };
    },
  };
}
