import { expect, test } from "vitest";
import { memoryClient } from "../datastore/testing.ts";
import { parseAddress } from "../ip/index.ts";
import { describeAsRoot, makeNamespace } from "../sys/testing.ts";
import { claimant, ownerByArp } from "./probe.ts";
import { settleNode } from "./settle.ts";
import { machine } from "./testing.ts";

const ADDRESS = parseAddress("10.0.0.5");

describeAsRoot("another machine with the same address", () => {
  test("is found by its MAC; one that only answers for others is not, and neither is oneself", async () => {
    using space = makeNamespace();
    using other = makeNamespace();
    space.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.name);
    space.exec("ip", "link", "set", "eth0", "up");
    space.exec("ip", "addr", "add", "10.0.0.5/24", "dev", "eth0");
    other.exec("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99");
    other.exec("ip", "link", "set", "eth0", "up");
    other.exec("ip", "addr", "add", "10.0.0.9/24", "dev", "eth0");
    other.exec("sysctl", "-q", "-w", "net.ipv4.conf.eth0.proxy_arp=1", "net.ipv4.ip_forward=1");
    expect(await ownerByArp(ADDRESS, "eth0", space.namespace)).toBeUndefined();
    other.exec("ip", "addr", "add", "10.0.0.5/24", "dev", "eth0");
    expect(await ownerByArp(ADDRESS, "eth0", space.namespace)).toBe("02:00:00:00:00:99");
    space.exec("ip", "link", "set", "eth0", "down");
    expect(await ownerByArp(ADDRESS, "eth0", space.namespace)).toBeUndefined();
  });
});

test("it is warned of when the node's address is a new one", async () => {
  const facts = machine(["eth0 10.0.0.5/24"], { ownerOf: async (_address, on) => `02:00:00:00:00:99 (${on})` });
  const client = memoryClient();
  const settle = () => settleNode(client, "n1", { IP: "autodetect" }, facts, undefined);
  expect((await settle()).warnings).toEqual([expect.stringContaining("MAC 02:00:00:00:00:99 (eth0)")]);
  expect((await settle()).warnings).toEqual([]);
});

test("frames that say something else are passed over", () => {
  const address = new Uint8Array([10, 0, 0, 5]);
  expect(claimant(new Uint8Array(10), address)).toBeUndefined();
  expect(claimant(new Uint8Array(42), address)).toBeUndefined();
});
