import type { EndpointTier, Input } from "../policy-agent/calc/index.ts";
import type { End } from "./match.ts";
import { actionDecision, betweenOwn, hostOfWorkloads, routerDecision } from "./own-host.ts";
import { type ResolvedEnd, resolveEnds } from "./resolve.ts";
import { Resources } from "./resources.ts";
import type {
  Decision,
  Direction,
  EndpointName,
  EndpointToHostAction,
  Explanation,
  Packet,
  Party,
  Query,
  Step,
  Traffic,
} from "./types.ts";
import { isAddressIn, View } from "./view.ts";
import { walk } from "./walk.ts";
import { warningsOf } from "./warnings.ts";
import { protocolName } from "./words.ts";

export interface ExplainOptions {
  /** What was wrong with resources before they became inputs; comes back among the warnings. */
  readonly problems?: readonly string[];
  /** DefaultEndpointToHostAction of a node, where FelixConfiguration says it; undefined: the default, which the answer says. */
  readonly endpointToHostAction?: (node: string) => EndpointToHostAction | undefined;
}

/** Answers questions about one state of the datastore. */
export interface Explainer {
  /** Throws ExplainError when an end of the way is not known. */
  explain(query: Query): Explanation;
}

/** Which rule decides about a packet, and why the earlier ones did not match. Throws ExplainError. */
export function explain(inputs: Iterable<Input>, query: Query, options: ExplainOptions = {}): Explanation {
  return createExplainer(inputs, options).explain(query);
}

/** Like {@link explain}, for many questions: each node is calculated once. */
export function createExplainer(inputs: Iterable<Input>, options: ExplainOptions = {}): Explainer {
  const all = [...inputs];
  const resources = new Resources(all);
  const views = new Map<string, View>();
  const viewOf = (node: string): View => {
    const view = views.get(node) ?? new View(node, all);
    views.set(node, view);
    return view;
  };
  return { explain: (query) => new Question(resources, viewOf, query).answer(options) };
}

/** Before what begins or ends at a host comes to its plain policy. */
const AT_HOST: Readonly<Record<Direction, readonly Traffic[]>> = {
  egress: ["untracked", "normal"],
  ingress: ["untracked", "preDNAT", "normal"],
};

class Question {
  readonly #resources: Resources;
  readonly #viewOf: (node: string) => View;
  readonly #source: ResolvedEnd;
  readonly #destination: ResolvedEnd;
  readonly #packet: Packet;

  constructor(resources: Resources, viewOf: (node: string) => View, query: Query) {
    const { ipVersion, source, destination } = resolveEnds(resources, query);
    this.#resources = resources;
    this.#viewOf = viewOf;
    this.#source = source;
    this.#destination = destination;
    this.#packet = packetOf(query, ipVersion, source.address, destination.address);
  }

