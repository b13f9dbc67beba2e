/** Interface addresses: include/uapi/linux/if_addr.h. */
import { type Address, addressBytes, addressFromBytes, formatAddress } from "../ip/index.ts";
import { type DumpRequest, FLAG, familyOf, type Message, type Request, TYPE } from "./message.ts";
import { Reader, type Writer } from "./wire.ts";

const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, FLAGS: 8 } as const;
const IFADDRMSG = 8;

/** Address flags. SECONDARY: of a network that the interface has another address of, or temporary (IPv6); NODAD: no duplicate address detection; TENTATIVE: detection is under way, the address does not work yet. */
export const IFA_F = {
  SECONDARY: 0x01,
  NODAD: 0x02,
  OPTIMISTIC: 0x04,
  DADFAILED: 0x08,
  TENTATIVE: 0x40,
  PERMANENT: 0x80,
} as const;

export interface AddressChange {
  readonly index: number;
  readonly address: Address;
  readonly length: number;
  /** RT_SCOPE value; 0 (universe, "global") when absent. */
  readonly scope?: number;
  /** IFA_F bits. */
  readonly flags?: number;
}

export interface AddressInfo {
  readonly index: number;
  readonly address: Address;
  readonly length: number;
  readonly scope: number;
  readonly flags: number;
  readonly label?: string;
  /** The other end's, on a point-to-point link: the prefix length is of its network. */
  readonly peer?: Address;
}

function body(writer: Writer, change: AddressChange): void {
  // Family, prefix length, flags and scope; the flags are an attribute as well, as this field has room for eight of them only.
  writer.u32(familyOf(change.address.version) | (change.length << 8) | ((change.scope ?? 0) << 24));
  writer.u32(change.index);
  const bytes = addressBytes(change.address);
  writer.attribute(IFA.LOCAL, bytes);
  writer.attribute(IFA.ADDRESS, bytes);
  if (change.flags) writer.attributeU32(IFA.FLAGS, change.flags);
}

const describe = (change: AddressChange): string =>
  `${formatAddress(change.address)}/${change.length} on the link with index ${change.index}`;

/** Adds an address; EEXIST when it is there already. */
export function addressAdd(change: AddressChange): Request {
  return {
    type: TYPE.NEWADDR,
    flags: FLAG.CREATE | FLAG.EXCLUSIVE,
    attempt: () => `add the address ${describe(change)}`,
    body: (writer) => body(writer, change),
  };
}

/** Removes an address; EADDRNOTAVAIL when it is not there. */
export function addressDelete(change: AddressChange): Request {
  return {
    type: TYPE.DELADDR,
    flags: 0,
    attempt: () => `remove the address ${describe(change)}`,
    body: (writer) => body(writer, change),
  };
}

/** All addresses, or those of one link or one IP version. */
export function addresses(
  filter: { readonly index?: number; readonly version?: 4 | 6 } = {},
): DumpRequest<AddressInfo> {
  return {
    type: TYPE.GETADDR,
    attempt: () =>
      filter.index === undefined ? "list the addresses" : `list the addresses of the link with index ${filter.index}`,
    body: (writer) => {
      writer.u8(familyOf(filter.version));
      writer.zeros(3);
      writer.u32(filter.index ?? 0);
    },
    decode: (message) => {
      if (message.type !== TYPE.NEWADDR) return undefined;
      const info = decodeAddress(message);
      if (!info || (filter.index !== undefined && info.index !== filter.index)) return undefined;
      return filter.version === undefined || info.address.version === filter.version ? info : undefined;
    },
  };
}

/** A NEWADDR or DELADDR message; undefined for families other than IPv4 and IPv6. */
export function decodeAddress(message: Message): AddressInfo | undefined {
  const reader = new Reader(message.payload);
  const attributes = reader.attributes(IFADDRMSG);
  // On a point-to-point link ADDRESS is the peer's; LOCAL, where present, is always the interface's own.
  const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  if (!bytes || (bytes.length !== 4 && bytes.length !== 16)) return undefined;
  const label = attributes.string(IFA.LABEL);
  const other = attributes.get(IFA.ADDRESS);
  const peer = other && other !== bytes && other.length === bytes.length ? addressFromBytes(other) : undefined;
  const address = addressFromBytes(bytes);
  return {
    index: reader.u32(4),
    address,
    length: reader.u8(1),
    scope: reader.u8(3),
    flags: attributes.u32(IFA.FLAGS) ?? reader.u8(2),
    ...(label !== undefined && { label }),
    ...(peer && peer.value !== address.value && { peer }),
  };
}
