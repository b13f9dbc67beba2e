import { type Address, type Cidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { isLabelValue } from "../formats.ts";
import * as s from "../schema.ts";

/**
 * What several of Kubernetes' kinds check alike. Addresses are read as Kubernetes' older releases did, whose objects are still
 * around: with leading zeros, with bits beyond a prefix length, and IPv4 within IPv6.
 */

/** The schema of what a kind does not have. */
export const NO_SPEC: s.Schema<never> = { type: "object", fields: {}, optional: true };

/** A schema that is built when it is first asked for, and knows a part of the type's fields: those that are checked. */
export const partOf = <T>(build: () => s.Node): (() => s.Schema<T>) => s.lazy(build as () => s.Schema<T>);

export const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;

/** A metav1.LabelSelector, as the types of Kubernetes have it. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export const labelSelector = (doc: string): s.Schema<LabelSelector> =>
  s.object(
    {
      matchLabels: s.optional(s.map(s.string(), { doc: "Labels with these values.", labels: true })),
      matchExpressions: s.optional(
        s.array(
          s.object({
            key: s.string({ doc: "The label.", minLength: 1 }),
            operator: s.oneOf(["In", "NotIn", "Exists", "DoesNotExist"], { doc: "What must hold of it." }),
            values: s.optional(s.array(s.string(), { doc: "The values of In and NotIn." })),
          }),
          { doc: "What must hold of labels, all of it." },
        ),
      ),
    },
    { doc },
  ) as s.Schema<LabelSelector>;

/** What a schema cannot say of a selector: which operators take values, and what they look like. */
export function checkLabelSelector(selector: LabelSelector | undefined, path: string): s.Problem[] {
  return (selector?.matchExpressions ?? []).flatMap(({ operator, values = [] }, i): s.Problem[] => {
    const at = `${path}.matchExpressions[${i}].values`;
    if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length === 0) return [];
      return [{ path: at, value: values, message: `must be absent with the operator ${operator}` }];
    }
    if (values.length === 0) {
      return [{ path: at, value: undefined, message: `is missing; the operator ${operator} needs at least one value` }];
    }
    return values.flatMap((value, j) => {
      if (isLabelValue(value)) return [];
      const message = "must be the value of a label: at most 63 letters, digits, -, _ and .";
      return [{ path: `${at}[${j}]`, value, message }];
    });
  });
}

/** An address as Kubernetes reads it. */
export function parseAddress(text: string): Address | undefined {
  return tryParseAddress(withoutZeros(text));
}

/** A CIDR as Kubernetes reads it; undefined when it is none. */
export function parseNetwork(text: string): Cidr | undefined {
  const slash = text.lastIndexOf("/");
  const length = text.slice(slash + 1).replace(/^0+(?=\d)/, "");
  if (slash < 0 || !/^\d{1,3}$/.test(length)) return undefined;
  const address = withoutZeros(text.slice(0, slash));
  const found = tryParseCidr(`${address}/${length}`);
  if (found || !address.includes(":")) return found;
  // An IPv4 network in IPv6 clothes.
  const inner = tryParseAddress(address);
  const bits = Number(length) - 96;
  return inner?.version === 4 && bits <= 32 ? tryParseCidr(`${formatV4(inner.value)}/${Math.max(bits, 0)}`) : undefined;
}

const formatV4 = (value: bigint): string => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join(".");

/** 010.001.0.1 -> 10.1.0.1, also at the end of an IPv6 address. */
function withoutZeros(text: string): string {
  return text.includes(".") ? text.replace(/(?<=^|[.:])0+(?=\d+(?:\.|$))/g, "") : text;
}

export const CIDR_MEANS = "a CIDR such as 10.0.0.0/16 or fd00::/64";

/** Problems of a field that must be a CIDR. */
export function checkNetwork(value: string, path: string): s.Problem[] {
  return parseNetwork(value) ? [] : [{ path, value, message: `must be ${CIDR_MEANS}` }];
}

/** Problems of a port that may be a number or a name, beyond what its schema says: a number in quotes would be a name. */
export function checkPort(value: number | string | undefined, path: string): s.Problem[] {
  if (typeof value !== "string" || !/^\d+$/.test(value)) return [];
  return [{ path, value, message: "must be a number without quotes, or the name of a port" }];
}

/** Problems of the second and later items that have the same key as an earlier one. */
export function checkUnique<T>(
  items: readonly T[],
  key: (item: T) => string,
  path: (i: number) => string,
): s.Problem[] {
  const seen = new Set<string>();
  return items.flatMap((item, i) => {
    const value = key(item);
    if (!seen.has(value)) {
      seen.add(value);
      return [];
    }
    return [{ path: path(i), value, message: "is in the list already; each must be another" }];
  });
}