  answer({ problems = [], endpointToHostAction }: ExplainOptions): Explanation {
    const own = betweenOwn(this.#resources, { source: this.#source, destination: this.#destination });
    const { verdict, steps } =
      own === "to-workload"
        ? { verdict: "allow" as const, steps: [] }
        : own === "to-host"
          ? this.#toOwnHost(this.#source.endpoint!.name, endpointToHostAction)
          : this.#endToEnd();
    const onTheWay = own === undefined ? this.#onTheWay() : [];
    const [source, destination] = [partyOf(this.#source), partyOf(this.#destination)];
    const packet = this.#packet;
    const views = [...new Set([...steps, ...onTheWay].map(({ endpoint }) => this.#viewOf(endpoint.node)))];
    const warnings = warningsOf({ resources: this.#resources, views, packet, source, destination, steps, onTheWay });
    return {
      packet,
      source,
      destination,
      verdict,
      summary:
        own === "to-workload"
          ? `Allowed: ${source.address} is the host of ${destination.endpoint?.title}, and the host may always reach its own workloads; no policy is asked.`
          : summaryOf(verdict, steps),
      steps,
      onTheWay,
      warnings: [...warnings, ...problems],
    };
  }

  /** Egress at the source, then ingress at the destination. */
  #endToEnd(): Outcome {
    const steps: Step[] = [];
    let verdict: "allow" | "deny" = "allow";
    for (const [end, direction] of [
      [this.#source, "egress"],
      [this.#destination, "ingress"],
    ] as const) {
      if (end.endpoint === undefined || verdict === "deny") continue;
      const { name } = end.endpoint;
      for (const traffic of name.kind === "HostEndpoint" ? AT_HOST[direction] : (["normal"] as const)) {
        const step = this.#step(name, direction, traffic, end.address);
        // What an endpoint does not have, nobody needs to read of.
        if (step.decision.verdict !== "continue" || step.tiers.length > 0) steps.push(step);
        if (step.decision.verdict === "continue") continue;
        verdict = step.decision.verdict;
        break;
      }
    }
    return { verdict, steps };
  }

  /** From a workload to its host: preDNAT policy, the workload's egress policy, and what is configured for the rest. */
  #toOwnHost(workload: EndpointName, actionOf: ExplainOptions["endpointToHostAction"]): Outcome {
    const steps: Step[] = [];
    const atHost = hostOfWorkloads(this.#resources, workload.node);
    if (atHost !== undefined) {
      const early = this.#step(atHost, "ingress", "preDNAT", this.#destination.address);
      if (early.tiers.length > 0) steps.push(early);
      if (early.decision.verdict === "deny") return { verdict: "deny", steps };
    }
    const toHost = (decision: Decision): Outcome => ({
      verdict: decision.verdict === "deny" ? "deny" : "allow",
      steps: [
        ...steps,
        { endpoint: workload, direction: "egress", traffic: "toHost", decision, tiers: [], profiles: [] },
      ],
    });
    const router = routerDecision(this.#packet);
    if (router !== undefined) return toHost(router);
    const egress = this.#step(workload, "egress", "normal", this.#source.address);
    steps.push(egress);
    if (egress.decision.verdict === "deny") return { verdict: "deny", steps };
    return toHost(actionDecision(actionOf?.(workload.node)));
  }

  #step(endpoint: EndpointName, direction: Direction, traffic: Traffic, address: string): Step {
    const view = this.#viewOf(endpoint.node);
    const { tiers, profiles } = placeOf(view, endpoint, traffic, address);
    const ends = { source: this.#endOf(this.#source), destination: this.#endOf(this.#destination) };
    const way = { view, resources: this.#resources, packet: this.#packet, ends, direction, traffic, tiers, profiles };
    return { endpoint, direction, traffic, ...walk(way) };
  }

  #endOf({ endpoint }: ResolvedEnd): End {
    if (endpoint === undefined) return { labels: {} };
    return { title: endpoint.name.title, labels: this.#resources.labelsOf(endpoint) };
  }

  /** Host endpoints that may have a say in what leaves one workload's node, or arrives at the other's. */
  #onTheWay(): Step[] {
    const [from, to] = [this.#source.endpoint?.name, this.#destination.endpoint?.name];
    if (from?.node === to?.node) return [];
    const found: Step[] = [];
    const ask = (workload: EndpointName | undefined, direction: Direction, kinds: readonly Traffic[]) => {
      if (workload?.kind !== "WorkloadEndpoint") return;
      for (const { name } of this.#resources.endpoints) {
        if (name.kind !== "HostEndpoint" || name.node !== workload.node) continue;
        for (const traffic of kinds) {
          const step = this.#step(name, direction, traffic, "");
          if (step.decision.by.kind !== "nothing") found.push(step);
          if (step.decision.verdict !== "continue") break;
        }
      }
    };
    ask(from, "egress", ["forward"]);
    ask(to, "ingress", ["untracked", "preDNAT", "forward"]);
    return found;
  }
}

interface Outcome {
  readonly verdict: "allow" | "deny";
  readonly steps: readonly Step[];
}

interface Place {
  readonly tiers: readonly EndpointTier[];
  readonly profiles: readonly string[];
}

/** What the calculation says of an endpoint. One that it does not know has nothing, and lets nothing through. */
function placeOf(view: View, endpoint: EndpointName, traffic: Traffic, address: string): Place {
  if (endpoint.kind === "WorkloadEndpoint") {
    const holding = view.workloads.filter(({ ipv4Nets, ipv6Nets }) => isAddressIn([...ipv4Nets, ...ipv6Nets], address));
    const own = holding.find(({ interfaceName }) => interfaceName === endpoint.interfaceName) ?? holding[0];
    return own ?? { tiers: [], profiles: [] };
  }
  const host = view.hosts.find(({ name }) => name === endpoint.name);
  if (host === undefined) return { tiers: [], profiles: [] };
  const tiers = {
    normal: host.tiers,
    forward: host.forwardTiers,
    untracked: host.untrackedTiers,
    preDNAT: host.preDnatTiers,
  }[traffic];
  return { tiers, profiles: host.profiles };
}

const partyOf = ({ given, address, endpoint }: ResolvedEnd): Party => ({
  given,
  address,
  ...(endpoint === undefined ? {} : { endpoint: endpoint.name }),
});

function packetOf(query: Query, ipVersion: 4 | 6, source: string, destination: string): Packet {
  const ports = {
    ...(query.sourcePort === undefined ? {} : { sourcePort: query.sourcePort }),
    ...(query.destinationPort === undefined ? {} : { destinationPort: query.destinationPort }),
  };
  const icmpProtocol = ipVersion === 4 ? 1 : 58;
  const protocol = query.protocol === "icmp" ? icmpProtocol : query.protocol;
  const icmp = protocol === icmpProtocol ? { icmp: query.icmp ?? { type: ipVersion === 4 ? 8 : 128, code: 0 } } : {};
  return { ipVersion, source, destination, protocol, protocolName: protocolName(protocol), ...ports, ...icmp };
}

function summaryOf(verdict: "allow" | "deny", steps: readonly Step[]): string {
  if (steps.length === 0) return "Allowed: neither address belongs to an endpoint, so that no policy applies.";
  if (verdict === "deny") {
    const { direction, endpoint, traffic, decision } = steps.at(-1)!;
    if (traffic === "toHost") return `Denied on the way to the host of ${endpoint.title}: ${decision.words}.`;
    return `Denied by the ${direction} policy of ${endpoint.title}: ${decision.words}.`;
  }
  const ends = steps
    .filter(({ decision }) => decision.verdict === "allow")
    .map(({ direction, endpoint, traffic, decision }) =>
      traffic === "toHost"
        ? `to its host by ${decision.words}`
        : `${direction} of ${endpoint.title} by ${decision.words}`,
    );
  return `Allowed: ${ends.join("; ")}.`;
}
