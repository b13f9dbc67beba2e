import type { QoSControls } from "../../api/workloadendpoint.ts";
import { ANNOTATION } from "./annotations.ts";
import type { Field } from "./field.ts";
import { parseQuantity } from "./quantity.ts";

type Limit = Exclude<keyof QoSControls, "dscp">;

/** What a limit may be, as numbers and as its annotation would say it. */
interface Range {
  readonly min: number;
  readonly max: number;
  readonly words: string;
}

/** Upstream's limits (libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go). */
const RANGES: Readonly<Record<string, Range>> = {
  Bandwidth: { min: 1_000, max: 1e15, words: "from 1k to 1P bits per second" },
  Burst: { min: 1_000, max: 34_359_738_360, words: "from 1k to 34359738360 bits" },
  Peakrate: { min: 1_010, max: 1.01e15, words: "from 1.01k to 1.01P bits per second" },
  Minburst: { min: 1_000, max: 1e8, words: "from 1k to 100M bytes" },
  PacketRate: { min: 1, max: 10_000, words: "from 1 to 10k packets per second" },
  PacketBurst: { min: 1, max: 10_000, words: "from 1 to 10k packets" },
  MaxConnections: { min: 1, max: 4_294_967_295, words: "from 1 to 4294967295 connections" },
};

/** The burst where only a bandwidth, or only a packet rate, is given: bits and packets. */
const DEFAULT_BURST = 4 * 2 ** 30;
const DEFAULT_PACKET_BURST = 5;

/**
 * The limits that a pod's annotations ask for; undefined without any. A value out of range becomes the nearest that is not, one that is
 * no quantity or lacks another that it needs is left out, and all that is reported: a pod with an odd limit is still a pod.
 */
export function qosControls(annotations: Field): QoSControls | undefined {
  // Most pods ask for none.
  if (!annotations.keys().some((key) => key.startsWith("qos.projectcalico.org/") || key.startsWith("kubernetes.io/")))
    return undefined;
  const controls: QoSControls = {};
  for (const direction of ["ingress", "egress"] as const) {
    for (const name of Object.keys(RANGES)) {
      const limit = `${direction}${name}` as Limit;
      if (name === "Bandwidth")
        readLimit(annotations.get(`kubernetes.io/${direction}-bandwidth`), limit, name, controls);
      readLimit(annotations.get(annotationOf(limit)), limit, name, controls);
    }
    fitTogether(direction, annotations, controls);
  }
  readDscp(annotations.get(ANNOTATION.dscp), controls);
  return Object.keys(controls).length === 0 ? undefined : controls;
}

const annotationOf = (limit: Limit): string => `qos.projectcalico.org/${limit}`;

/** An annotation that is there replaces what a less specific one said, also when it is wrong. */
function readLimit(field: Field, limit: Limit, name: string, controls: QoSControls): void {
  if (!field.isSet) return;
  const { min, max, words } = RANGES[name]!;
  const value = parseQuantity(field.text());
  if (value === undefined) {
    field.report(`must be a quantity such as 10M, ${words}; it is ignored`);
    delete controls[limit];
  } else if (value < min || value > max) {
    controls[limit] = value < min ? min : max;
    field.report(`must be ${words}; ${controls[limit]} is used instead`);
  } else controls[limit] = Number(value);
}

/** Drops limits that need another one, and completes bursts. In this order, because one that is dropped may be needed by the next. */
function fitTogether(direction: "ingress" | "egress", annotations: Field, controls: QoSControls): void {
  const limit = (name: string) => `${direction}${name}` as Limit;
  const value = (name: string) => controls[limit(name)] ?? 0;
  const drop = (name: string, message: string) => {
    delete controls[limit(name)];
    annotations.get(annotationOf(limit(name))).report(`${message}; it is ignored`);
  };
  if (value("Burst") > 0 && value("Bandwidth") === 0) drop("Burst", `needs ${annotationOf(limit("Bandwidth"))}`);
  if (value("Peakrate") > 0 && (value("Bandwidth") === 0 || value("Bandwidth") >= value("Peakrate"))) {
    drop("Peakrate", `must be more than ${annotationOf(limit("Bandwidth"))}, which it needs`);
  }
  if (value("Minburst") > 0 && value("Peakrate") === 0) drop("Minburst", `needs ${annotationOf(limit("Peakrate"))}`);
  if (value("PacketBurst") > 0 && value("PacketRate") === 0) {
    drop("PacketBurst", `needs ${annotationOf(limit("PacketRate"))}`);
  }
  if (value("Bandwidth") > 0 && value("Burst") === 0) controls[limit("Burst")] = DEFAULT_BURST;
  if (value("PacketRate") > 0 && value("PacketBurst") === 0) controls[limit("PacketBurst")] = DEFAULT_PACKET_BURST;
}

/** A code point by number or by name, in any case. */
function readDscp(field: Field, controls: QoSControls): void {
  if (!field.isSet) return;
  const text = field.text();
  const name = text.trim().toUpperCase();
  if (/^\d+$/.test(text) && Number(text) <= 63) controls.dscp = Number(text);
  else if (/^(DF|EF|AF[1-4][1-3]|CS[0-6])$/.test(name)) controls.dscp = name;
  else field.report("must be DF, EF, AF11 to AF43, CS0 to CS6, or a number from 0 to 63; it is ignored");
}
