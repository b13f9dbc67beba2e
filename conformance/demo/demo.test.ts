import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CHECKOUT, hostNetwork, missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";

/** Runs the demo, without a terminal; `onOutput` sees all that it has said so far. */
async function demo(args: readonly string[] = [], onOutput?: (said: string, interrupt: () => void) => void) {
  const child = Bun.spawn([process.execPath, join(CHECKOUT, "conformance/demo/demo.ts"), ...args], {
    env: { PATH: process.env.PATH },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let said = "";
  for await (const chunk of child.stdout) {
    said += new TextDecoder().decode(chunk);
    onOutput?.(said, () => child.kill("SIGINT"));
  }
  await child.exited;
  const left = readdirSync(tmpdir()).filter((name) => name.startsWith(`calico-lab-${child.pid}-`));
  return {
    status: child.exitCode,
    signal: child.signalCode,
    said,
    stderr: await new Response(child.stderr).text(),
    left,
  };
}

describeLab(
  "demo",
  () => {
    test("shows the main job, plainly where there is no terminal, and leaves the machine as it was", async () => {
      const before = await hostNetwork();
      const { said, ...ended } = await demo();
      expect(ended, said).toEqual({ status: 0, signal: null, stderr: "", left: [] });
      for (const line of [
        /1\. Three nodes/,
        /Successfully created 1 'IPPool' resource/,
        /✓ node3 {2}db-1 +10\.48\.\d+\.\d+ +eth0 in the pod, cali[0-9a-f]{11} on the node/,
        /\| Block +\| 10\.48\./,
        /node1 \$ calicoctl node status\n[^$]*\| 172\.31\.0\.12 +\| node-to-node mesh \| up +\| [\d:]+ \| Established \|/,
        /10\.48\.\S+ via 172\.31\.0\.13 dev eth0/,
        /✓ web-1 +→ cart-1 +10\.48\.\S+ +[\d.]+ ms +node1 to node2/,
        /60 pings sent, 60 answered/,
        /172\.31\.0\.11 \(node1\): OPEN rejected by 172\.31\.0\.11: bad peer AS \(2\/2\)/,
        /✓ and the session of node1 and node2 is up again/,
        /✓ web-1 +→ db-1 +10\.48\.\S+ +silence/,
        /DENIED {2}ICMP type 8 code 0 {2}10\.48\.\S+ -> 10\.48\.\S+/,
        /ALLOWED by Kubernetes NetworkPolicy shop\/only-the-cart, ingress\[0\]/,
        /✓ no rule of a pod in any node's kernel/,
        /✓ no address in use/,
        /✓ the nodes are gone/,
        /All of it in [\d.]+ s\./,
      ]) {
        expect(said).toMatch(line);
      }
      expect(said).not.toContain("\u001b");
      expect(await hostNetwork()).toEqual(before);
    });

    test("Ctrl-C takes everything down", async () => {
      const before = await hostNetwork();
      const { said, signal, left } = await demo([], (soFar, interrupt) => {
        if (soFar.includes("cart-1") && !soFar.includes("Interrupted")) interrupt();
      });
      expect(said).toContain("Interrupted");
      expect(said).not.toContain("All of it");
      expect({ signal, left }).toEqual({ signal: "SIGINT", left: [] });
      expect(await hostNetwork()).toEqual(before);
    });

    test("a step that fails is named and makes the exit status", async () => {
      const { said, status, left } = await demo(["/nonexistent"]);
      expect(said).toMatch(/✗ node1: calicoctl create/);
      expect(said).toMatch(/The demo failed/);
      expect({ status, left }).toEqual({ status: 1, left: [] });
    });
  },
  missingBuild() ?? missingTool("ping"),
);
