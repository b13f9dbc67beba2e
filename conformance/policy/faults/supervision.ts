/** `calico-node` without a command: one process that keeps another running. */
import { afterEach, beforeAll, expect, test } from "vitest";
import type { Agent } from "./agent.ts";
import { send, until } from "./agent.ts";
import { type Bed, SERVER, STRANGER } from "./bed.ts";

const SUPERVISOR = "calico-node";
const WORKER = "calico-node felix";
/** A chain or rule of Calico's in one of iptables' tables. */
const LEFTOVER = /"table":"(filter|nat|mangle|raw)".*cali-/;

export function supervisionTests(bed: () => Bed): void {
  // The first start of a node writes resources that felix begins anew for.
  beforeAll(async () => {
    await run();
    await bed().endAll();
  });
  afterEach(async () => {
    await bed().endAll();
    await bed().delete(configuration({}));
  });

  const run = async (): Promise<Agent> => {
    const agent = await bed()
      .start({ command: ["calico-node"], env: { CALICO_NETWORKING_BACKEND: "none", NO_DEFAULT_POOLS: "true" } })
      .ready();
    await until(
      () => agent.log().includes("node is prepared"),
      () => agent.log(),
    );
    // What another dataplane of an earlier test left goes in the background.
    await until(
      async () => !LEFTOVER.test(await bed().enforced()),
      () => agent.log(),
    );
    return agent;
  };
  const worker = (agent: Agent): number => {
    const [pid, ...more] = agent.pids(WORKER);
    expect(more).toEqual([]);
    return pid ?? 0;
  };

  test("felix is killed: it is started again, and what is enforced stays", async () => {
    const agent = await run();
    const before = await bed().enforced();
    const traffic = bed().guard();
    const first = worker(agent);
    send(first, "SIGKILL");
    await until(
      () => agent.pids(WORKER).some((pid) => pid !== first),
      () => agent.log(),
    );
    await agent.ready();
    expect(agent.log()).toMatch(/ended worker="felix" signal="SIGKILL"/);
    expect(await bed().enforced()).toBe(before);
    expect(await traffic.stop()).toEqual([]);
  });

  test("the supervisor is killed: felix ends, too, and what is enforced stays", async () => {
    const agent = await run();
    const before = await bed().enforced();
    const traffic = bed().guard();
    const felix = worker(agent);
    for (const pid of agent.pids(SUPERVISOR)) send(pid, "SIGKILL");
    await agent.ended;
    await until(
      () => !alive(felix),
      () => agent.log(),
    );
    expect(await bed().enforced()).toBe(before);
    await run();
    expect(await traffic.stop()).toEqual([]);
  });

  test("SIGTERM ends both", async () => {
    const agent = await run();
    const felix = worker(agent);
    for (const pid of agent.pids(SUPERVISOR)) send(pid, "SIGTERM");
    expect(await agent.ended).toBe(0);
    expect(alive(felix)).toBe(false);
  });

  test("a FelixConfiguration that needs a new start: felix ends with 129 and starts with it", async () => {
    const agent = await run();
    const traffic = bed().guard();
    const first = worker(agent);
    const toHost = async (): Promise<boolean> =>
      /cali-wl-to-host.*accept/.test((await bed().enforced()).replaceAll("\n", " "));
    const before = await bed().enforced();
    await bed().apply(configuration({ defaultEndpointToHostAction: "Accept" }, OF_THE_NODE));
    await until(
      () => agent.pids(WORKER).some((pid) => pid !== first),
      () => agent.log(),
    );
    await until(
      async () => before !== (await bed().enforced()),
      () => agent.log(),
    );
    expect(agent.log()).toMatch(/the configuration changed.*DefaultEndpointToHostAction/i);
    expect(agent.log()).toMatch(/starts anew, as it asked for/);
    expect(await toHost()).toBe(true);
    expect(await traffic.stop()).toEqual([]);
  });

  test("felix by itself ends with 129", async () => {
    const agent = await bed().start().ready();
    await bed().apply(configuration({ defaultEndpointToHostAction: "Return" }, OF_THE_NODE));
    expect(await agent.ended).toBe(129);
  });

  test("a configuration that cannot be used: at start it says what and ends; later it goes on with the one it has", async () => {
    const started = bed().start({ env: { FELIX_INTERFACEPREFIX: "not an interface" } });
    expect(await started.ended).toBe(1);
    expect(started.log()).toMatch(/\[ERROR\].*InterfacePrefix: "not an interface" in the environment/);

    const agent = await bed().start().ready();
    bed().store({
      "/calico/resources/v3/projectcalico.org/felixconfigurations/default": JSON.stringify({
        ...configuration({ interfacePrefix: "not an interface" }),
      }),
    });
    await until(
      () => /interfacePrefix/i.test(agent.log()),
      () => agent.log(),
    );
    expect(agent.hasEnded).toBe(false);
    await until(
      async () => (await agent.unready()) !== undefined,
      () => agent.log(),
    );
    expect(await bed().verdict(STRANGER, SERVER)).toBe("deny");
    await bed().apply(configuration({}));
    await until(
      async () => (await agent.unready()) === undefined,
      () => agent.log(),
    );
  });
}

const configuration = (spec: object, name = "default"): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "FelixConfiguration",
  metadata: { name },
  spec,
});

/** Start-up writes it, and it wins over what is set for all. */
const OF_THE_NODE = "node.node1";

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
