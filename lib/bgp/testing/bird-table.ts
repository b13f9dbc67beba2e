/** Routes as BIRD prints them and as ours are, in a form in which they can be compared. */
import type { PathAttributes } from "../wire/index.ts";

/** A route as BIRD prints it with `all`, and as ours is written down. */
export interface Seen {
  readonly localPref?: number | undefined;
  readonly path?: string | undefined;
  readonly communities?: string | undefined;
  readonly large?: string | undefined;
  readonly preference?: number | undefined;
  readonly metric?: number | undefined;
}

export type Table = Map<string, Seen>;

/** `show route … all`. */
export function parseRoutes(text: string): Table {
  const routes: Table = new Map();
  let current: Record<string, string> | undefined;
  const flush = (values: Record<string, string> | undefined): void => {
    if (!values?.net) return;
    const number = (key: string) => (values[key] === undefined ? undefined : Number(values[key]) >>> 0);
    routes.set(values.net, {
      localPref: number("BGP.local_pref"),
      path: values["BGP.as_path"] || undefined,
      communities: sorted(values["BGP.community"]?.replaceAll(/[()]/g, "").split(" ")),
      large: sorted(values["BGP.large_community"]?.replaceAll(", ", ",").replaceAll(/[()]/g, "").split(" ")),
      preference: number("preference"),
      metric: number("Kernel.metric"),
    });
  };
  for (const line of text.split("\n")) {
    const head = /^(\S+\/\d+)\s.*\((\d+)\)/.exec(line.trim());
    const value = /^\s+((?:BGP|Kernel)\.\w+): ?(.*)$/.exec(line);
    if (head) {
      flush(current);
      current = { net: head[1] ?? "", preference: head[2] ?? "" };
    } else if (value?.[1] && current) current[value[1]] = value[2]?.trim() ?? "";
  }
  flush(current);
  return routes;
}

export function sorted(values: readonly string[] | undefined): string | undefined {
  const there = values?.filter((value) => value !== "");
  return there?.length ? there.toSorted().join(" ") : undefined;
}

/** The text of an attributes object. Absence of LOCAL_PREF means 100. */
export function seen(attributes: PathAttributes): Seen {
  return {
    localPref: attributes.localPref ?? 100,
    path: attributes.asPath.flatMap(({ asns }) => asns).join(" ") || undefined,
    communities: sorted(attributes.communities.map((one) => `${one >>> 16},${one & 0xffff}`)),
    large: sorted(attributes.largeCommunities.map((one) => one.join(","))),
  };
}
