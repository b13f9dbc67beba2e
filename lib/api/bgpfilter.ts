import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

/** Numbers without leading zeros. Written out, as the expressions of an API server (RE2) cannot look ahead. */
const U16 = "(?:\\d|[1-9]\\d{1,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])";
const U32 =
  "(?:\\d|[1-9]\\d{1,8}|[1-3]\\d{9}|4[01]\\d{8}|42[0-8]\\d{7}|429[0-3]\\d{6}|4294[0-8]\\d{5}|42949[0-5]\\d{4}|429496[0-6]\\d{3}|4294967[01]\\d{2}|42949672[0-8]\\d|429496729[0-5])";

/** Standard or large. */
const community = (doc: string) =>
  s.string({
    doc,
    maxLength: 32,
    pattern: {
      source: `${U16}:${U16}|${U32}:${U32}:${U32}`,
      means: "a community such as 65000:100, of two numbers up to 65535, or 65000:1:2, of three up to 4294967295",
    },
  });

const asn = () => s.integer({ min: 0, max: 4294967295, text: "as-number" });
/** A route's metric as upstream bounds it: what is left of 31 bits for LOCAL_PREF to be its difference from the largest. */
const metric = (doc: string) => s.integer({ doc, min: 1, max: 2147483646 });

const operation = s.lazy(() =>
  s.object({
    addCommunity: s.optional(
      s.object({ value: community("The community.") }, { doc: "Tags the route with a community." }),
    ),
    prependASPath: s.optional(
      s.object(
        { prefix: s.array(asn(), { doc: "AS numbers; the first becomes the leftmost.", maxItems: 10 }) },
        { doc: "Puts AS numbers in front of the path." },
      ),
    ),
    setPriority: s.optional(
      s.object(
        { value: metric("The metric, as in a FelixConfiguration's route priorities.") },
        { doc: "Sets the route's priority, which travels as LOCAL_PREF." },
      ),
    ),
  }),
);

/** Rules of the families differ in what a prefix may be. */
const rule = (version: 4 | 6) => {
  const longest = version === 4 ? 32 : 128;
  const length = (doc: string) => s.optional(s.integer({ doc, min: 0, max: longest }));
  return s.object({
    cidr: s.optional(
      s.string({
        doc: "Which routes, together with matchOperator.",
        format: `cidr${version}`,
        maxLength: version === 4 ? 18 : 43,
      }),
    ),
    prefixLength: s.optional(
      s.object(
        { min: length("The shortest; absent: that of cidr."), max: length(`The longest; absent: ${longest}.`) },
        { doc: "Only routes of these prefix lengths, of those that cidr is about." },
      ),
    ),
    source: s.optional(
      s.oneOf(["RemotePeers"], { doc: "RemotePeers: only routes that were learned from BGP peers. Absent: all." }),
    ),
    interface: s.optional(
      s.string({
        doc: "Only routes out of this interface; * stands for any characters.",
        maxLength: 15,
        pattern: {
          source: "[a-zA-Z0-9_.*-]{1,15}",
          means: "the name of a network interface: 1 to 15 letters, digits, _, . or -, and * for any of them",
        },
      }),
    ),
    matchOperator: s.optional(
      s.oneOf(["Equal", "NotEqual", "In", "NotIn"], {
        doc: "How the route's prefix is compared with cidr: it is the same (Equal), the same or within (In), or not so.",
      }),
    ),
    peerType: s.optional(
      s.oneOf(["eBGP", "iBGP"], {
        doc: "Only with peers of another AS (eBGP), or of the same (iBGP). Absent: with all.",
      }),
    ),
    communities: s.optional(
      s.object(
        { values: s.array(community(""), { doc: "The community; one.", maxItems: 1 }) },
        { doc: "Only routes that are tagged with the community." },
      ),
    ),
    asPathPrefix: s.optional(s.array(asn(), { doc: "Only routes whose AS path begins with these." })),
    priority: s.optional(metric("Only routes of this priority, as in a FelixConfiguration's route priorities.")),
    action: s.oneOf(["Accept", "Reject"], { doc: "What becomes of a route that all of this holds for." }),
    operations: s.optional(
      s.array(operation(), {
        doc: "Changes to a route that is accepted, in order; each says one thing.",
        maxItems: 10,
      }),
    ),
  });
};

