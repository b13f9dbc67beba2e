/**
 * The success result of each version of the CNI specification, as a check on JSON: every key that the version has, with
 * its type, and none that it has not. Written after SPEC.md at the tags v0.2.0, v0.3.1, v0.4.0, spec-v1.0.0 and
 * spec-v1.1.0; nothing of lib/ is used. One liberty: what 1.1.0 added to interfaces and routes may be in a 1.0.0 result,
 * because libcni has one type for both and prints it in both.
 */

export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type Version = (typeof VERSIONS)[number];

/** Whether `version` is `least` or newer. */
export function since(version: Version, least: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(least);
}

type Check = (value: unknown, path: string) => string[];

const type =
  (test: (value: unknown) => boolean, what: string): Check =>
  (value, path) =>
    test(value) ? [] : [`${path} is ${JSON.stringify(value)}, not ${what}`];

const text = type((value) => typeof value === "string", "a string");
const count = type((value) => Number.isInteger(value) && Number(value) >= 0, "a whole number");
const filled = type((value) => typeof value === "string" && value !== "", "a non-empty string");
const mac = type((value) => typeof value === "string" && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(value), "a MAC address");
const cidr = type(
  (value) => typeof value === "string" && /^(\d+\.\d+\.\d+\.\d+\/(\d|[12]\d|3[0-2])|[0-9a-f:]+\/\d{1,3})$/.test(value),
  "an address with its prefix length",
);
const address = type(
  (value) => typeof value === "string" && /^(\d+\.\d+\.\d+\.\d+|[0-9a-f:]+)$/.test(value),
  "an address",
);
const exactly = (wanted: string): Check => type((value) => value === wanted, JSON.stringify(wanted));

const list =
  (item: Check): Check =>
  (value, path) =>
    Array.isArray(value) ? value.flatMap((one, index) => item(one, `${path}[${index}]`)) : [`${path} is not a list`];

/** `required` keys must be there, `optional` ones may, and no others. */
const object =
  (required: Record<string, Check>, optional: Record<string, Check> = {}): Check =>
  (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [`${path} is not an object`];
    const fields = value as Record<string, unknown>;
    const found = Object.keys(required)
      .filter((key) => !(key in fields))
      .map((key) => `${path}.${key} is missing`);
    for (const [key, field] of Object.entries(fields)) {
      const check = required[key] ?? optional[key];
      found.push(...(check ? check(field, `${path}.${key}`) : [`${path}.${key} is not in this version`]));
    }
    return found;
  };

const dns = object({}, { nameservers: list(address), domain: text, search: list(text), options: list(text) });

function shape(version: Version): Check {
  const route = object(
    { dst: cidr },
    since(version, "1.0.0")
      ? { gw: address, mtu: count, advmss: count, priority: count, table: count, scope: count }
      : { gw: address },
  );
  if (!since(version, "0.3.0")) {
    const family = object({ ip: cidr }, { gateway: address, routes: list(route) });
    // 0.1.0 has no cniVersion in its results; libcni prints it all the same.
    return object({}, { cniVersion: exactly(version), ip4: family, ip6: family, dns });
  }
  const ip = since(version, "1.0.0")
    ? object({ address: cidr }, { gateway: address, interface: count })
    : object(
        { version: type((value) => value === "4" || value === "6", '"4" or "6"'), address: cidr },
        { gateway: address, interface: count },
      );
  const device = object(
    { name: filled },
    since(version, "1.0.0")
      ? { mac, mtu: count, sandbox: filled, socketPath: filled, pciID: filled }
      : { mac, sandbox: filled },
  );
  return object(
    { cniVersion: exactly(version), interfaces: list(device), ips: list(ip) },
    { routes: list(route), dns },
  );
}

/** What is wrong with a result of this version; empty when nothing is. */
export function faults(version: Version, result: unknown): string[] {
  const found = shape(version)(result, "result");
  if (found.length > 0) return found;
  const { interfaces = [], ips = [] } = result as { interfaces?: unknown[]; ips?: { interface?: number }[] };
  for (const [index, ip] of ips.entries()) {
    if (ip.interface !== undefined && ip.interface >= interfaces.length) {
      found.push(`result.ips[${index}].interface is ${ip.interface}, of ${interfaces.length} interfaces`);
    }
  }
  return found;
}

/** The addresses in a result of any version, without prefix length. */
export function addressesIn(result: unknown): string[] {
  const {
    ip4,
    ip6,
    ips = [],
  } = result as {
    ip4?: { ip: string };
    ip6?: { ip: string };
    ips?: { address: string }[];
  };
  return [ip4?.ip, ip6?.ip, ...ips.map((ip) => ip.address)].flatMap((one) => (one ? [one.replace(/\/\d+$/, "")] : []));
}

/** What is wrong with an error object; empty when nothing is. */
export function errorFaults(error: unknown): string[] {
  return object(
    { code: type((value) => Number.isInteger(value) && Number(value) > 0, "a positive whole number"), msg: filled },
    { cniVersion: filled, details: text },
  )(error, "error");
}
