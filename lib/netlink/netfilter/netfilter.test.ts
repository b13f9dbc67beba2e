import { afterEach, beforeEach, expect, it } from "vitest";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import {
  type Monitor,
  type Netfilter,
  type NetfilterMessage,
  NF_FAMILY,
  NF_GROUP,
  NF_SUBSYSTEM,
  NLM_F,
  nfDump,
  nfRequest,
  openNetfilter,
  openNetfilterMonitor,
  type Request,
} from "./index.ts";

// include/uapi/linux/netfilter/nf_tables.h
const MSG = { NEWTABLE: 0, GETTABLE: 1, DELTABLE: 2, NEWCHAIN: 3, NEWGEN: 15, GETGEN: 16 } as const;
const TABLE = { NAME: 1, HANDLE: 4, USERDATA: 6 } as const;
const CHAIN = { TABLE: 1, NAME: 3 } as const;
const GEN = { ID: 1, PROC_PID: 2, PROC_NAME: 3 } as const;
const subsystem = NF_SUBSYSTEM.NFTABLES;
const family = NF_FAMILY.IPV4;

const newTable = (name: string, flags: number = NLM_F.CREATE, userdata?: Uint8Array): Request =>
  nfRequest({
    subsystem,
    type: MSG.NEWTABLE,
    family,
    flags,
    attempt: () => `add the table ${name}`,
    attributes: (writer) => {
      writer.attributeString(TABLE.NAME, name);
      if (userdata) writer.attribute(TABLE.USERDATA, userdata);
    },
  });
const deleteTable = (name: string): Request =>
  nfRequest({
    subsystem,
    type: MSG.DELTABLE,
    family,
    attempt: () => `delete the table ${name}`,
    attributes: (writer) => writer.attributeString(TABLE.NAME, name),
  });
const newChain = (table: string, name: string): Request =>
  nfRequest({
    subsystem,
    type: MSG.NEWCHAIN,
    family,
    flags: NLM_F.CREATE,
    attempt: () => `add the chain ${name}`,
    attributes: (writer) => {
      writer.attributeString(CHAIN.TABLE, table);
      writer.attributeString(CHAIN.NAME, name);
    },
  });
const tables = nfDump({
  subsystem,
  type: MSG.GETTABLE,
  family,
  attempt: () => "list the tables",
  decode: (message) => (message.type === MSG.NEWTABLE ? message.attributes().string(TABLE.NAME) : undefined),
});
const generation = nfRequest({
  subsystem,
  type: MSG.GETGEN,
  attempt: () => "read the generation",
  decode: (message) => message.attributes().u32be(GEN.ID) ?? -1,
});

