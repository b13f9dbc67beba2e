import { describe, expect, test } from "vitest";
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { Node } from "../../api/node.ts";
import { Profile } from "../../api/profile.ts";
import { RESOURCES } from "../keys.ts";
import { affinity, block, type Context, codeOf, type KeyValueContext, pool, touched, Watcher } from "./support.ts";

const POOL = IPPool as unknown as Kind;

/** Watches: what they tell, and what they survive. */
export function watchTests(on: Context): void {
  describe("watches", () => {
    test("tell what is there, then every change", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      const watcher = new Watcher(on.client, IPPool);
      await watcher.count(2);
      const writer = await on.another();
      const b = await writer.create(IPPool, pool("b", "10.1.0.0/16"));
      await on.client.update(IPPool, touched(b));
      await writer.create(IPAMHandle, newIPAMHandle("other", {}));
      await writer.delete(IPPool, { name: "a" });
      expect(await watcher.count(5)).toEqual(["added a", "synced", "added b", "modified b", "deleted a"]);
      const last = watcher.events.at(-1)!;
      expect(last.type === "deleted" && last.resource.spec.cidr).toBe("10.0.0.0/16");
      await watcher.stop();
    });

    test("resume at a revision, and tell deletions of the time between", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      await on.client.create(IPPool, pool("gone", "10.1.0.0/16"));
      const { revision } = await on.client.list(IPPool);
      await on.client.create(IPPool, pool("b", "10.2.0.0/16"));
      await on.client.delete(IPPool, { name: "gone" });
      await on.client.update(IPPool, touched((await on.client.get(IPPool, { name: "a" }))!));
      await on.client.create(IPPool, pool("brief", "10.3.0.0/16"));
      await on.client.delete(IPPool, { name: "brief" });
      const watcher = new Watcher(on.client, IPPool, { from: revision });
      expect(await watcher.count(5)).toEqual(["added b", "deleted gone", "modified a", "added brief", "deleted brief"]);
      const at = watcher.events[1]!.revision;
      const second = new Watcher(on.client, IPPool, { from: at });
      expect(await second.count(3)).toEqual(["modified a", "added brief", "deleted brief"]);
      await Promise.all([watcher.stop(), second.stop()]);
    });

    test("list again when their revision was compacted", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      const { revision } = await on.client.list(IPPool);
      await on.client.create(IPPool, pool("b", "10.1.0.0/16"));
      await on.client.update(IPPool, touched((await on.client.get(IPPool, { name: "a" }))!));
      await on.subject.compact();
      const watcher = new Watcher(on.client, IPPool, { from: revision });
      const told = await watcher.until((events) => events.includes("synced"));
      // What was there before the revision may be told as added: it is to a store that has forgotten what was there.
      expect(
        told
          .slice(0, 2)
          .map((event) => event.replace("added a", "modified a"))
          .sort(),
      ).toEqual(["added b", "modified a"]);
      await on.client.delete(IPPool, { name: "b" });
      expect((await watcher.count(4)).slice(2)).toEqual(["synced", "deleted b"]);
      await watcher.stop();
    });

    test("survive compaction while they run", async () => {
      await on.clear();
      const watcher = new Watcher(on.client, IPPool);
      await watcher.count(1);
      for (let i = 0; i < 3; i++) {
        await on.client.create(IPPool, pool(`p${i}`, `10.${i}.0.0/16`));
        await on.subject.compact();
      }
      await watcher.until((told) => ["added p0", "added p1", "added p2"].every((event) => told.includes(event)));
      await watcher.stop();
    });

    test("report what cannot be read, and go on", async () => {
      await on.clear();
      const watcher = new Watcher(on.client, IPPool);
      await watcher.count(1);
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      const key = await on.subject.spoil(POOL, "a");
      await watcher.until((told) => told.some((event) => event.startsWith("invalid")));
      await on.client.create(IPPool, pool("b", "10.1.0.0/16"));
      await on.subject.unspoil(POOL, "a");
      expect(await watcher.count(5)).toEqual(["synced", "added a", `invalid ${key}`, "added b", "deleted a"]);
      await on.subject.spoil(POOL, "a");
      const late = new Watcher(on.client, IPPool);
      await late.until((told) => told.includes("synced"));
      expect(late.told().sort()).toEqual(["added b", `invalid ${key}`, "synced"]);
      await Promise.all([watcher.stop(), late.stop()]);
      await on.subject.unspoil(POOL, "a");
    });

    test("of an index tell who enters and who leaves", async () => {
      await on.clear();
      const watcher = new Watcher(on.client, IPAMBlock, { index: { node: "n1" } });
      const hosts = new Watcher(on.client, BlockAffinity, { index: { node: "n1" } });
      await Promise.all([watcher.count(1), hosts.count(1)]);
      const moving = await on.client.create(IPAMBlock, block("10.0.0.0/30", "host:n2"));
      const here = await on.client.update(IPAMBlock, { ...moving, spec: { ...moving.spec, affinity: "host:n1" } });
      const again = { ...here.spec, sequenceNumber: here.spec.sequenceNumber + 1n };
      const still = await on.client.update(IPAMBlock, { ...here, spec: again });
      await on.client.update(IPAMBlock, { ...still, spec: { ...still.spec, affinity: "host:n3" } });
      const name = moving.metadata.name;
      expect(await watcher.count(4)).toEqual(["synced", `added ${name}`, `modified ${name}`, `deleted ${name}`]);
      await on.client.create(BlockAffinity, affinity("n2", "10.0.9.0/30"));
      await on.client.create(BlockAffinity, affinity("n1", "10.0.0.0/30", "virtual"));
      const made = await on.client.create(BlockAffinity, affinity("n1", "10.0.1.0/30"));
      await on.client.update(BlockAffinity, { ...made, spec: { ...made.spec, deleted: true } });
      expect(await hosts.count(4)).toEqual([
        "synced",
        "added n1-10-0-0-0-30",
        "added n1-10-0-1-0-30",
        "deleted n1-10-0-1-0-30",
      ]);
      await Promise.all([watcher.stop(), hosts.stop()]);
    });

    test("that are shared tell each follower everything, in order, and go on when one leaves", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      const first = new Watcher(on.client, IPPool, { shared: true });
      await first.count(2);
      const b = await on.client.create(IPPool, pool("b", "10.1.0.0/16"));
      await first.count(3);
      const second = new Watcher(on.client, IPPool, { shared: true });
      const [, , synced] = await second.count(3);
      expect([...second.told().slice(0, 2).sort(), synced]).toEqual(["added a", "added b", "synced"]);
      await on.client.update(IPPool, touched(b));
      await on.client.delete(IPPool, { name: "a" });
      await first.count(5);
      await first.stop();
      await on.client.create(IPPool, pool("c", "10.2.0.0/16"));
      expect((await second.count(6)).slice(3)).toEqual(["modified b", "deleted a", "added c"]);
      expect(first.told().slice(3)).toEqual(["modified b", "deleted a"]);
      await second.stop();
    });

    test("end when they are told to, also when nobody reads them", async () => {
      const abort = new AbortController();
      const events = on.client.watch(IPPool, { signal: abort.signal })[Symbol.asyncIterator]();
      abort.abort();
      for (let next = await events.next(); !next.done; next = await events.next());
      for await (const event of on.client.watch(IPPool)) if (event.type === "synced") break;
    });

    test("refuse a revision that is none", async () => {
      const events = on.client.watch(IPPool, { from: "later" })[Symbol.asyncIterator]();
      expect(await codeOf(events.next())).toBe("INVALID");
    });

    test("survive a restart of the server, and tell what was deleted meanwhile", async ({ skip }) => {
      if (!on.subject.restart) return skip("has no server");
      await on.clear();
      await on.client.create(IPPool, pool("a", "10.0.0.0/16"));
      const watcher = new Watcher(on.client, IPPool);
      await watcher.count(2);
      await on.subject.restart();
      await on.client.create(IPPool, pool("b", "10.1.0.0/16"));
      await on.client.delete(IPPool, { name: "a" });
      const [first, ...then] = await watcher.until((told) => told.includes("deleted a"));
      // Where it had to list again it says when it was done.
      expect([first, ...then.filter((event) => event !== "synced")]).toEqual(["added a", "added b", "deleted a"]);
      await watcher.stop();
    });
  });
}

