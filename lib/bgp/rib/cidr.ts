/** Prefixes of the tables and CIDRs of everybody else, each as the other. */
import type { Cidr } from "../../ip/index.ts";
import type { Prefix } from "./types.ts";

/** Bits of the CIDR after its length have to be 0, as `parseCidr` leaves them. */
export function prefixOf({ version, base, length }: Cidr): Prefix {
  const words: Prefix["words"] =
    version === 4 ? [Number(base), 0, 0, 0] : [word(base >> 96n), word(base >> 64n), word(base >> 32n), word(base)];
  return { family: version, length, words };
}

const word = (value: bigint): number => Number(value & 0xffff_ffffn);

/** Words may be signed or not. */
export function cidrOf({ family, length, words: [a, b, c, d] }: Prefix): Cidr {
  if (family === 4) return { version: 4, base: BigInt(a >>> 0), length };
  const base = (BigInt(a >>> 0) << 96n) | (BigInt(b >>> 0) << 64n) | (BigInt(c >>> 0) << 32n) | BigInt(d >>> 0);
  return { version: 6, base, length };
}
