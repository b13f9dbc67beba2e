/** `show route all` of BIRD 2, as values, one route after the other. Written for 2.0.12; what is not known is passed over. */
import type { ReplyLine } from "./control.ts";

export interface BirdRoute {
  readonly prefix: string;
  /** `unicast`, `blackhole`, `unreachable`, `prohibit`. */
  readonly kind: string;
  /** Name of the protocol that has it. */
  readonly protocol: string;
  /** Where that has it from: `BGP`, `static`, `device`, `inherit` (the kernel's). */
  readonly source: string;
  /** The best of its prefix's. */
  readonly isBest: boolean;
  /** It is the best, and the kernel refused it. */
  readonly isRefused: boolean;
  /** Kept over a restart of the peer's (RFC 4724). */
  readonly isStale: boolean;
  /** Of its first gateway. */
  readonly via?: string;
  /** As BIRD writes them, without their protocol's name: `next_hop`, `as_path`, `local_pref`, `community`… of those that begin with `BGP.`. */
  readonly bgp: ReadonlyMap<string, string>;
}

interface Unfinished extends Omit<BirdRoute, "source" | "via"> {
  source: string;
  via?: string;
  readonly bgp: Map<string, string>;
}

/** `10.1.0.0/26   unicast [Mesh_10_0_0_2 05:03:37.060 from 10.0.0.9] * (100s/10) [AS65001i]`; further ones of a prefix do not repeat it. */
const HEAD = /^(\S+\/\d+)?\s+(\w+) \[(\S+) [^\]]*\](?: ([*!]))?(?: \(\d+-?(s?))?/;
const ATTRIBUTE = /^\tBGP\.(\w+): ?(.*)$/;

export class RouteParser {
  #route: Unfinished | undefined;
  #prefix = "";
  /** The attribute whose text may go on. */
  #attribute: string | undefined;

  /** The route before, once another begins. */
  push({ text }: ReplyLine): BirdRoute | undefined {
    if (text.startsWith("\t")) {
      if (this.#route) this.#detail(this.#route, text);
      return undefined;
    }
    const head = HEAD.exec(text);
    if (!head) return undefined;
    const [, prefix, kind = "", protocol = "", mark, stale] = head;
    const done = this.end();
    this.#prefix = prefix ?? this.#prefix;
    this.#attribute = undefined;
    this.#route = {
      prefix: this.#prefix,
      kind,
      protocol,
      source: "",
      isBest: mark !== undefined,
      isRefused: mark === "!",
      isStale: stale === "s",
      bgp: new Map(),
    };
    return done;
  }

  /** The last. */
  end(): BirdRoute | undefined {
    const route = this.#route;
    this.#route = undefined;
    return route;
  }

  #detail(route: Unfinished, text: string): void {
    // Long lists of communities go on for lines that are indented twice.
    if (text.startsWith("\t\t")) {
      if (this.#attribute !== undefined) {
        route.bgp.set(this.#attribute, `${route.bgp.get(this.#attribute) ?? ""} ${text.trim()}`);
      }
      return;
    }
    const [, name, value = ""] = ATTRIBUTE.exec(text) ?? [];
    this.#attribute = name;
    if (name !== undefined) {
      route.bgp.set(name, value.trim());
      return;
    }
    const via = /^\tvia (\S+)/.exec(text)?.[1];
    if (via !== undefined) route.via ??= via;
    route.source ||= /^\tType: (\S+)/.exec(text)?.[1] ?? "";
  }
}

/** `(65001,7) (65001, 1, 2)` as `65001:7`, `65001:1:2`. */
export const communitiesOf = (text: string | undefined): string[] =>
  [...(text ?? "").matchAll(/\(([^)]*)\)/g)].map(([, numbers = ""]) => numbers.replaceAll(/\s*,\s*/g, ":"));