/** The same where keys and texts can be seen. */
export function keyWatchTests(on: KeyValueContext): void {
  test("a watch of one Node tells of no other", async () => {
    await on.clear();
    const { apiVersion } = Node;
    const node = (name: string) => ({ apiVersion, kind: "Node" as const, metadata: { name }, spec: {} });
    await on.client.create(Node, node("n1"));
    await on.client.create(Node, node("n10"));
    const watcher = new Watcher(on.client, Node, { index: { node: "n1" } });
    await watcher.count(2);
    await on.client.delete(Node, { name: "n10" });
    await on.client.delete(Node, { name: "n1" });
    expect(await watcher.count(3)).toEqual(["added n1", "synced", "deleted n1"]);
    await watcher.stop();
    expect((await on.client.list(Node, { node: "n1" })).items).toEqual([]);
  });

  test("watches tell of the profile that every cluster has, and of none stored under its name", async () => {
    await on.clear();
    const name = "projectcalico-default-allow";
    const rules = { ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] };
    const own = { apiVersion: Profile.apiVersion, kind: "Profile" as const, metadata: { name: "own" }, spec: {} };
    const watcher = new Watcher(on.client, Profile);
    await watcher.count(2);
    await on.put(`${RESOURCES}profiles/${name}`, '{"spec":{"egress":[]}}');
    await on.client.create(Profile, own);
    await on.put(`${RESOURCES}profiles/${name}`, undefined);
    await on.put(`${RESOURCES}profiles/${name}`, "{");
    await on.client.delete(Profile, { name: "own" });
    expect(await watcher.count(4)).toEqual([`added ${name}`, "synced", "added own", "deleted own"]);
    await watcher.stop();
    const found = (await on.client.get(Profile, { name }))!;
    expect(found).toMatchObject({ metadata: { name }, spec: rules });
    expect(await on.client.list(Profile)).toMatchObject({ items: [found], unreadable: [] });
    const provided = `The profile "${name}" is`;
    const refused = (work: Promise<unknown>) => expect(work).rejects;
    await refused(on.client.create(Profile, { ...own, metadata: { name } })).toMatchObject({
      code: "EXISTS",
      message: `${name} already exists. ${provided} default provided by Calico`,
    });
    await refused(on.client.update(Profile, found)).toMatchObject({
      code: "INVALID",
      message: `${provided} a default provided by Calico and cannot be updated`,
    });
    await refused(on.client.delete(Profile, { name })).toMatchObject({
      code: "INVALID",
      message: `${provided} a default provided by Calico and cannot be deleted`,
    });
    await on.clear();
  });
}
