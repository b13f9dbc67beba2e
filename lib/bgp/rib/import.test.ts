/** What comes in: what is let in, and of what. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import type { Negotiated, PathAttributes } from "../wire/index.ts";
import { attributesText } from "./attributes.ts";
import { attributes, Net, negotiated, P, path } from "./testing/net.ts";
import { updatesOf } from "./testing.ts";
import type { Policy } from "./types.ts";

describe("what comes in", () => {
  test("has our AS in its path no more often than allowed", async () => {
    const net = new Net();
    const strict = net.peer({ type: "ebgp" });
    const lax = net.peer({ type: "ebgp", allowedOwnAsns: 1 });
    strict.reach({ asPath: path(65001, 64512) });
    lax.reach({ asPath: path(65001, 64512, 3, 64512) });
    await net.rib.settled();
    expect(net.rib.explain(P).map(({ why }) => why)).toEqual(["AS path has our own AS", "AS path has our own AS"]);
    lax.reach({ asPath: path(65001, 64512, 3) });
    await net.rib.settled();
    expect(net.best()).toEqual([lax.id]);
    expect(net.rib.counts(strict.id)).toMatchObject({ received: { 4: 1, 6: 0 }, accepted: { 4: 0, 6: 0 } });
  });

  test.each([
    ["our router id as ORIGINATOR_ID", { originatorId: 0x0a000001 }, "ORIGINATOR_ID is our own router id"],
    ["our cluster id", { clusterList: [3, 7] }, "CLUSTER_LIST has our own cluster id"],
    ["our address as next hop", { nextHop: parseAddress("192.0.2.254") }, "the next hop is our own address"],
  ])("is refused with %s", async (_, told, why) => {
    const net = new Net();
    net.peer({ type: "ibgp", reflectorClient: 7 }).reach({ asPath: [], ...told });
    await net.rib.settled();
    expect(net.rib.explain(P)).toMatchObject([{ best: false, why }]);
    expect(net.best()).toEqual([]);
  });

  test("by eBGP has no LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST", async () => {
    const net = new Net();
    const seen: PathAttributes[] = [];
    const importPolicy: Policy = {
      key: "look",
      ignoresPrefix: false,
      decide: (route) => {
        seen.push(route.attributes);
        return { attributes: route.attributes };
      },
    };
    // The wire takes them away already where it is told that the peer is external; here it is not.
    const peer = net.peer({ type: "ebgp", importPolicy });
    for (const update of updatesOf({ negotiated, type: "ibgp" }, 4, {
      reach: [[P]],
      attributes: attributes({ localPref: 900, originatorId: 5, clusterList: [1] }),
    }))
      net.rib.update(peer.id, update);
    await net.rib.settled();
    expect(seen.map((a) => attributesText(a, 0))).toEqual([attributesText(attributes(), 0)]);
  });
});

test("several paths of one peer are told apart by their identifiers (RFC 7911)", async () => {
  const net = new Net();
  const both: Negotiated = { ...negotiated, addPathReceive: [4] };
  const a = net.peer({ type: "ibgp", negotiated: both });
  const tell = (parts: Parameters<typeof updatesOf>[2]) => {
    for (const update of updatesOf(a.session, 4, parts)) net.rib.update(a.id, update);
  };
  tell({ reach: [[P, 1]], attributes: attributes({ nextHop: parseAddress("192.0.2.1") }) });
  tell({ reach: [[P, 2]], attributes: attributes({ nextHop: parseAddress("192.0.2.2") }) });
  await net.rib.settled();
  expect(net.best()).toEqual([a.id, a.id]);
  tell({ withdraw: [[P, 1]] });
  await net.rib.settled();
  expect(net.told.at(-1)?.paths.map(({ attributes }) => attributes.nextHop)).toEqual([parseAddress("192.0.2.2")]);
});
