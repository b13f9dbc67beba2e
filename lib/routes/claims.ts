import { type Cidr, tryParseCidr } from "../ip/index.ts";
import { keyOf } from "./decide.ts";

/** What is to be reached by one interface. */
export interface WorkloadTarget {
  /** `10.65.0.2/32`, `fd00::2/128`. */
  readonly cidrs: readonly string[];
  /** Instead of the usual: the elevated priority during a live migration. */
  readonly metric?: number;
}

export interface Claim {
  /** Destinations by their key. */
  readonly cidrs: ReadonlyMap<string, Cidr>;
  readonly metric: number | undefined;
}

const NOTHING: ReadonlyMap<string, Cidr> = new Map();

/** Which destinations each interface claims, by its name, and who else claims them. */
export class Claims {
  readonly #ipv6: boolean;
  readonly #byName = new Map<string, Claim>();
  readonly #claimants = new Map<string, Set<string>>();

  constructor(ipv6: boolean) {
    this.#ipv6 = ipv6;
  }

  /** Replaces the interface's claim; undefined: it has none. `refused`: what is no CIDR. `rivals`: who may win or lose by it. */
  set(name: string, target: WorkloadTarget | undefined): { refused: string[]; rivals: Set<string> } {
    const cidrs = new Map<string, Cidr>();
    const refused: string[] = [];
    for (const text of target?.cidrs ?? []) {
      const cidr = tryParseCidr(text);
      if (!cidr) refused.push(text);
      else if (cidr.version === 4 || this.#ipv6) cidrs.set(keyOf(cidr), cidr);
    }
    const rivals = new Set<string>();
    const before = this.#byName.get(name)?.cidrs ?? NOTHING;
    for (const key of new Set([...before.keys(), ...cidrs.keys()])) {
      const claimants = this.#claimants.get(key) ?? new Set();
      if (cidrs.has(key)) claimants.add(name);
      else claimants.delete(name);
      if (claimants.size > 0) this.#claimants.set(key, claimants);
      else this.#claimants.delete(key);
      for (const other of claimants) if (other !== name) rivals.add(other);
    }
    if (target) this.#byName.set(name, { cidrs, metric: target.metric });
    else this.#byName.delete(name);
    return { refused, rivals };
  }

  get(name: string): Claim | undefined {
    return this.#byName.get(name);
  }

  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** Names of the interfaces that claim a destination, by its key. */
  of(key: string): Iterable<string> {
    return this.#claimants.get(key) ?? [];
  }

  /** The others that claim what the interface claims. */
  rivals(name: string): Set<string> {
    const rivals = new Set<string>();
    for (const key of this.#byName.get(name)?.cidrs.keys() ?? []) for (const other of this.of(key)) rivals.add(other);
    rivals.delete(name);
    return rivals;
  }
}