describeAsRoot("netfilter", () => {
  let space: TestNamespace;
  let netfilter: Netfilter;
  let monitor: Monitor | undefined;
  beforeEach(() => {
    space = makeNamespace("calico-netfilter");
    netfilter = openNetfilter(space.namespace);
  });
  afterEach(() => {
    monitor?.close();
    monitor = undefined;
    netfilter.close();
    space.dispose();
  });
  const until = async (condition: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !condition(); ) {
      if (Date.now() > deadline) throw new Error("it did not happen within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };

  it("does a transaction as a whole, and nft sees it", () => {
    expect(netfilter.transaction(subsystem, [])).toEqual({ committed: true, errors: [], echoes: [] });
    const done = netfilter.transaction(subsystem, [newTable("a"), newTable("b"), newChain("b", "c")]);
    expect(done).toEqual({ committed: true, errors: [], echoes: [] });
    expect(netfilter.dump(tables)).toEqual(["a", "b"]);
    expect(space.exec("nft", "list", "ruleset").replaceAll(/\s+/g, " ").trim()).toBe(
      "table ip a { } table ip b { chain c { } }",
    );
  });

  it("does nothing of a transaction in which something is refused, and tells of each refusal", () => {
    const done = netfilter.transaction(subsystem, [
      newTable("a"),
      newChain("none", "c"),
      newTable("b"),
      deleteTable("none"),
      newTable("c"),
    ]);
    expect(done.committed).toBe(false);
    expect(done.errors.map(({ request, error }) => `${request} ${error.message}`)).toEqual([
      "1 add the chain c: ENOENT",
      "3 delete the table none: ENOENT",
    ]);
    expect(netfilter.dump(tables)).toEqual([]);
    expect(netfilter.transaction(subsystem, [newTable("a")]).committed).toBe(true);
    expect(netfilter.dump(tables)).toEqual(["a"]);
  });

  it("refuses a transaction that was made for another generation of the rules", () => {
    const known = netfilter.request(generation);
    space.exec("nft", "add", "table", "ip", "others");
    const late = netfilter.transaction(subsystem, [newTable("a")], { generation: known });
    expect(late.committed).toBe(false);
    expect(late.errors.map(({ request, error }) => [request, error.code])).toEqual([[undefined, "ERESTART"]]);
    const again = netfilter.transaction(subsystem, [newTable("a")], { generation: netfilter.request(generation) });
    expect(again.committed).toBe(true);
    expect(netfilter.dump(tables)).toEqual(["others", "a"]);
  });

  it("tells the handles that the kernel gave, when it is asked to echo", () => {
    const { echoes } = netfilter.transaction(subsystem, [
      newTable("a", NLM_F.CREATE | NLM_F.ECHO),
      newTable("b", NLM_F.CREATE | NLM_F.ECHO),
    ]);
    const told = echoes
      .filter(({ type }) => type === MSG.NEWTABLE)
      .map((message) => [message.attributes().string(TABLE.NAME), Number(message.attributes().u64be(TABLE.HANDLE))]);
    expect(told.map(([name]) => name)).toEqual(["a", "b"]);
    expect(told.every(([, handle]) => Number(handle) > 0)).toBe(true);
  });

  it("carries transactions of megabytes, and every error of thousands", () => {
    const userdata = new Uint8Array(200);
    const many = Array.from({ length: 8000 }, (_, i) => newTable(`t${i}`, NLM_F.CREATE, userdata));
    expect(netfilter.transaction(subsystem, many).committed).toBe(true);
    expect(netfilter.dump(tables)).toHaveLength(8000);
    const gone = Array.from({ length: 4000 }, (_, i) => deleteTable(`none${i}`));
    const refused = netfilter.transaction(subsystem, gone);
    expect(refused.errors.map(({ request }) => request)).toEqual(gone.map((_, i) => i));
    expect(netfilter.request(generation)).toBeGreaterThan(0); // the socket is in step
  });

  it("says when the kernel lacks a subsystem or a request makes no sense", () => {
    const absurd = nfRequest({ subsystem: 200, type: 0, attempt: () => "speak to nobody" });
    expect(() => netfilter.request(absurd)).toThrow("speak to nobody: EINVAL");
    const whole = netfilter.transaction(NF_SUBSYSTEM.CONNTRACK, [absurd]);
    expect([whole.committed, whole.errors[0]?.request, whole.errors[0]?.error.code]).toEqual([
      false,
      undefined,
      "EOPNOTSUPP",
    ]);
  });

  it("reports what others change, in order, up to the new generation", async () => {
    const messages: NetfilterMessage[] = [];
    let resyncs = 0;
    const kept: string[] = [];
    monitor = openNetfilterMonitor({
      groups: [NF_GROUP.NFTABLES],
      namespace: space.namespace,
      onMessage: (message) => {
        messages.push(message);
        if (message.type === MSG.NEWTABLE) kept.push(message.attributes().string(TABLE.NAME) ?? "");
        if (message.type === MSG.NEWGEN) kept.push(`by ${message.attributes().string(GEN.PROC_NAME)}`);
      },
      onResync: () => resyncs++,
      onError: (error) => {
        throw error;
      },
    });
    space.exec("nft", "add table ip a; add table ip b");
    await until(() => messages.some(({ type }) => type === MSG.NEWGEN));
    expect([kept, resyncs]).toEqual([["a", "b", "by nft"], 0]);
    expect(messages.every((message) => message.subsystem === subsystem && message.port !== 0)).toBe(true);
    expect(messages[0]?.family).toBe(NF_FAMILY.IPV4);
  });

  it("asks for a resync when messages came faster than they were read, and goes on", async () => {
    let resyncs = 0;
    const names: (string | undefined)[] = [];
    monitor = openNetfilterMonitor({
      groups: [NF_GROUP.NFTABLES],
      namespace: space.namespace,
      receiveBuffer: 4096,
      onMessage: (message) => {
        if (message.type === MSG.NEWTABLE) names.push(message.attributes().string(TABLE.NAME));
      },
      onResync: () => resyncs++,
      onError: (error) => {
        throw error;
      },
    });
    for (let i = 0; i < 200; i++) netfilter.transaction(subsystem, [newTable(`t${i}`)]);
    await until(() => resyncs > 0);
    netfilter.transaction(subsystem, [newTable("after")]);
    await until(() => names.includes("after"));
  });
});
