/** NOTIFICATIONs in words a user acts on, and names for their subcodes. */
import { ERROR, type Notification } from "./types.ts";

/** RFC 4271 6.1. */
export const HEADER_ERROR = { NOT_SYNCHRONIZED: 1, BAD_LENGTH: 2, BAD_TYPE: 3 } as const;

/** RFC 4271 6.2, RFC 5492 5, RFC 9234 4.2. */
export const OPEN_ERROR = {
  UNSPECIFIC: 0,
  UNSUPPORTED_VERSION: 1,
  BAD_PEER_AS: 2,
  BAD_BGP_IDENTIFIER: 3,
  UNSUPPORTED_OPTIONAL_PARAMETER: 4,
  UNACCEPTABLE_HOLD_TIME: 6,
  UNSUPPORTED_CAPABILITY: 7,
  ROLE_MISMATCH: 11,
} as const;

/** RFC 4271 6.3. */
export const UPDATE_ERROR = {
  MALFORMED_ATTRIBUTE_LIST: 1,
  UNRECOGNIZED_WELL_KNOWN: 2,
  MISSING_WELL_KNOWN: 3,
  ATTRIBUTE_FLAGS: 4,
  ATTRIBUTE_LENGTH: 5,
  INVALID_ORIGIN: 6,
  INVALID_NEXT_HOP: 8,
  OPTIONAL_ATTRIBUTE: 9,
  INVALID_NETWORK_FIELD: 10,
  MALFORMED_AS_PATH: 11,
} as const;

/** RFC 4486 4, RFC 8538 3, RFC 9384 3. */
export const CEASE = {
  MAXIMUM_PREFIXES: 1,
  ADMINISTRATIVE_SHUTDOWN: 2,
  PEER_DECONFIGURED: 3,
  ADMINISTRATIVE_RESET: 4,
  CONNECTION_REJECTED: 5,
  OTHER_CONFIGURATION_CHANGE: 6,
  COLLISION: 7,
  OUT_OF_RESOURCES: 8,
  HARD_RESET: 9,
  BFD_DOWN: 10,
} as const;

/** RFC 7313 5. */
export const REFRESH_ERROR = { INVALID_LENGTH: 1 } as const;

/** By code: what it is called, and its subcodes. IANA's registry of BGP error codes. */
const WORDS: Readonly<Record<number, { readonly name: string; readonly subcodes: Readonly<Record<number, string>> }>> =
  {
    1: {
      name: "message header error",
      subcodes: { 1: "connection not synchronized", 2: "bad message length", 3: "bad message type" },
    },
    2: {
      name: "OPEN rejected",
      subcodes: {
        1: "unsupported version number",
        2: "bad peer AS",
        3: "bad BGP identifier",
        4: "unsupported optional parameter",
        5: "authentication failure",
        6: "unacceptable hold time",
        7: "unsupported capability",
        8: "grouping conflict",
        9: "grouping required",
        10: "capability value mismatch",
        11: "role mismatch",
      },
    },
    3: {
      name: "UPDATE error",
      subcodes: {
        1: "malformed attribute list",
        2: "unrecognized well-known attribute",
        3: "missing well-known attribute",
        4: "attribute flags error",
        5: "attribute length error",
        6: "invalid ORIGIN",
        7: "AS routing loop",
        8: "invalid NEXT_HOP",
        9: "optional attribute error",
        10: "invalid network field",
        11: "malformed AS_PATH",
      },
    },
    4: { name: "hold timer expired", subcodes: {} },
    5: {
      name: "state machine error",
      subcodes: {
        1: "unexpected message in OpenSent",
        2: "unexpected message in OpenConfirm",
        3: "unexpected message in Established",
      },
    },
    6: {
      name: "Cease",
      subcodes: {
        1: "maximum number of prefixes reached",
        2: "administrative shutdown",
        3: "peer deconfigured",
        4: "administrative reset",
        5: "connection rejected",
        6: "other configuration change",
        7: "connection collision resolution",
        8: "out of resources",
        9: "hard reset",
        10: "BFD down",
      },
    },
    7: { name: "ROUTE-REFRESH error", subcodes: { 1: "invalid message length" } },
    8: { name: "send hold timer expired", subcodes: {} },
  };

/** `OPEN rejected: bad peer AS (2/2)`, `Cease: administrative shutdown (6/2): "new line cards"`. Unknown codes are told as numbers. */
export function describeNotification(notification: Notification): string {
  const { code, subcode, text } = notification;
  const known = WORDS[code];
  const numbers = `(${code}/${subcode})`;
  if (!known) return `error code ${code}, subcode ${subcode}`;
  const sub = known.subcodes[subcode] ?? (subcode === 0 ? undefined : `subcode ${subcode}`);
  const hardReset = code === ERROR.CEASE && subcode === CEASE.HARD_RESET;
  const more = detail(notification) ?? (text && !hardReset ? JSON.stringify(text) : undefined);
  return `${known.name}${sub ? `: ${sub}` : ""} ${numbers}${more ? `: ${more}` : ""}`;
}

/** What the data says, where its form is known. */
function detail({ code, subcode, data, text }: Notification): string | undefined {
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.UNSUPPORTED_VERSION && data.length === 2) {
    return `it speaks version ${(data[0]! << 8) | data[1]!} at most`;
  }
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.UNSUPPORTED_CAPABILITY) {
    const names: string[] = [];
    for (let at = 0; at + 2 <= data.length; at += 2 + data[at + 1]!) names.push(capabilityName(data[at]!));
    return names.length > 0 ? `it asks for ${names.join(", ")}` : undefined;
  }
  if (code === ERROR.HEADER && subcode === HEADER_ERROR.BAD_TYPE && data.length === 1) return `type ${data[0]}`;
  if (code === ERROR.HEADER && subcode === HEADER_ERROR.BAD_LENGTH && data.length === 2) {
    return `${(data[0]! << 8) | data[1]!} bytes`;
  }
  // RFC 4486 4: AFI, SAFI and the limit.
  if (code === ERROR.CEASE && subcode === CEASE.MAXIMUM_PREFIXES && data.length === 7) {
    const most = ((data[3]! << 24) | (data[4]! << 16) | (data[5]! << 8) | data[6]!) >>> 0;
    return `${most} of AFI ${(data[0]! << 8) | data[1]!}, SAFI ${data[2]}`;
  }
  // RFC 8538 3: the NOTIFICATION that would have been sent without.
  if (code === ERROR.CEASE && subcode === CEASE.HARD_RESET && data.length >= 2) {
    const [inner = 0, innerSubcode = 0] = data;
    // Not those within those: they have no meaning, and no end.
    if (inner === ERROR.CEASE && innerSubcode === CEASE.HARD_RESET) return undefined;
    const within = { code: inner, subcode: innerSubcode, data: data.subarray(2) };
    return describeNotification(text === undefined ? within : { ...within, text });
  }
  return undefined;
}

const CAPABILITIES: Readonly<Record<number, string>> = {
  1: "multiprotocol",
  2: "route refresh",
  3: "outbound route filtering",
  5: "extended next hop",
  6: "extended messages",
  7: "BGPsec",
  8: "multiple labels",
  9: "role",
  64: "graceful restart",
  65: "four-octet AS numbers",
  67: "dynamic capability",
  69: "add-path",
  70: "enhanced route refresh",
  71: "long-lived graceful restart",
  73: "FQDN",
  75: "software version",
};

/** IANA's registry of capability codes; `capability 99` for what is not known. */
export function capabilityName(code: number): string {
  return CAPABILITIES[code] ?? `capability ${code}`;
}
