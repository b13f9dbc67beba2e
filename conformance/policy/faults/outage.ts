/** The datastore cannot be reached for a while: packets to it vanish, as they do when a network breaks. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { DIST } from "../../lab/index.ts";
import { until } from "./agent.ts";
import { Bed, FRIEND, SERVER, STRANGER } from "./bed.ts";

/** A stand-in for the minute; CALICO_FAULTS_SECONDS=60 makes it one. */
const SECONDS = Number(process.env.CALICO_FAULTS_SECONDS ?? 5);

export function outageTests(): void {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.create({ dataplane: "nftables", backend: "etcd" });
  });
  afterEach(() => bed.endAll());
  afterAll(() => bed?.dispose());

  /** Runs a command beside the datastore, where it can be reached still. */
  async function beside(command: readonly string[], stdin = ""): Promise<void> {
    const child = Bun.spawn(["nsenter", `--net=${bed.cluster.lab.underlayNamespace}`, "--", ...command], {
      env: { ...bed.cluster.env, PATH: process.env.PATH ?? "" },
      stdin: new TextEncoder().encode(stdin),
      stdout: "ignore",
      stderr: "pipe",
    });
    if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${await new Response(child.stderr).text()}`);
  }
  /** Both ways: what the datastore had to tell would arrive still, and only the answers be lost. */
  const cut = (verdict: string): Promise<void> =>
    beside(
      ["nft", "-f", "-"],
      `table inet cut {
        chain input { type filter hook input priority 0; iifname "br0" tcp dport 2379 ${verdict}; }
        chain output { type filter hook output priority 0; oifname "br0" tcp sport 2379 tcp flags & rst == 0 drop; }
      }`,
    );
  const mend = (): Promise<void> => beside(["nft", "delete", "table", "inet", "cut"]);
  const change = (...items: object[]): Promise<void> =>
    beside(
      [`${process.env.CALICO_DIST ?? DIST}/calicoctl`, "apply", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    );
  const closed = (ingress: readonly object[]): object => ({
    apiVersion: "projectcalico.org/v3",
    kind: "GlobalNetworkPolicy",
    metadata: { name: "friend" },
    spec: { selector: "role == 'friend'", types: ["Ingress"], ingress },
  });

  test.for(["drop", "reject with tcp reset"])(
    "%s: the last state holds, also for an agent that starts meanwhile, and what changed arrives afterwards",
    async (verdict) => {
      const agent = await bed.start().ready();
      const before = await bed.enforced();
      const traffic = bed.guard();
      await cut(verdict);
      try {
        await change(closed([]));
        for (const end = performance.now() + SECONDS * 1_000; performance.now() < end; await traffic.pass(20)) {
          expect(traffic.leaks).toEqual([]);
          expect(agent.hasEnded).toBe(false);
        }
        expect(await bed.enforced()).toBe(before);
        expect(await traffic.stop()).toEqual([]);
      } finally {
        await mend();
      }
      await bed.becomes("deny", STRANGER, FRIEND, 60_000);
      await change(closed([{ action: "Allow" }]));
      await bed.becomes("allow", STRANGER, FRIEND, 60_000);
      await agent.kill();

      const guard = bed.guard();
      await cut(verdict);
      const blind = bed.start();
      try {
        await until(
          async () => (await blind.unready()) !== undefined,
          () => blind.log(),
        );
        await guard.pass(200);
        expect(await blind.unready()).toBeDefined();
        expect(blind.hasEnded).toBe(false);
      } finally {
        await mend();
      }
      await until(
        async () => (await blind.unready()) === undefined,
        () => blind.log(),
        60_000,
      );
      expect(await guard.stop()).toEqual([]);
      expect(await bed.verdict(STRANGER, SERVER)).toBe("deny");
      await bed.delete(closed([]));
    },
  );
}
