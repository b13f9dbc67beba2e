/**
 * What BGP shall be on one node: the values between configuration and back ends. `../config` makes a {@link NodeBgp} from resources, pure and
 * complete; `../bird` renders it as text for a real BIRD, `../policy` compiles its filters for our own speaker, `../speaker.ts` runs it. Both back
 * ends read the same value, and so do the same thing.
 *
 * Addresses and prefixes are text in canonical form (`lib/ip`), as resources, protocol names and BIRD's files have them; ranges of Services,
 * prefixes of communities and of filter rules, and gateways are as they are written, as upstream's files have these.
 *
 * `types.ts` is the value, `meaning.ts` what both back ends read out of it by the same words.
 */
export {
  BGP_PORT,
  type Direction,
  FAMILIES,
  familyOf,
  isConfirmed,
  isInternal,
  NEVER_OWN,
  NORMAL_PRIORITY,
  OVERRIDE_PREFERENCE,
  PRIORITY_BASE,
  rulesOf,
  tunnelInterfaces,
} from "./meaning.ts";
export type * from "./types.ts";
