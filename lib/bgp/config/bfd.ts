import { type BGPPeer, FAILURE_DETECTION } from "../../api/bgppeer.ts";
import { containsAddress, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { parseDuration } from "../../wait/duration.ts";
import type { BfdParameters } from "../model/index.ts";
import { type Problems, quoted } from "./problems.ts";

/** What a BGPPeer asks of BFD; absent: nothing. */
export interface BfdWish {
  /** Also where the peer is not on a network of the node (RFC 5883). */
  readonly multihop: boolean;
  readonly minReceive: number;
  readonly minSend: number;
  readonly multiplier: number;
}

/** Lost within 0.9 seconds, by times that a busy node keeps. */
const DEFAULT = { minReceive: 300, minSend: 300, multiplier: 3 };
/** Below this, timers of a process that shares its core are not to be relied on. */
const LEAST = 10;
const MOST = 60_000;

/** The field failureDetectionMode, or the annotation of that name, which wins: upstream's definition of the kind drops the field. */
export function bfdWish({ metadata, spec }: BGPPeer, problems: Problems): BfdWish | undefined {
  const resource = `BGPPeer ${metadata.name}`;
  const annotations = metadata.annotations ?? {};
  const annotated = annotations[FAILURE_DETECTION.mode];
  const mode = annotated ?? spec.failureDetectionMode ?? "None";
  if (mode === "None" || mode === "") return undefined;
  if (mode !== "BFDIfDirectlyConnected" && !(mode === "BFD" && annotated !== undefined)) {
    const where = annotated === undefined ? "spec.failureDetectionMode" : annotationPath(FAILURE_DETECTION.mode);
    problems.add(resource, `${where} ${quoted(mode)}: must be None or BFDIfDirectlyConnected; there is no BFD`);
    return undefined;
  }
  const interval = (key: string, otherwise: number): number => {
    const text = annotations[key];
    if (text === undefined) return otherwise;
    const milliseconds = parseDuration(text);
    if (milliseconds !== undefined && milliseconds >= LEAST && milliseconds <= MOST) return milliseconds;
    problems.add(
      resource,
      `${annotationPath(key)} ${quoted(text)}: must be from ${LEAST}ms to ${MOST / 1000}s; it is ${otherwise}ms`,
    );
    return otherwise;
  };
  let multiplier = DEFAULT.multiplier;
  const text = annotations[FAILURE_DETECTION.multiplier];
  if (text !== undefined) {
    const number = /^\d{1,3}$/.test(text) ? Number(text) : 0;
    if (number >= 1 && number <= 255) multiplier = number;
    else
      problems.add(
        resource,
        `${annotationPath(FAILURE_DETECTION.multiplier)} ${quoted(text)}: must be from 1 to 255; it is ${multiplier}`,
      );
  }
  return {
    multihop: mode === "BFD",
    minReceive: interval(FAILURE_DETECTION.minReceive, DEFAULT.minReceive),
    minSend: interval(FAILURE_DETECTION.minSend, DEFAULT.minSend),
    multiplier,
  };
}

const annotationPath = (key: string): string => `metadata.annotations["${key}"]`;

/** BFD of one session; undefined: none, as the peer is not directly connected and the wish is only for such. */
export function bfdOf(wish: BfdWish, isConnected: boolean): BfdParameters | undefined {
  if (!isConnected && !wish.multihop) return undefined;
  const { minReceive, minSend, multiplier } = wish;
  return { minReceive, minSend, multiplier, multihop: !isConnected };
}

/** Whether an address is on one of the networks, or link-local. Texts that are no networks are skipped. */
export function connectedTo(networks: readonly string[]): (address: string) => boolean {
  const all = [...networks, "fe80::/10"].flatMap((text) => tryParseCidr(text) ?? []);
  return (text) => {
    const address = tryParseAddress(text);
    return address !== undefined && all.some((network) => containsAddress(network, address));
  };
}
