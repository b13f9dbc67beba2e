/** Routes, prefixes and capabilities in words. */
import { type Address, formatAddress, formatCidr, parseCidr } from "../ip/index.ts";
import type { RouteText } from "./control/index.ts";
import { cidrOf, type Prefix, prefixOf } from "./rib/index.ts";
import type { AsSegment, Open, PathAttributes } from "./wire/index.ts";

const ORIGINS = ["IGP", "EGP", "incomplete"] as const;

export const prefixFromText = (text: string): Prefix => prefixOf(parseCidr(text));
export const prefixText = (prefix: Prefix): string => formatCidr(cidrOf(prefix));

export const routerIdNumber = (dotted: string): number =>
  dotted.split(".").reduce((value, octet) => value * 256 + Number(octet), 0);
export const routerIdText = (id: number): string => formatAddress({ version: 4, value: BigInt(id >>> 0) });

const BRACKETS: Readonly<Record<AsSegment["type"], readonly [string, string]>> = {
  sequence: ["", ""],
  set: ["{", "}"],
  confederationSequence: ["(", ")"],
  confederationSet: ["[", "]"],
};

export const asPathText = (segments: readonly AsSegment[]): string =>
  segments.map(({ type, asns }) => `${BRACKETS[type][0]}${asns.join(" ")}${BRACKETS[type][1]}`).join(" ");

export function routeText(
  prefix: Prefix,
  from: string,
  attributes: PathAttributes,
  more: Pick<RouteText, "stale" | "best" | "why">,
): RouteText {
  const { localPref, med, originatorId, clusterList } = attributes;
  return {
    prefix: prefixText(prefix),
    nextHop: addressText(attributes.nextHop),
    from,
    origin: ORIGINS[attributes.origin],
    asPath: asPathText(attributes.asPath),
    ...(localPref !== undefined && { localPref }),
    ...(med !== undefined && { med }),
    communities: [
      ...attributes.communities.map((community) => `${community >>> 16}:${community & 0xffff}`),
      ...attributes.largeCommunities.map((community) => community.join(":")),
    ],
    ...(originatorId !== undefined && { originatorId: routerIdText(originatorId) }),
    ...(clusterList.length > 0 && { clusterList: clusterList.map(routerIdText) }),
    ...more,
  };
}

const addressText = (address: Address): string => (address.value === 0n ? "-" : formatAddress(address));

/** What the other's OPEN offers, each in a few words. */
export function capabilityTexts({ capabilities }: Open): string[] {
  const { families, gracefulRestart, addPath } = capabilities;
  return [
    ...families.map((family) => `IPv${family}`),
    ...(capabilities.fourOctetAsn ? ["4-octet AS"] : []),
    ...(capabilities.routeRefresh ? ["route refresh"] : []),
    ...(capabilities.enhancedRouteRefresh ? ["enhanced route refresh"] : []),
    ...(capabilities.extendedMessages ? ["extended messages"] : []),
    ...(gracefulRestart ? [`graceful restart (${gracefulRestart.time} s)`] : []),
    ...(addPath.length > 0 ? ["add-path"] : []),
    ...(capabilities.extendedNextHop ? ["IPv6 next hops for IPv4"] : []),
  ];
}
