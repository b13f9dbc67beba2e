/** Path attribute codes, names and flags (RFC 4271 4.3; IANA's registry). */
export const ATTRIBUTE = {
  ORIGIN: 1,
  AS_PATH: 2,
  NEXT_HOP: 3,
  MULTI_EXIT_DISC: 4,
  LOCAL_PREF: 5,
  ATOMIC_AGGREGATE: 6,
  AGGREGATOR: 7,
  COMMUNITIES: 8,
  ORIGINATOR_ID: 9,
  CLUSTER_LIST: 10,
  MP_REACH_NLRI: 14,
  MP_UNREACH_NLRI: 15,
  EXTENDED_COMMUNITIES: 16,
  AS4_PATH: 17,
  AS4_AGGREGATOR: 18,
  LARGE_COMMUNITIES: 32,
} as const;

export const FLAG = { OPTIONAL: 0x80, TRANSITIVE: 0x40, PARTIAL: 0x20, EXTENDED_LENGTH: 0x10 } as const;
/** The bits that a known attribute's specification fixes (RFC 7606 3 c). */
export const KIND_BITS = FLAG.OPTIONAL | FLAG.TRANSITIVE;

export const WELL_KNOWN = FLAG.TRANSITIVE;
export const OPTIONAL_TRANSITIVE = FLAG.OPTIONAL | FLAG.TRANSITIVE;
export const OPTIONAL_NON_TRANSITIVE = FLAG.OPTIONAL;

/** Optional and transitive bits as specified, by code; -1 for what is not known here. */
export const KINDS = new Int16Array(256).fill(-1);
const kind = (bits: number, ...types: number[]) => {
  for (const type of types) KINDS[type] = bits;
};
kind(
  WELL_KNOWN,
  ATTRIBUTE.ORIGIN,
  ATTRIBUTE.AS_PATH,
  ATTRIBUTE.NEXT_HOP,
  ATTRIBUTE.LOCAL_PREF,
  ATTRIBUTE.ATOMIC_AGGREGATE,
);
kind(
  OPTIONAL_TRANSITIVE,
  ATTRIBUTE.AGGREGATOR,
  ATTRIBUTE.COMMUNITIES,
  ATTRIBUTE.EXTENDED_COMMUNITIES,
  ATTRIBUTE.AS4_PATH,
  ATTRIBUTE.AS4_AGGREGATOR,
  ATTRIBUTE.LARGE_COMMUNITIES,
);
kind(
  OPTIONAL_NON_TRANSITIVE,
  ATTRIBUTE.MULTI_EXIT_DISC,
  ATTRIBUTE.ORIGINATOR_ID,
  ATTRIBUTE.CLUSTER_LIST,
  ATTRIBUTE.MP_REACH_NLRI,
  ATTRIBUTE.MP_UNREACH_NLRI,
);

const NAMES = new Map<number, string>(Object.entries(ATTRIBUTE).map(([name, type]) => [type, name]));

/** `AS_PATH`; `attribute 99` for what is not known. */
export function attributeName(type: number): string {
  return NAMES.get(type) ?? `attribute ${type}`;
}
