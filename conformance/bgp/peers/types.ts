import type { Node } from "../../lab/index.ts";

export type Family = 4 | 6;

/** What a real peer shall be: neutral words, which each driver says in the language of its daemon. */
export interface PeerDescription {
  readonly asn: number;
  /** Dotted quad. */
  readonly routerId: string;
  readonly neighbours: readonly Neighbour[];
  /** What it originates from the start. */
  readonly routes?: readonly OriginatedRoute[];
  /** It programs what it learns into the node's kernel, which forwards. BIRD and FRR can. */
  readonly kernel?: boolean;
  /** Reflection's cluster, of the neighbours that are clients. Dotted quad. */
  readonly clusterId?: string;
}

export interface Neighbour {
  readonly address: string;
  readonly asn: number;
  /** The address that this side speaks from. */
  readonly local: string;
  /** Default: that of the address. */
  readonly families?: readonly Family[];
  readonly password?: string;
  /** GTSM: hops at most (RFC 5082). */
  readonly ttlSecurity?: number;
  readonly passive?: boolean;
  /** Seconds (RFC 4724). */
  readonly gracefulRestart?: number;
  /** All paths are sent (RFC 7911). */
  readonly addPathSend?: boolean;
  readonly reflectorClient?: boolean;
  /** Routes are sent with this side as their next hop, whoever they are of. */
  readonly nextHopSelf?: boolean;
  readonly bfd?: boolean;
  /** False: without RFC 6793. */
  readonly fourOctetAsn?: boolean;
}

export interface OriginatedRoute {
  readonly prefix: string;
  /** `65001:1`; `65001:1:2` where it is a large one. */
  readonly communities?: readonly string[];
  readonly med?: number;
}

/** A route as the peer learned it. */
export interface LearnedRoute {
  readonly prefix: string;
  readonly nextHop: string;
  /** From the neighbour on: `64512 65002`. */
  readonly asPath: string;
  /** RFC 1997's and RFC 8092's, in order of their text. */
  readonly communities: readonly string[];
  readonly localPref?: number;
  readonly med?: number;
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
}

/** One real BGP daemon, in a node of the lab of its own. */
export interface RealPeer {
  readonly node: Node;
  /** Whether its session with that neighbour is Established, in its own opinion. */
  established(neighbour: string): Promise<boolean>;
  /** What it learned of that family, all paths, without its own routes. Ordered by prefix. */
  routes(family: Family): Promise<readonly LearnedRoute[]>;
  announce(routes: readonly OriginatedRoute[]): Promise<void>;
  withdraw(prefixes: readonly string[]): Promise<void>;
  /** Asks the neighbour for its table again (RFC 2918). */
  refresh(neighbour: string): Promise<void>;
  /** Ends one session with a Cease and, where the daemon can, with these words (RFC 9003). */
  shutDown(neighbour: string, words: string): Promise<void>;
  /** What it heard, in its own words, when a session was ended by the other. */
  lastNotification(neighbour: string): Promise<string>;
  /** kill -9: connections break without a word of BGP. */
  kill(): Promise<void>;
  /** Begins anew after {@link kill}, with what it was announcing. */
  restart(): Promise<void>;
  /** All that it has written. */
  log(): string;
}

/** What there is of each kind of daemon. */
export interface Driver {
  readonly name: string;
  /** Why it cannot be used here, or undefined. */
  missing(): string | undefined;
  /** What it cannot do, in words for the names of tests that are left out. */
  readonly cannot: Partial<Readonly<Record<Ability, string>>>;
  start(node: Node, description: PeerDescription): Promise<RealPeer>;
}

export type Ability = "wordsOfShutDown" | "gracefulRestart" | "ttlSecurity" | "addPath" | "refresh" | "keepForwarding";

export const isLarge = (community: string): boolean => community.split(":").length === 3;

export const familyOf = (address: string): Family => (address.includes(":") ? 6 : 4);

export const familiesOf = ({ families, address }: Neighbour): readonly Family[] => families ?? [familyOf(address)];

export const byPrefix = (a: LearnedRoute, b: LearnedRoute): number =>
  a.prefix === b.prefix ? (a.nextHop < b.nextHop ? -1 : 1) : a.prefix < b.prefix ? -1 : 1;
