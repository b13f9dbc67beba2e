/** IP sets as ipset says them: members in the kernel's spelling, and what `ipset save` prints. */
import { formatAddress, formatCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import type { SetType } from "../calc/index.ts";
import type { IpVersion } from "../rules/index.ts";

export const KERNEL_TYPE: Readonly<Record<SetType, string>> = { net: "hash:net", port: "hash:ip,port" };
export const FAMILY: Readonly<Record<IpVersion, string>> = { 4: "inet", 6: "inet6" };

/** A net of prefix 0 cannot be in hash:net; its halves can. */
const HALVES: Readonly<Record<IpVersion, readonly string[]>> = {
  4: ["0.0.0.0/1", "128.0.0.0/1"],
  6: ["::/1", "8000::/1"],
};

const PORT = /^(tcp|udp|udplite|sctp):(\d{1,5})$/;
const PLAIN_V4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/** A member as the kernel lists it, which for a net of prefix 0 is two; none: it is no member for such a set. */
export function kernelMembers(member: string, type: SetType, version: IpVersion): readonly string[] {
  return type === "net" ? nets(member, version) : addressPort(member, version);
}

function nets(member: string, version: IpVersion): readonly string[] {
  const host = version === 4 && member.endsWith("/32") ? member.slice(0, -3) : member;
  // ipset would ask the name service for what is no address, so nothing else gets through.
  if (PLAIN_V4.test(host)) return version === 4 && tryParseAddress(host) ? [host] : [];
  const cidr = member.includes("/") ? tryParseCidr(member) : undefined;
  if (cidr === undefined) {
    const address = member.includes("/") ? undefined : tryParseAddress(member);
    return address?.version === version ? [formatAddress(address)] : [];
  }
  const text = formatCidr(cidr);
  if (text.includes(":") !== (version === 6)) return [];
  if (text.endsWith("/0")) return HALVES[version];
  return [text.endsWith(version === 4 ? "/32" : "/128") ? text.slice(0, text.indexOf("/")) : text];
}

function addressPort(member: string, version: IpVersion): readonly string[] {
  const comma = member.indexOf(",");
  const address = comma < 0 ? undefined : tryParseAddress(member.slice(0, comma));
  const port = PORT.exec(member.slice(comma + 1));
  if (address?.version !== version || port === null || Number(port[2]) > 65535) return [];
  return [`${formatAddress(address)},${port[1]}:${Number(port[2])}`];
}

/** A set as `ipset save` prints it. */
export interface SavedSet {
  readonly name: string;
  /** `hash:net` */
  readonly type: string;
  readonly family: string;
  readonly maxelem: number;
  readonly members: readonly string[];
}

/** Parses `ipset save`: a line that makes a set, followed by one for each of its members. */
export function parseIpsetSave(output: string): SavedSet[] {
  const sets: (Omit<SavedSet, "members"> & { members: string[] })[] = [];
  for (let from = 0; from < output.length; ) {
    const newline = output.indexOf("\n", from);
    const end = newline < 0 ? output.length : newline;
    if (output.startsWith("add ", from)) {
      const at = output.indexOf(" ", from + 4) + 1;
      const stop = output.indexOf(" ", at);
      sets.at(-1)?.members.push(spelling(output.slice(at, stop < 0 || stop > end ? end : stop)));
    } else if (output.startsWith("create ", from)) {
      const [, name = "", type = "", ...rest] = output.slice(from, end).split(" ");
      const option = (key: string): string => rest[rest.indexOf(key) + 1] ?? "";
      const family = rest.includes("family") ? option("family") : "";
      sets.push({ name, type, family, maxelem: rest.includes("maxelem") ? Number(option("maxelem")) : 0, members: [] });
    }
    from = end + 1;
  }
  return sets;
}

/** IPv6 with an IPv4 address in it is written by ipset in another way than here. */
function spelling(member: string): string {
  if (!member.includes(":") || !member.includes(".")) return member;
  const cut = member.search(/[,/]/);
  const address = tryParseAddress(cut < 0 ? member : member.slice(0, cut));
  return address?.version === 6 ? formatAddress(address) + (cut < 0 ? "" : member.slice(cut)) : member;
}