const spec = s.lazy(() => {
  const [v4, v6] = [rule(4), rule(6)];
  const rules = (of: typeof v4, doc: string) => s.optional(s.array(of, { doc }));
  return s.object({
    exportV4: rules(v4, "What is sent of IPv4 routes: the first rule that matches decides."),
    importV4: rules(v4, "What is taken of IPv4 routes: the first rule that matches decides."),
    exportV6: rules(v6, "What is sent of IPv6 routes: the first rule that matches decides."),
    importV6: rules(v6, "What is taken of IPv6 routes: the first rule that matches decides."),
  });
});

export type BGPFilterSpec = s.Infer<ReturnType<typeof spec>>;
export type BGPFilter = Resource<"BGPFilter", BGPFilterSpec>;
export type BGPFilterRule = s.Infer<ReturnType<typeof rule>>;
export type BGPFilterOperation = s.Infer<ReturnType<typeof operation>>;

/** The lists of rules, in the order of their columns. */
export const BGP_FILTER_DIRECTIONS = ["exportV4", "importV4", "exportV6", "importV6"] as const;

/** Which routes are sent to peers and taken from them, and how they are changed. BGPPeers name it. */
export const BGPFilter: Kind<BGPFilter> = {
  kind: "BGPFilter",
  apiVersion: API_VERSION,
  plural: "bgpfilters",
  namespaced: false,
  aliases: ["bgpf", "bgpfs", "bf", "bfs"],
  doc: "Which routes are sent to peers and taken from them, and how they are changed. BGPPeers name it.",
  get spec() {
    return spec();
  },
  check: ({ spec }) =>
    BGP_FILTER_DIRECTIONS.flatMap((direction) =>
      (spec[direction] ?? []).flatMap((rule, i) => checkRule(rule, `spec.${direction}[${i}]`)),
    ),
  get columns(): Columns<BGPFilter> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      ...BGP_FILTER_DIRECTIONS.map((direction) => ({
        title: `NUM${direction.toUpperCase()}`,
        value: ({ spec }: BGPFilter) => String((spec[direction] ?? []).length),
      })),
    ];
  },
};

/** The rules of upstream's definition. */
function checkRule(rule: BGPFilterRule, path: string): s.Problem[] {
  const problems: s.Problem[] = [];
  const report = (field: string, value: unknown, message: string) =>
    problems.push({ path: `${path}.${field}`, value, message });
  const { cidr, matchOperator, prefixLength, communities, operations } = rule;

  if (cidr && !cidr.includes("/")) report("cidr", cidr, "must have a prefix length: 10.0.0.0/16 or fd00::/64");
  if (cidr && !matchOperator) {
    report("matchOperator", undefined, "is missing; with cidr it must be one of Equal, NotEqual, In, NotIn");
  }
  if (matchOperator && !cidr) report("matchOperator", matchOperator, "must be absent without cidr, or cidr be there");
  if (prefixLength && !cidr) report("prefixLength", prefixLength, "must be absent without cidr, or cidr be there");
  if (communities && communities.values.length !== 1) {
    report("communities.values", communities.values, "must have exactly one community");
  }
  if (operations && operations.length === 0) report("operations", operations, "must be absent or have one at least");
  if (operations?.length && rule.action !== "Accept") {
    report("operations", operations, "must be absent unless action is Accept: what is rejected is not changed");
  }
  for (const [i, operation] of (operations ?? []).entries()) {
    const said = Object.keys(operation);
    if (said.length !== 1) {
      report(`operations[${i}]`, operation, "must have exactly one of addCommunity, prependASPath, setPriority");
    }
    if (operation.prependASPath?.prefix.length === 0) {
      report(`operations[${i}].prependASPath.prefix`, [], "must have one AS number at least");
    }
  }
  return problems;
}
