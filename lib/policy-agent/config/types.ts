import { parseGoRegExp } from "../../api/regexp.ts";
import { formatAddress, formatCidr, hostCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { parseDuration } from "../../wait/duration.ts";

/**
 * The types that parameters have: how their texts are read (felix/config/param_types.go), and what `none` stands for. Durations are
 * milliseconds, whatever the parameter's name ends in; addresses and networks are texts in canonical form; a text that is absent is empty.
 */

/** What reading a text comes to: the value, or what the text must be. */
export type Parsed<T> = { readonly value: T } | { readonly must: string };

/** `T`: what the values are. */
export interface Type<T> {
  /** What texts look like, to be read after "must be". */
  readonly means: string;
  parse(text: string): Parsed<T>;
  /** What `none` stands for, and what a parameter without a default is. */
  readonly zero: T;
  /** There is no `none`. */
  readonly nonZero?: true;
  /** The name of a file that must be there. */
  readonly file?: true;
  /** The only texts that there are. */
  readonly words?: readonly string[];
}

/** A range of ports; both ends belong to it. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A port of a protocol, also of a network only. */
export interface ProtoPort {
  /** IP protocol number: 6, 17 or 132. */
  readonly protocol: number;
  readonly port: number;
  /** CIDR; absent: any address. */
  readonly net?: string;
}

/** Routing tables; both ends belong to it. */
export interface TableRange {
  readonly min: number;
  readonly max: number;
}

const of = <T>(means: string, zero: T, read: (text: string) => T | undefined): Type<T> => ({
  means,
  zero,
  parse(text) {
    const value = read(text);
    return value === undefined ? { must: means } : { value };
  },
});

/** The same type without `none`. */
export const required = <T>(type: Type<T>): Type<Exclude<T, "">> => ({
  ...(type as Type<Exclude<T, "">>),
  nonZero: true,
});

const BOOLEANS: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...["true", "1", "yes", "y", "t"].map((text) => [text, true] as const),
  ...["false", "0", "no", "n", "f"].map((text) => [text, false] as const),
]);

const readFlag = (text: string) => {
  const lower = text.toLowerCase();
  return Object.hasOwn(BOOLEANS, lower) ? BOOLEANS[lower] : undefined;
};

export const flag: Type<boolean> = of("true or false", false, readFlag);

/** A flag that may be left to what is found. */
export const optionalFlag: Type<boolean | undefined> = of<boolean | undefined>("true or false", undefined, readFlag);

