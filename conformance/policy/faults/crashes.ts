/**
 * kill -9 of the agent while it changes the kernel, and then a new one: in between and afterwards nothing passes that must not, and what is enforced in
 * the end is what an agent enforces that finds nothing.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { DataplaneName } from "../world.ts";
import { send, until } from "./agent.ts";
import { type Bed, GUARDED, serverPolicy } from "./bed.ts";
import { enforced, wipe } from "./kernel.ts";
import { difference } from "./repairs.ts";

/** Two states of the datastore that have much to change between them: rules before and after those that decide, sets, chains. */
const SETS = 12;
const MEMBERS = 150;
const states = {
  few: (): object[] => [serverPolicy()],
  many: (): object[] => [
    serverPolicy(Array.from({ length: 30 }, (_, index) => allowTcp(1_000 + index))),
    ...Array.from({ length: SETS }, (_, index) => networkSet(index)),
    ...Array.from({ length: SETS }, (_, index) => policyOfSet(index)),
  ],
};
type State = keyof typeof states;

const allowTcp = (port: number): object => ({ action: "Allow", protocol: "TCP", destination: { ports: [port] } });

const networkSet = (index: number): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "GlobalNetworkSet",
  metadata: { name: `set-${index}`, labels: { set: `set-${index}` } },
  spec: { nets: Array.from({ length: MEMBERS }, (_, member) => `198.18.${index}.${member}/32`) },
});

/** Comes before the server's own policy, and leaves to it what it does not name. */
const policyOfSet = (index: number): object => {
  const rule = (end: string): object => ({ action: "Deny", [end]: { selector: `set == 'set-${index}'` } });
  const spec =
    index % 2 === 0
      ? { selector: "role == 'server'", types: ["Ingress"], ingress: [rule("source")] }
      : { selector: "role != 'server'", types: ["Egress"], egress: [rule("destination"), { action: "Allow" }] };
  return {
    apiVersion: "projectcalico.org/v3",
    kind: "GlobalNetworkPolicy",
    metadata: { name: `of-set-${index}` },
    spec: { order: index, ...spec },
  };
};

/** Moments, in milliseconds after the change is in the datastore. */
const MOMENTS = [0, 6, 15, 35];
/** Calls of the agent with which it asks the kernel for something, or changes it; one in so many is its last. */
const MOST_CALLS = 400;

export function crashTests(bed: () => Bed, dataplane: DataplaneName): void {
  afterEach(() => bed().endAll());
  const references = new Map<State, string>();

  /** Makes the datastore say it. */
  async function put(state: State): Promise<void> {
    if (state === "few") await bed().delete(...states.many().slice(1));
    await bed().apply(...states[state]());
  }

  beforeAll(async () => {
    for (const state of ["many", "few"] as const) {
      await put(state);
      await wipe(bed().node, dataplane);
      const agent = await bed().start().ready();
      references.set(state, await bed().enforced());
      await agent.kill();
    }
  });

  afterAll(() => put("few"));

  async function converges(state: State, when: string): Promise<void> {
    const agent = await bed().start().ready();
    const reference = references.get(state)!;
    await until(
      async () => reference === (await enforced(bed().node, dataplane)),
      async () => `${when}: ${difference(reference, await bed().enforced())}\n${agent.log().slice(-3_000)}`,
    );
    await agent.kill();
  }

  test("at any moment of a change", async () => {
    const traffic = bed().guard(GUARDED);
    let state: State = "few";
    for (const moment of MOMENTS) {
      const agent = await bed().start().ready();
      state = state === "few" ? "many" : "few";
      await put(state);
      await Bun.sleep(moment);
      await agent.kill();
      await traffic.pass(3);
      expect(traffic.leaks, `${moment} ms after a change`).toEqual([]);
      await converges(state, `${moment} ms after a change`);
    }
    expect(await traffic.stop()).toEqual([]);
  });

  if (dataplane === "nftables") strace();
  else tools();

  /** The Nth message to the kernel is not sent any more. */
  function strace(): void {
    test("before any message to the kernel, while it takes over what it finds", async () => {
      const traffic = bed().guard();
      let state: State = "few";
      await put(state);
      await converges(state, "at first");
      let last = 0;
      for (let n = 1; n < MOST_CALLS; n = Math.ceil(n * 2)) {
        state = state === "few" ? "many" : "few";
        await put(state);
        const prefix = ["strace", "--follow-forks", "--quiet=all", "--output=/dev/null"];
        const inject = ["--trace=sendto", `--inject=sendto:signal=KILL:when=${n}`];
        const agent = bed().start({ prefix: [...prefix, ...inject] });
        const when = `before message ${n}`;
        await until(
          async () => agent.hasEnded || (await agent.unready()) === undefined,
          () => agent.log(),
          60_000,
        );
        const survived = !agent.hasEnded;
        await agent.kill();
        await traffic.pass(3);
        expect(traffic.leaks, when).toEqual([]);
        await converges(state, when);
        if (survived) break;
        last = n;
      }
      expect(last).toBeGreaterThan(10);
      expect(await traffic.stop()).toEqual([]);
    });
  }

  /** The agent ends while a tool of its own changes the kernel, and the tool may end with it or not. */
  function tools(): void {
    test.for([
      ["the agent alone", false],
      ["the agent and the tool", true],
    ] as const)("while a tool is at work: %s", async ([, both]) => {
      const traffic = bed().guard();
      let state: State = "few";
      const met = new Set<string>();
      await put(state);
      await converges(state, "at first");
      for (let nth = 1; nth <= 3; nth++) {
        state = state === "few" ? "many" : "few";
        await put(state);
        const agent = bed().start();
        const seen = new Set<number>();
        const when = `while tool ${nth} worked`;
        for (const deadline = performance.now() + 30_000; performance.now() < deadline; await Bun.sleep(1)) {
          const working = agent.tools().filter(({ command }) => /restore/.test(command));
          for (const { pid } of working) seen.add(pid);
          if (seen.size < nth && !agent.log().includes("policy is in force")) continue;
          for (const { command } of working) met.add(command);
          agent.signal("SIGKILL");
          if (both) for (const { pid } of working) send(pid, "SIGKILL");
          break;
        }
        await agent.kill();
        await traffic.pass(3);
        expect(traffic.leaks, when).toEqual([]);
        await converges(state, when);
      }
      expect([...met].join()).toMatch(/restore/);
      expect(await traffic.stop()).toEqual([]);
    });
  }
}
