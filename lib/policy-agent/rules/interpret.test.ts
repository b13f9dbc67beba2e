import { describe, expect, it } from "vitest";
import { interpret, type Surroundings } from "./interpret.ts";
import { ConntrackTable } from "./interpret-conntrack.ts";
import { type Packet, TCP } from "./interpret-packet.ts";
import { Program } from "./program.ts";

const PACKET: Packet = {
  version: 4,
  source: "10.65.0.1",
  destination: "192.0.2.2",
  protocol: TCP,
  destinationPort: 80,
};
const HOST: Surroundings = {
  inInterface: "cali1",
  route: (address) => (address === "10.9.0.1" ? "local" : address === "10.65.0.1" ? "cali1" : "out0"),
  addresses: { out0: ["10.9.0.1"] },
};

function program(): Program {
  const made = new Program(4);
  made.setChain("filter", {
    name: "cali-FORWARD",
    rules: [{ match: [], action: { do: "jump", chain: "cali-from-wl-dispatch" } }],
  });
  made.setDispatch("filter", {
    name: "cali-from-wl-dispatch",
    direction: "in",
    entries: new Map([["cali1", "cali-fw-cali1"]]),
    otherwise: [{ match: [], action: { do: "drop" } }],
  });
  made.setChain("filter", {
    name: "cali-fw-cali1",
    rules: [
      { match: [], action: { do: "nflog", group: 2, prefix: "DPE0|p" } },
      { match: [], action: { do: "reject", with: "admin" } },
    ],
  });
  made.setHook("filter", "FORWARD", {
    first: [{ match: [], action: { do: "jump", chain: "cali-FORWARD" } }],
    last: [],
  });
  return made;
}

// That verdicts are the kernel's is what dataplane.suite.ts shows: the fake that it runs against is this interpreter.
describe("the interpreter", () => {
  it("says by which rules a packet came to its end", () => {
    const trace = interpret(program(), PACKET, HOST);
    expect(trace.path.map(({ table, hook, chain, index }) => `${table} ${hook} ${chain} ${index}`)).toEqual([
      "filter FORWARD first 0",
      "filter FORWARD cali-FORWARD 0",
      "filter FORWARD cali-from-wl-dispatch -1",
      "filter FORWARD cali-fw-cali1 0",
      "filter FORWARD cali-fw-cali1 1",
    ]);
    expect(trace).toMatchObject({ verdict: "reject", rejectWith: "admin", logged: [{ prefix: "DPE0|p", group: 2 }] });
    expect(trace.outInterface).toBeUndefined();
  });

  it("remembers a connection only when its first packet got through", () => {
    const conntrack = new ConntrackTable();
    const answer: Packet = {
      ...PACKET,
      source: PACKET.destination,
      destination: PACKET.source,
      sourcePort: 80,
      destinationPort: 40_000,
      flags: "syn-ack",
    };
    const back = { ...HOST, inInterface: "out0", conntrack };
    interpret(program(), PACKET, { ...HOST, conntrack });
    expect(interpret(new Program(4), answer, back).state).toBe("invalid");
    expect(interpret(new Program(4), PACKET, { ...HOST, conntrack }).state).toBe("new");
    expect(interpret(new Program(4), answer, back).state).toBe("established");
  });

  it("says where a packet has no way to go", () => {
    expect(interpret(new Program(4), PACKET, { ...HOST, route: () => undefined }).verdict).toBe("unroutable");
  });

  it("does not pass over a chain or set that is not there", () => {
    const broken = program();
    broken.removeChain("filter", "cali-fw-cali1");
    expect(() => interpret(broken, PACKET, HOST)).toThrow("cali-fw-cali1");
  });
});
