import { type Address, formatAddress, parseAddress, parseCidr, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { quote } from "./environment.ts";
import { CniError, errorCode } from "./errors.ts";
import { Fields, isObject } from "./fields.ts";
import { type CniVersion, isAtLeast, isSupported, SUPPORTED_VERSIONS } from "./version.ts";

/**
 * A result in the shape of specification 1.1, into which those of all older versions are read and from which they are
 * written. What an older version cannot say is left out: 0.2.0 and before know one address of each family, no
 * interfaces, and routes only beside an address.
 */
export interface Result {
  readonly interfaces: readonly Interface[];
  readonly ips: readonly IpConfig[];
  readonly routes: readonly Route[];
  readonly dns: Dns;
}

export interface Interface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** CNI_NETNS for an interface in the pod; absent on the host. */
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface IpConfig {
  /** An address with its prefix length, "10.0.0.5/32"; host bits are kept. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into `interfaces`. */
  readonly interface?: number;
}

export interface Route {
  /** A CIDR. */
  readonly dst: string;
  readonly gw?: string;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

export interface Dns {
  readonly nameservers: readonly string[];
  readonly domain: string;
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export const NO_DNS: Dns = { nameservers: [], domain: "", search: [], options: [] };

/**
 * Reads a result: the answer of an executed plugin, or a `prevResult`. One that does not say its version is of the
 * configuration's. `what` names it in the CniError 6 or 7 that is thrown when it is none.
 */
export function parseResult(raw: unknown, configVersion: CniVersion, what: string): Result {
  if (!isObject(raw)) throw new CniError(errorCode.decodingFailure, `${what} is not a JSON object`);
  const top = new Fields(raw, what);
  const version = top.string("cniVersion") || configVersion;
  if (!isSupported(version)) {
    throw new CniError(
      errorCode.incompatibleVersion,
      `${what} is of CNI version ${quote(version)}`,
      `supported are ${SUPPORTED_VERSIONS.join(", ")}`,
    );
  }
  const dns = parseResultDns(top.fields("dns"));
  if (!isAtLeast(version, "0.3.0")) return { ...parseOldAddresses(top), interfaces: [], dns };
  const interfaces = top.objects("interfaces").map(parseInterface);
  const ips = top.objects("ips").map((ip) => parseIp(ip, interfaces.length));
  return { interfaces, ips, routes: top.objects("routes").map(parseRoute), dns };
}

/** `ip4` and `ip6` of 0.2.0 and before, each with the routes of its family. */
function parseOldAddresses(top: Fields): { ips: IpConfig[]; routes: Route[] } {
  const ips: IpConfig[] = [];
  const routes: Route[] = [];
  for (const key of ["ip4", "ip6"]) {
    if (top.record(key) === undefined) continue;
    const family = top.fields(key);
    ips.push({ address: addressWithLength(family, "ip"), ...optional("gateway", plainAddress(family, "gateway")) });
    routes.push(...family.objects("routes").map(parseRoute));
  }
  return { ips, routes };
}

function parseInterface(fields: Fields): Interface {
  return {
    name: fields.string("name"),
    ...optional("mac", fields.string("mac")),
    ...optional("mtu", fields.integer("mtu", 0, 2 ** 31)),
    ...optional("sandbox", fields.string("sandbox")),
    ...optional("socketPath", fields.string("socketPath")),
    ...optional("pciID", fields.string("pciID")),
  };
}

function parseIp(fields: Fields, interfaces: number): IpConfig {
  const address = addressWithLength(fields, "address");
  const gateway = optional("gateway", plainAddress(fields, "gateway"));
  if (!fields.has("interface")) return { address, ...gateway };
  const index = fields.integer("interface", 0, 2 ** 31);
  // An IPAM plugin names no interfaces, and upstream's library lets an index without a list pass.
  if (interfaces > 0 && index >= interfaces)
    throw fields.invalid("interface", `is ${index}, there are ${interfaces} interfaces`);
  return { address, ...gateway, interface: index };
}

function parseRoute(fields: Fields): Route {
  const dst = fields.string("dst");
  if (!tryParseCidr(dst)) throw fields.invalid("dst", `is ${quote(dst)}, which is no CIDR such as 0.0.0.0/0`);
  const route: Record<string, unknown> = { dst, ...optional("gw", plainAddress(fields, "gw")) };
  for (const key of ["mtu", "advmss", "priority", "table", "scope"]) {
    if (fields.has(key)) route[key] = fields.integer(key, 0, 2 ** 32 - 1);
  }
  return route as unknown as Route;
}

function parseResultDns(dns: Fields): Dns {
  return {
    nameservers: dns.strings("nameservers"),
    domain: dns.string("domain"),
    search: dns.strings("search"),
    options: dns.strings("options"),
  };
}

function addressWithLength(fields: Fields, key: string): string {
  const text = fields.string(key);
  const cidr = tryParseCidr(text);
  if (!cidr)
    throw fields.invalid(key, `is ${quote(text)}, which is no address with a prefix length such as 10.0.0.5/24`);
  return `${formatAddress(parseAddress(text.slice(0, text.lastIndexOf("/"))))}/${cidr.length}`;
}

function plainAddress(fields: Fields, key: string): string {
  const text = fields.string(key);
  if (text === "") return "";
  const address = tryParseAddress(text);
  if (!address) throw fields.invalid(key, `is ${quote(text)}, which is no IP address`);
  return formatAddress(address);
}

/**
 * The result as an object of the given version, ready for JSON. Throws CniError 999 when it holds no address and the
 * version cannot do without (0.2.0 and before), as upstream's library does.
 */
export function formatResult(result: Result, version: CniVersion): Record<string, unknown> {
  if (!isAtLeast(version, "0.3.0")) return formatOld(result, version);
  const modern = isAtLeast(version, "1.0.0");
  const object: Record<string, unknown> = { cniVersion: version };
  if (result.interfaces.length > 0) {
    object.interfaces = modern ? result.interfaces : result.interfaces.map(formatOldInterface);
  }
  if (result.ips.length > 0) {
    object.ips = modern ? result.ips : result.ips.map((ip) => ({ version: String(addressOf(ip).version), ...ip }));
  }
  if (result.routes.length > 0) object.routes = result.routes;
  const dns = formatDns(result.dns);
  // Before 1.0 upstream's library prints an empty object rather than none.
  if (!modern || Object.keys(dns).length > 0) object.dns = dns;
  return object;
}

/** 0.3.0 to 0.4.0 know an interface's name, MAC and sandbox. */
function formatOldInterface(item: Interface): Record<string, unknown> {
  return { name: item.name, ...optional("mac", item.mac ?? ""), ...optional("sandbox", item.sandbox ?? "") };
}

function formatOld(result: Result, version: CniVersion): Record<string, unknown> {
  const object: Record<string, unknown> = { cniVersion: version };
  for (const family of [4, 6] as const) {
    const ip = result.ips.find((candidate) => addressOf(candidate).version === family);
    if (!ip) continue;
    const routes = result.routes
      .filter((route) => parseCidr(route.dst).version === family)
      .map((route) => ({ dst: route.dst, ...optional("gw", route.gw ?? "") }));
    object[`ip${family}`] = {
      ip: ip.address,
      ...optional("gateway", ip.gateway ?? ""),
      ...(routes.length > 0 ? { routes } : {}),
    };
  }
  if (!("ip4" in object) && !("ip6" in object)) {
    throw new CniError(errorCode.internal, `a result without an address cannot be said in CNI version ${version}`);
  }
  object.dns = formatDns(result.dns);
  return object;
}

function formatDns(dns: Dns): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  if (dns.nameservers.length > 0) object.nameservers = [...dns.nameservers];
  if (dns.domain !== "") object.domain = dns.domain;
  if (dns.search.length > 0) object.search = [...dns.search];
  if (dns.options.length > 0) object.options = [...dns.options];
  return object;
}

/** The address of an entry of `ips`, without its length. */
export function addressOf(ip: IpConfig): Address {
  return parseAddress(ip.address.slice(0, ip.address.lastIndexOf("/")));
}

function optional<Key extends string, Value extends string | number>(key: Key, value: Value): { [K in Key]?: Value } {
  return (value === "" || value === 0 ? {} : { [key]: value }) as { [K in Key]?: Value };
}
