/** What a case says of connectivity, as text: lines of `allow FROM > TO`, `deny FROM > TO`, `reject FROM > TO`; the last that fits counts. */
import { ICMP, ICMPV6, type Packet, SCTP, TCP, UDP, UDPLITE } from "../../lib/policy-agent/rules/testing/index.ts";
import type { Probe } from "./prober.ts";

export const NAMESPACES = ["x", "y", "z"] as const;
/** The pods, by namespace and name. */
export const PODS: readonly string[] = NAMESPACES.flatMap((namespace) =>
  ["a", "b", "c"].map((name) => `${namespace}/${name}`),
);
/** The node that the pods are on, and a machine outside of the cluster. */
export const NODE = "node";
export const OUTSIDE = "outside";

export type Outcome = "allow" | "deny" | "reject";

/** One kind of packet, tried between all places that the lines name, and between all pods; over IPv4 and IPv6 unless it says otherwise. */
export interface Check {
  /** `tcp/80`, `udp/53`, `sctp/9`, `udplite/9`, `icmp` (an echo), `icmp/13/0` (of the version's own ICMP), `proto/99`. */
  readonly probe: string;
  /** Places are `x/a`, `x/*`, `*` (every pod), `node`, `outside`, or several with commas. Pods that no line names may reach each other. */
  readonly lines: readonly string[];
  readonly versions?: readonly (4 | 6)[];
  /** Only these pairs: those of the lines; otherwise every pair of pods as well. */
  readonly only?: boolean;
  /** Address to send to, or from, instead of the places' own. */
  readonly destination?: Readonly<Record<4 | 6, string>>;
  readonly source?: Readonly<Record<4 | 6, string>>;
  /** The pod that gets what is allowed, where that is another than it was sent to. */
  readonly arrivesAt?: string;
  /** What has to hold of a packet that came through. */
  readonly seen?: (packet: Packet, version: 4 | 6) => boolean;
}

export interface Cell {
  readonly probe: Probe;
  readonly expected: Outcome;
  readonly check: Check;
}

/** Every probe of the checks, with what has to come of it. */
export function cellsOf(checks: readonly Check[]): Cell[] {
  return checks.flatMap((check) => {
    const lines = check.lines.map(parseLine);
    const named = (from: string, to: string): boolean =>
      lines.some((line) => line.from.includes(from) && line.to.includes(to));
    return (check.versions ?? [4, 6]).flatMap((version) =>
      pairs()
        .filter(([from, to]) => named(from, to) || (!check.only && PODS.includes(from) && PODS.includes(to)))
        .map(([from, to]) => {
          const expected =
            lines.findLast((line) => line.from.includes(from) && line.to.includes(to))?.outcome ?? "allow";
          const ends = {
            from,
            to,
            ...(check.source === undefined ? {} : { source: check.source[version] }),
            ...(check.destination === undefined ? {} : { destination: check.destination[version] }),
          };
          return { probe: { ...ends, ...packetOf(check.probe, version), version }, expected, check };
        }),
    );
  });
}

/** One cell in words. */
export function describeProbe(probe: Probe, check: Check): string {
  return `${check.probe} IPv${probe.version} ${probe.from} > ${probe.to}`;
}

function pairs(): [string, string][] {
  const places = [...PODS, NODE, OUTSIDE];
  return places.flatMap((from) => places.filter((to) => to !== from).map((to): [string, string] => [from, to]));
}

function parseLine(line: string): { outcome: Outcome; from: readonly string[]; to: readonly string[] } {
  const found = /^(allow|deny|reject) (\S+) > (\S+)$/.exec(line);
  if (found === null) throw new RangeError(`"${line}" is not a line such as "deny x/* > y/a"`);
  return { outcome: found[1] as Outcome, from: placesOf(found[2] ?? ""), to: placesOf(found[3] ?? "") };
}

function placesOf(text: string): readonly string[] {
  return text.split(",").flatMap((one) => {
    if (one === NODE || one === OUTSIDE) return [one];
    const places = PODS.filter(
      (pod) => one === "*" || pod === one || (one.endsWith("/*") && pod.startsWith(one.slice(0, -1))),
    );
    if (places.length === 0) throw new RangeError(`there is no place ${one}`);
    return places;
  });
}

function packetOf(text: string, version: 4 | 6): Pick<Probe, "protocol" | "port" | "icmp"> {
  const [name = "", first, second] = text.split("/");
  const ported = { tcp: TCP, udp: UDP, sctp: SCTP, udplite: UDPLITE }[name];
  if (ported !== undefined) return { protocol: ported, port: Number(first) };
  if (name === "proto") return { protocol: Number(first) };
  if (name !== "icmp") throw new RangeError(`"${text}" is no probe`);
  const icmp = { type: first === undefined ? (version === 4 ? 8 : 128) : Number(first), code: Number(second ?? 0) };
  return { protocol: version === 4 ? ICMP : ICMPV6, icmp };
}
