/** No agent, or no datastore, for a while: the last state is enforced, and what is new stays closed until policy for it is in force. */
import { afterEach, expect, test } from "vitest";
import type { DataplaneName } from "../world.ts";
import { until } from "./agent.ts";
import { type Bed, PORT, SERVER, STRANGER } from "./bed.ts";

const NEW = "y/late";

export function absenceTests(bed: () => Bed, _dataplane: DataplaneName): void {
  afterEach(() => bed().endAll());
  test.for(["SIGTERM", "SIGKILL"] as const)(
    "ended by %s: what is enforced stays, and a new pod is closed until an agent is back",
    async (signal) => {
      const agent = await bed().start().ready();
      const before = await bed().enforced();
      const traffic = bed().guard();
      agent.signal(signal);
      expect(await agent.ended).toBe(signal === "SIGTERM" ? 0 : 128 + 9);
      expect(await bed().enforced()).toBe(before);

      await bed().attach(NEW);
      for (const version of [4, 6] as const) {
        expect(await bed().verdict(STRANGER, NEW, version), `IPv${version}`).toBe("deny");
        expect(await bed().verdict(NEW, STRANGER, version), `IPv${version}`).toBe("deny");
        expect(await bed().verdict(NEW, SERVER, version), `IPv${version}`).toBe("deny");
      }
      await bed().start().ready();
      await bed().becomes("allow", STRANGER, NEW);
      expect(await bed().verdict(NEW, STRANGER, 6)).toBe("allow");
      expect(await bed().verdict(NEW, SERVER)).toBe("deny");
      expect(await traffic.stop()).toEqual([]);
      await bed().detach(NEW);
    },
  );

  test("a pod that is deleted while no agent runs leaves nothing that the next one would keep", async () => {
    const agent = await bed().start().ready();
    const before = await bed().enforced();
    await bed().attach(NEW);
    await bed().becomes("allow", STRANGER, NEW);
    await agent.kill();
    await bed().detach(NEW);
    const next = await bed().start().ready();
    await until(
      async () => before === (await bed().enforced()),
      () => next.log(),
    );
  });

  test("an address that another pod gets: connections of the first are nobody's", async () => {
    await bed().start().ready();
    // ADD answers when all of its policy is in force: not one packet is lost after it.
    const { addresses } = await bed().attach(NEW, { policy_setup_timeout_seconds: 60 });
    await bed().becomes("allow", STRANGER, NEW);
    const known = async (): Promise<string> => bed().node.run(["conntrack", "-L", "--dst", addresses[4]]);
    const traffic = bed().guard([
      { from: STRANGER, to: NEW, version: 4, port: PORT + 1, expected: "allow", established: true },
    ]);
    await traffic.pass(5);
    expect(await traffic.stop()).toEqual([]);
    expect(await known()).toContain(addresses[4]);
    await bed().detach(NEW);
    await until(async () => !(await known()).includes(addresses[4]), known);
  });
}