export function integer(min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER): Type<number> {
  const least = min === Number.MIN_SAFE_INTEGER ? "" : max === Number.MAX_SAFE_INTEGER ? ` of ${min} or more` : "";
  const means = max === Number.MAX_SAFE_INTEGER ? `an integer${least}` : `an integer from ${min} to ${max}`;
  return of(means, 0, (text) => {
    const value = readInteger(text);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

/** As Go's strconv reads with base 0: decimal, 0x, 0o or a leading 0, 0b. */
function readInteger(text: string): number | undefined {
  const found = /^([+-]?)(?:0x([0-9a-f]+)|0b([01]+)|0o?([0-7]+)|(0|[1-9]\d*))$/i.exec(text);
  if (!found) return undefined;
  const [, sign, hexadecimal, binary, octal, decimal] = found;
  const value = hexadecimal
    ? Number.parseInt(hexadecimal, 16)
    : binary
      ? Number.parseInt(binary, 2)
      : octal
        ? Number.parseInt(octal, 8)
        : Number(decimal);
  if (!Number.isSafeInteger(value)) return undefined;
  return sign === "-" && value !== 0 ? -value : value;
}

const MIN_MARK_BITS = 2;

/** Bits of packet marks. */
export const markMask: Type<number> = of(
  `32 bits such as 0xffff0000, of which at least ${MIN_MARK_BITS} are set`,
  0,
  (text) => {
    const value = readInteger(text);
    if (value === undefined || value < 0 || value > 0xffff_ffff) return undefined;
    return value.toString(2).replaceAll("0", "").length >= MIN_MARK_BITS ? value : undefined;
  },
);

const duration = (unit: "seconds" | "milliseconds", example: string): Type<number> =>
  of(`a number of ${unit} such as ${example}, or a duration such as 1m30s`, 0, (text) => {
    const isNumber = /^[+]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
    const value = isNumber ? Number(text) * (unit === "seconds" ? 1000 : 1) : parseDuration(text);
    return value !== undefined && value >= 0 && Number.isFinite(value) ? value : undefined;
  });

/** Read as seconds, held in milliseconds. A duration with units is also taken, which upstream does not. */
export const seconds = duration("seconds", "90 or 0.5");
export const millis = duration("milliseconds", "50");

const matching = (means: string, pattern: RegExp): Type<string> =>
  of(means, "", (text) => (pattern.test(text) ? text : undefined));

/** Any text on one line. */
export const text = matching("a text", /^.*$/);
export const file = matching("the name of a file", /^.*$/s);
/** A file that must be there when it is named. */
export const existingFile: Type<string> = { ...file, means: "the name of a file that is there", file: true };
export const hostname = matching("a name of letters, digits, _, . and -", /^[a-zA-Z0-9_.-]+$/);
export const hostAddress = matching("an address or a host's name, at most 64 long", /^[a-zA-Z0-9:._+-]{1,64}$/);
export const authority = matching("a host and a port such as 127.0.0.1:2379", /^[^:/]+:\d+$/);
export const interfaceFilter = matching(
  "the name of an interface, at most 15 long; + at the end stands for any more",
  /^[a-zA-Z0-9:._+-]{1,15}$/,
);
export const rate = matching(
  "a rate such as 10/second, 100/minute, 5/hour or 1/day",
  /^([1-9]\d{0,3}\/(second|minute|hour|day))?$/,
);
/** So that openstack-region-<region> is a label. */
export const region = matching(
  "a name of lower-case letters, digits and -, at most 46 long",
  /^(?=.{1,46}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
);

/** One of a few words, in any case; `none` makes it empty, unless it is one of them. */
export function choice<const V extends string>(values: readonly V[]): Type<V | ""> {
  const means = values.length === 1 ? values[0]! : `one of ${values.join(", ")}`;
  const find = (given: string) => values.find((value) => value.toLowerCase() === given.toLowerCase());
  return { ...of<V | "">(means, "", find), words: values };
}

/** A regular expression in Go's syntax. */
export const regex: Type<RegExp | undefined> = of<RegExp | undefined>("a regular expression", undefined, parseGoRegExp);

/** Splits at commas, and leaves out what is blank. */
const items = (given: string): string[] =>
  given
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

const listOf = <T>(means: string, read: (item: string) => T | undefined): Type<readonly T[]> =>
  of<readonly T[]>(means, [], (given) => {
    const values = items(given).map(read);
    return values.every((value) => value !== undefined) ? (values as T[]) : undefined;
  });

/** What interfaces' names begin with. */
export const interfacePrefixes: Type<readonly string[]> = of<readonly string[]>(
  "beginnings of interfaces' names with commas between them, each of 1 to 15 letters, digits, _ and -",
  [],
  (given) => (/^[a-zA-Z0-9_-]{1,15}(,[a-zA-Z0-9_-]{1,15})*$/.test(given) ? given.split(",") : undefined),
);

/** Interfaces, by name or by regular expressions between slashes. */
export const interfacePatterns: Type<readonly RegExp[]> = of<readonly RegExp[]>(
  "names of interfaces, or regular expressions between slashes, with commas between them",
  [],
  (given) => {
    const patterns = given.split(",").map((item) => {
      if (/^\/\S+\/$/.test(item)) return parseGoRegExp(item.slice(1, -1));
      return /^[a-zA-Z0-9_-]{1,15}$/.test(item) ? new RegExp(`^${item}$`) : undefined;
    });
    return patterns.every((pattern) => pattern !== undefined) ? patterns : undefined;
  },
);

export const interfaceFilters = listOf(
  "names of interfaces with commas between them; + at the end of one stands for any more",
  (item) => (/^[a-zA-Z0-9:._+-]{1,15}$/.test(item) ? item : undefined),
);

const address = (version: 4 | 6): Type<string> =>
  of(`an IPv${version} address`, "", (given) => {
    const found = tryParseAddress(given);
    return found?.version === version ? formatAddress(found) : undefined;
  });
export const ipv4 = address(4);
export const ipv6 = address(6);

/** A network or an address, as a CIDR without bits beyond its prefix length. */
function readNetwork(given: string): string | undefined {
  const found = given.includes("/") ? tryParseCidr(given) : hostOf(given);
  return found && formatCidr(found);
}

function hostOf(given: string) {
  const found = tryParseAddress(given);
  return found && hostCidr(found);
}

export const cidrs = listOf("networks or addresses with commas between them", readNetwork);

const readPort = (given: string): number | undefined =>
  /^\d{1,5}$/.test(given) && Number(given) <= 65535 ? Number(given) : undefined;

function readRange(given: string): PortRange | undefined {
  const [first, last, ...rest] = given.split(":").map(readPort);
  if (first === undefined || rest.length > 0) return undefined;
  if (!given.includes(":")) return { first, last: first };
  return last === undefined || last < first ? undefined : { first, last };
}

export const portRange: Type<PortRange | undefined> = of<PortRange | undefined>(
  "a port or a range of ports such as 1024:65535",
  undefined,
  readRange,
);
export const portRanges = listOf(
  "ports or ranges of ports with commas between them, such as 80,30000:32767",
  readRange,
);

/** Upstream reads tcp and udp only, though a FelixConfiguration may also say SCTP. */
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

export const protoPorts = listOf(
  "ports such as tcp:22, tcp:10.0.0.0/8:22, tcp:[fd00::/8]:22 or 22, with commas between them",
  (item): ProtoPort | undefined => {
    const found = /^(?:([a-z]+):)?(?:\[([^\]]*)\]:|(?<=:)([^:[\]]*):)?(\d+)$/i.exec(item);
    if (!found) return undefined;
    const [, name = "tcp", network6, network = network6, number = ""] = found;
    const protocol = PROTOCOLS[name.toLowerCase()];
    const port = readPort(number);
    if (protocol === undefined || port === undefined) return undefined;
    if (network === undefined) return { protocol, port };
    const net = readNetwork(network);
    return net === undefined ? undefined : { protocol, port, net };
  },
);

/** Addresses of servers that all speak http, or all https. */
export const endpoints: Type<readonly string[]> = of<readonly string[]>(
  "addresses such as https://10.0.0.1:2379 with commas between them, all of one scheme",
  [],
  (given) => {
    const urls = items(given).map((item) => /^(https?):\/\/[^/?#@]+\/?$/.exec(item));
    if (!urls.every((url) => url !== null && url[1] === urls[0]![1])) return undefined;
    return urls.map((url) => (url![0].endsWith("/") ? url![0] : `${url![0]}/`));
  },
);

const MAX_TABLE = 250;
const MAX_TABLE_INDEX = 0xffff_ffff;
const MAX_TABLES = 0xffff;

export const tableRange: Type<TableRange | undefined> = of<TableRange | undefined>(
  `a range of routing tables such as 1-250, from 1 to ${MAX_TABLE}`,
  undefined,
  (given) => {
    const [, min, max] = (/^(\d+)-(\d+)$/.exec(given) ?? []).map(Number);
    if (min === undefined || max === undefined || min < 1 || max < min || max > MAX_TABLE) return undefined;
    return { min, max };
  },
);

export const tableRanges: Type<readonly TableRange[]> = of<readonly TableRange[]>(
  `ranges of routing tables such as 1-250,1000-2000, at most ${MAX_TABLES} tables together`,
  [],
  (given) => {
    const ranges: TableRange[] = [];
    let tables = 0;
    for (const item of given.split(/[\s,]+/).filter((part) => part !== "")) {
      const [, min, max] = (/^(\d+)-(\d+)$/.exec(item) ?? []).map(Number);
      if (min === undefined || max === undefined || min < 1 || max < min || max > MAX_TABLE_INDEX) return undefined;
      tables += max - min + 1;
      ranges.push({ min, max });
    }
    return ranges.length > 0 && tables <= MAX_TABLES ? ranges : undefined;
  },
);

const pairs = <T>(means: string, read: (value: string) => T | undefined): Type<Readonly<Record<string, T>>> =>
  of<Readonly<Record<string, T>>>(means, {}, (given) => {
    const found: [string, T][] = [];
    for (const item of given.split(",")) {
      if (item.trim() === "") continue;
      const equals = item.indexOf("=");
      const key = item.slice(0, Math.max(equals, 0)).trim();
      const value = read(item.slice(equals + 1));
      if (key === "" || value === undefined) return undefined;
      found.push([key, value]);
    }
    return Object.fromEntries(found);
  });

export const keyValues = pairs("a list such as name=value,other=value", (value) => value);
export const keyDurations = pairs("a list such as name=90s,other=2m", (value) => {
  const milliseconds = parseDuration(value.trim());
  return milliseconds !== undefined && milliseconds >= 0 ? milliseconds : undefined;
});

const CODE_POINTS: Readonly<Record<string, number>> = {
  DF: 0,
  EF: 46,
  ...Object.fromEntries([0, 1, 2, 3, 4, 5, 6].map((n) => [`CS${n}`, n * 8])),
  ...Object.fromEntries([1, 2, 3, 4].flatMap((n) => [1, 2, 3].map((m) => [`AF${n}${m}`, n * 8 + m * 2]))),
};

/** A differentiated services code point, as its number (RFC 2474, 2597, 3246). */
export const dscp: Type<number> = of("DF, EF, AF11 to AF43, CS0 to CS6, or a number from 0 to 63", 0, (given) => {
  const name = given.trim().toUpperCase();
  if (Object.hasOwn(CODE_POINTS, name)) return CODE_POINTS[name];
  return /^\d{1,2}$/.test(name) && Number(name) < 64 ? Number(name) : undefined;
});
