/** An agent in the place of another: what is right is left alone, also when the new one enforces by other means. */
import { afterEach, expect, test } from "vitest";
import { DATAPLANE_ENVIRONMENT } from "../felix.ts";
import { DATAPLANES, type DataplaneName } from "../world.ts";
import { until } from "./agent.ts";
import { type Bed, FRIEND, SERVER, STRANGER } from "./bed.ts";
import { Connection } from "./connection.ts";
import { enforced, identities, packets } from "./kernel.ts";

const TCP_PORT = 7_000;

export function takeoverTests(bed: () => Bed, dataplane: DataplaneName): void {
  afterEach(() => bed().endAll());

  const connect = (): Promise<Connection> =>
    Connection.open(bed().places.get(FRIEND)!, bed().places.get(SERVER)!, TCP_PORT);

  test("a new agent makes nothing anew, and what is established goes on", async () => {
    const first = await bed().start().ready();
    const traffic = bed().guard();
    const connection = await connect();
    try {
      await connection.answers();
      const before = await bed().enforced();
      const made = await identities(bed().node);
      const counted = dataplane === "nftables" ? new Map<string, number>() : await packets(bed().node, dataplane);
      await first.stop();
      const second = await bed().start().ready();
      await until(
        () => second.log().includes("policy is in force"),
        () => second.log(),
      );
      expect(second.log()).toMatch(/policy is in force.* commands=0\b/);
      expect(await bed().enforced()).toBe(before);
      if (dataplane === "nftables") expect(await identities(bed().node)).toBe(made);
      else {
        const now = await packets(bed().node, dataplane);
        const anew = [...counted].filter(([rule, count]) => (now.get(rule) ?? -1) < count);
        expect(anew).toEqual([]);
      }
      await connection.answers();
      expect(await traffic.stop()).toEqual([]);
    } finally {
      connection.close();
    }
  });

  test("two of them: the second waits, says so, and takes over when the first ends", async () => {
    const first = await bed().start().ready();
    const traffic = bed().guard();
    const second = bed().start();
    await until(
      () => /waits: another calico-node felix runs/.test(second.log()),
      () => second.log(),
    );
    expect(second.log()).toContain("/var/run/calico/felix.lock");
    expect(second.log()).not.toContain("in sync");
    await first.kill();
    await second.ready();
    expect(await traffic.stop()).toEqual([]);
  });
}

/** From each way to enforce to each other. */
export function changeOfDataplaneTests(bed: () => Bed): void {
  afterEach(() => bed().endAll());

  test.for(DATAPLANES.flatMap((from) => DATAPLANES.filter((to) => to !== from).map((to) => [from, to] as const)))(
    "%s, then %s",
    async ([from, to]) => {
      const first = await bed().start({ env: DATAPLANE_ENVIRONMENT[from] }).ready();
      await until(
        async () => !(await leftovers(bed(), from)),
        () => first.log(),
      );
      const traffic = bed().guard();
      const connection = await Connection.open(bed().places.get(FRIEND)!, bed().places.get(SERVER)!, TCP_PORT);
      try {
        await connection.answers();
        await first.stop();
        const second = await bed().start({ env: DATAPLANE_ENVIRONMENT[to] }).ready();
        await until(
          async () => (await leftovers(bed(), to)) === undefined,
          async () => `${await leftovers(bed(), to)}\n${second.log()}`,
        );
        await traffic.pass(5);
        await connection.answers();
        expect(second.log()).toContain(`dataplane="${to}"`);
        // An allowed packet may meet nftables' chains while the kernel takes them away one by one; none that is denied may pass.
        expect(traffic.leaks).toEqual([]);
        expect(await bed().verdict(STRANGER, SERVER)).toBe("deny");
      } finally {
        connection.close();
      }
    },
  );
}

/** What others than the dataplane in use have in the kernel. */
async function leftovers({ node }: Bed, inUse: DataplaneName): Promise<string | undefined> {
  const found: string[] = [];
  for (const other of DATAPLANES.filter((one) => one !== inUse)) {
    const text = await enforced(node, other);
    const lines = text
      .split("\n")
      .filter((line) => (other === "nftables" ? /"table":"calico"/.test(line) : /cali/.test(line)));
    // Both kinds of iptables use the same sets; and what iptables-nft has is in nftables, too, under other names.
    const rest = lines.filter(
      (line) => other === "nftables" || inUse === "nftables" || !/^(create|add) cali/.test(line),
    );
    if (rest.length > 0) found.push(`${other}: ${rest.slice(0, 5).join("\n")}`);
  }
  return found.length > 0 ? found.join("\n") : undefined;
}
