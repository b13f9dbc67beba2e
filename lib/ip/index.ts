/**
 * IP addresses and CIDRs as plain numbers: parsing, printing (RFC 5952), containment and arithmetic, without a
 * dependency and without work at start-up, because every pod's ADD pays for it. Property-tested against `ip-address`.
 */
export {
  type Address,
  addressAt,
  compareAddresses,
  formatAddress,
  isLinkLocal,
  offsetOf,
  parseAddress,
  tryParseAddress,
} from "./address.ts";
export { addressBytes, addressFromBytes, eui64LinkLocal, formatMac, parseMac } from "./bytes.ts";
export {
  type Cidr,
  cidrContains,
  cidrFromAddress,
  cidrOverlaps,
  cidrSize,
  containsAddress,
  formatCidr,
  hostCidr,
  parseCidr,
  sameCidr,
  subnetAt,
  tryParseCidr,
} from "./cidr.ts";
