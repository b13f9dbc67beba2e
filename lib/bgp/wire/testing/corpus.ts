/** Valid messages of every kind, small, each with something that the others do not have. */
import { encodeAttributes } from "../encode-attributes.ts";
import { encodeKeepalive, frame, MESSAGE } from "../message.ts";
import { PrefixWriter } from "../nlri.ts";
import { encodeNotification } from "../notification.ts";
import { encodeOpen } from "../open.ts";
import { encodeRouteRefresh } from "../refresh.ts";
import type { Capabilities, Family, Negotiated, PathAttributes } from "../types.ts";
import { encodeEndOfRib, encodeUpdates } from "../update-writer.ts";

const NO_BYTES = new Uint8Array(0);

const capabilities: Capabilities = {
  families: [4, 6],
  routeRefresh: true,
  enhancedRouteRefresh: true,
  extendedMessages: true,
  fourOctetAsn: true,
  gracefulRestart: { restarting: true, notification: true, time: 120, families: [{ family: 4, forwarding: true }] },
  addPath: [{ family: 4, send: true, receive: true }],
  extendedNextHop: true,
  others: [{ code: 71, value: Uint8Array.of(0, 1, 1, 0, 0, 0, 60) }],
};

const few: PathAttributes = {
  origin: 0,
  asPath: [],
  nextHop: { version: 4, value: 0x0a000001n },
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};

const many: PathAttributes = {
  ...few,
  origin: 2,
  asPath: [
    { type: "confederationSequence", asns: [65001] },
    { type: "sequence", asns: [64512, 4_200_000_000] },
    { type: "set", asns: [1, 2, 3] },
  ],
  med: 7,
  localPref: 100,
  atomicAggregate: true,
  aggregator: { asn: 4_200_000_000, address: 0x0a000002 },
  communities: [0xffff0000, 0xfbf00001],
  largeCommunities: [[64512, 1, 2]],
  extendedCommunities: [Uint8Array.of(0, 2, 0xfb, 0xf0, 0, 0, 0, 1)],
  originatorId: 0x0a000003,
  clusterList: [1, 2],
  unknown: [{ flags: 0xe0, type: 233, value: Uint8Array.of(1, 2, 3) }],
};

export function corpus(): Uint8Array[] {
  const messages = [
    encodeKeepalive(),
    encodeOpen({ asn: 4_200_000_000, holdTime: 90, routerId: 0x0a000001, capabilities }),
    encodeOpen({
      asn: 64512,
      holdTime: 0,
      routerId: 1,
      capabilities: { ...capabilities, others: [{ code: 73, value: new Uint8Array(250) }] },
    }),
    // RFC 4271's own: nothing optional.
    frame(MESSAGE.OPEN, Uint8Array.of(4, 0xfb, 0xf0, 0, 180, 10, 0, 0, 1, 0)),
    encodeNotification({ code: 6, subcode: 2, data: NO_BYTES, text: "new line cards" }),
    encodeNotification({ code: 6, subcode: 9, data: Uint8Array.of(6, 4, 2, 0x68, 0x69) }),
    encodeNotification({ code: 6, subcode: 1, data: Uint8Array.of(0, 1, 1, 0, 0, 0, 9) }),
    encodeNotification({ code: 2, subcode: 7, data: Uint8Array.of(65, 4, 0, 0, 0, 1) }),
    encodeRouteRefresh({ family: 4, kind: "request" }),
    encodeRouteRefresh({ family: 6, kind: "end" }),
    encodeEndOfRib(4),
    encodeEndOfRib(6),
  ];
  const v6Hop = { version: 6 as const, value: 0x20010db8n << 96n };
  const linkLocalNextHop = { version: 6 as const, value: (0xfe80n << 112n) | 1n };
  for (const fourOctetAsn of [true, false]) {
    for (const addPath of [true, false]) {
      const negotiated: Negotiated = {
        fourOctetAsn,
        extendedMessages: false,
        families: [4, 6],
        addPathReceive: [],
        addPathSend: addPath ? [4, 6] : [],
        extendedNextHop: false,
      };
      const wide: Negotiated = { ...negotiated, extendedNextHop: true };
      for (const attributes of [few, many]) {
        const v6 = { ...attributes, nextHop: v6Hop, linkLocalNextHop };
        const packed = { 4: prefixes(4, addPath), 6: prefixes(6, addPath) };
        messages.push(
          ...encodeUpdates(
            { attributes: encodeAttributes(attributes, negotiated, { family: 4 }), reached: packed[4] },
            negotiated,
          ),
          ...encodeUpdates(
            { attributes: encodeAttributes(v6, negotiated, { family: 6 }), reached: packed[6] },
            negotiated,
          ),
          ...encodeUpdates({ attributes: encodeAttributes(v6, wide, { family: 4 }), reached: packed[4] }, wide),
          ...encodeUpdates({ withdrawn: packed[4] }, negotiated),
          ...encodeUpdates({ withdrawn: packed[6] }, negotiated),
          ...encodeUpdates({ withdrawn: packed[4] }, wide),
        );
      }
    }
  }
  return messages;
}

function prefixes(family: Family, addPath: boolean) {
  const writer = new PrefixWriter(family, addPath);
  writer.add(0, 0, 0, 0, 0, 1);
  writer.add(26, 0x0a000040, 0, 0, 0, 2);
  writer.add(32, 0x0a010203, 0, 0, 0, 3);
  if (family === 6) {
    writer.add(64, 0x20010db8, 0x00010002, 0, 0, 4);
    writer.add(122, 0x20010db8, 0, 0, 0x40, 5);
    writer.add(128, 0x20010db8, 0, 0, 1, 6);
  }
  return writer.nlri;
}
