import { tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { parseSelector, SelectorError } from "../selector/index.ts";
import type { Format } from "./schema.ts";
import { isGoTime } from "./time.ts";

/**
 * Checks of texts. A format says what it wants in words that fit behind "must be", and a check answers undefined when
 * the text is right, else those words, or better ones where it can tell what is wrong.
 */
interface Rule {
  readonly means: string;
  readonly test: (text: string) => boolean;
  /** Why the text is wrong, where that says more than `means`. */
  readonly why?: (text: string) => string | undefined;
}

const CIDR = "a CIDR such as 10.0.0.0/16 or fd00::/64";

/** Made when it is asked for: a plugin needs two or three of them. */
function ruleOf(format: Format): Rule {
  switch (format) {
    case "cidr":
      return { means: CIDR, test: (text) => tryParseCidr(text) !== undefined };
    case "cidr-or-ip":
      return { means: `${CIDR}, or an address`, test: (text) => isNetwork(text) };
    case "cidr4":
      return {
        means: "an IPv4 address, or one with its prefix length such as 10.0.0.1/24",
        test: (text) => isNetwork(text, 4),
      };
    case "cidr6":
      return {
        means: "an IPv6 address, or one with its prefix length such as fd00::1/64",
        test: (text) => isNetwork(text, 6),
      };
    case "net":
      return {
        means: `${CIDR} with no bits beyond its prefix length, or an address`,
        test: (text) => (text.indexOf("/") < 0 ? tryParseAddress(text) !== undefined : isMasked(text)),
      };
    case "ip":
      return { means: "an IP address", test: (text) => tryParseAddress(text) !== undefined };
    case "ip4":
      return { means: "an IPv4 address", test: (text) => tryParseAddress(text)?.version === 4 };
    case "ip6":
      return { means: "an IPv6 address", test: (text) => tryParseAddress(text)?.version === 6 };
    case "mac":
      return {
        means: "a MAC address such as ee:ee:ee:ee:ee:ee",
        test: isMac,
      };
    case "date-time":
      return {
        means: "a time such as 2026-01-31T12:00:00Z",
        test: (text) => isGoTime(text) || /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text),
      };
    case "name":
      return {
        means:
          "a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part",
        test: isName,
      };
    case "label-name":
      return {
        means: "a name of lower-case letters, digits and -, at most 63 long, with a letter or digit at both ends",
        test: (text) => text.length <= 63 && isWord(text, "-", false),
      };
    case "interface":
      return {
        means: "the name of a network interface: 1 to 15 letters, digits, _, . or -",
        test: (text) => text === "*" || (text.length > 0 && text.length <= 15 && isWord(`0${text}0`, "_.-", true)),
      };
    case "selector":
      return {
        means: 'a selector such as app == "web" && !has(internal)',
        test: (text) => selectorProblem(text) === undefined,
        why: selectorProblem,
      };
    case "wireguard-key":
      return {
        means: "a WireGuard key: 32 bytes in base64",
        test: (text) => /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text),
      };
    case "container-id":
      return {
        means: "a container ID: letters, digits and -, with a letter or digit at both ends",
        test: (text) => isWord(text, "-", true),
      };
    case "port-name":
      return {
        means: "the name of a port: 1 to 15 lower-case letters, digits and single -, at least one letter",
        test: isPortName,
      };
    case "port-or-name":
      return {
        means:
          "a port from 1 to 65535, or the name of one: 1 to 15 lower-case letters, digits and single -, at least one letter",
        test: (text) => isPortName(text) || isNumberText(text, 1, 65535),
      };
    case "protocol":
      return {
        means: "TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255",
        test: (text) => /^(TCP|UDP|ICMP|ICMPv6|SCTP|UDPLite)$/.test(text) || isNumberText(text, 1, 255),
      };
    case "port":
      return {
        means: 'a port from 1 to 65535, a range such as "8000:8080", or the name of a port',
        test: isPort,
      };
    case "dscp":
      return {
        means: "DF, EF, AF11 to AF43, CS0 to CS6, or a number from 0 to 63",
        test: (text) => /^(DF|EF|AF[1-4][1-3]|CS[0-6])$/i.test(text.trim()) || isNumberText(text, 0, 63),
      };
  }
}

/** What a format wants, to be read after "must be". */
export function formatMeans(format: Format): string {
  return ruleOf(format).means;
}

/** What is wrong with a text, to be read after "must be"; undefined when nothing is. */
export function formatProblem(format: Format, text: string): string | undefined {
  const rule = ruleOf(format);
  if (rule.test(text)) return undefined;
  return rule.why?.(text) ?? rule.means;
}

/** Whether a Kubernetes label key is well formed: an optional DNS prefix and a slash, then a name of up to 63 characters. */
export function isLabelKey(text: string): boolean {
  const slash = text.indexOf("/");
  if (slash >= 0 && !isName(text.slice(0, slash))) return false;
  return text.length > slash + 1 && isLabelValue(text.slice(slash + 1));
}

/** Whether a Kubernetes label value is well formed: at most 63 letters, digits, -, _ and ., or nothing. */
export function isLabelValue(text: string): boolean {
  return text === "" || (text.length <= 63 && isWord(text, "-_.", true));
}

function isName(text: string): boolean {
  if (text.length > 253) return false;
  for (const part of text.split(".")) if (!isWord(part, "-", false)) return false;
  return true;
}

/**
 * Whether a text has letters and digits at both ends, and between them also the characters of `inner`. A loop where a regular
 * expression would be shorter: a plugin checks one endpoint, and compiling the expressions for it takes longer than all else in that.
 */
function isWord(text: string, inner: string, upperCase: boolean): boolean {
  const last = text.length - 1;
  for (let i = 0; i <= last; i++) {
    const c = text[i]!;
    if ((c >= "a" && c <= "z") || (c >= "0" && c <= "9") || (upperCase && c >= "A" && c <= "Z")) continue;
    if (i === 0 || i === last || !inner.includes(c)) return false;
  }
  return last >= 0;
}

function isMac(text: string): boolean {
  if (text.length !== 17) return false;
  for (let i = 0; i < 17; i++) {
    const c = text[i]!;
    if (!(i % 3 === 2 ? ":-" : "0123456789abcdefABCDEF").includes(c)) return false;
  }
  return true;
}

function isNetwork(text: string, version?: 4 | 6): boolean {
  const found = text.indexOf("/") < 0 ? tryParseAddress(text) : tryParseCidr(text);
  return found !== undefined && (version === undefined || found.version === version);
}

/** Whether a text is a CIDR, and no bit beyond its prefix length is set. */
export function isMasked(text: string): boolean {
  const address = tryParseAddress(text.slice(0, text.indexOf("/")));
  return address !== undefined && address.value === tryParseCidr(text)?.base;
}

function isNumberText(text: string, min: number, max: number): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= min && Number(text) <= max;
}

function isPortName(text: string): boolean {
  return text.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(text) && /[a-z]/.test(text);
}

function isPort(text: string): boolean {
  if (/^\d+$/.test(text)) return isNumberText(text, 1, 65535);
  const range = /^(\d+):(\d+)$/.exec(text);
  if (!range) return /^[a-zA-Z0-9_.-]{1,128}$/.test(text);
  const [first, last] = [range[1]!, range[2]!];
  return isNumberText(first, 1, 65535) && isNumberText(last, 1, 65535) && Number(first) <= Number(last);
}

function selectorProblem(text: string): string | undefined {
  try {
    parseSelector(text);
    return undefined;
  } catch (error) {
    if (error instanceof SelectorError) return `a selector; ${error.detail}`;
    throw error;
  }
}
