import { type Cidr, containsAddress, parseAddress, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import {
  type ActivePolicy,
  type ActiveProfile,
  createCalc,
  type Input,
  type LocalHost,
  type LocalWorkload,
  type Message,
  type PolicyId,
  policyKey,
  type SetId,
} from "../policy-agent/calc/index.ts";

/** Something that the calculation found wrong with a resource. */
export interface CalcProblem {
  readonly what: string;
  readonly why: string;
}

/** What the calculation of one node says: its endpoints, and the policies, profiles and sets that they need. */
export class View {
  readonly workloads: LocalWorkload[] = [];
  readonly hosts: LocalHost[] = [];
  readonly problems: CalcProblem[] = [];
  /** CIDRs from which Services get addresses. */
  serviceCidrs: readonly string[] = [];
  readonly #policies = new Map<string, ActivePolicy>();
  readonly #profiles = new Map<string, ActiveProfile>();
  readonly #sets = new Map<SetId, Members>();

  constructor(nodeName: string, inputs: Iterable<Input>) {
    const seen = new Set<string>();
    const onProblem = (what: string, why: string) => {
      const key = `${what}\n${why}`;
      if (!seen.has(key)) this.problems.push({ what, why });
      seen.add(key);
    };
    const calc = createCalc({ nodeName, onProblem });
    for (const input of inputs) calc.update(input);
    calc.inSync();
    calc.flush((message) => this.#take(message));
  }

  /** A calculation that has just begun only ever adds. */
  #take(message: Message): void {
    switch (message.type) {
      case "set":
        this.#sets.set(message.id, new Members(message.members));
        break;
      case "policy":
        this.#policies.set(policyKey(message.policy.id), message.policy);
        break;
      case "profile":
        this.#profiles.set(message.profile.name, message.profile);
        break;
      case "workload":
        this.workloads.push(message.workload);
        break;
      case "host":
        this.hosts.push(message.host);
        break;
      case "service-cidrs":
        this.serviceCidrs = message.cidrs;
    }
  }

  policy(id: PolicyId): ActivePolicy | undefined {
    return this.#policies.get(policyKey(id));
  }

  profile(name: string): ActiveProfile | undefined {
    return this.#profiles.get(name);
  }

  /**
   * The rules that the calculation left out because they cannot be read, by their number in the stored policy, each with what is wrong. Known by
   * what it reports of them.
   */
  leftOut(what: string, direction: "ingress" | "egress"): ReadonlyMap<number, readonly string[]> {
    const found = new Map<number, string[]>();
    const left = new Set<number>();
    for (const problem of this.problems) {
      const [, of, index, why = ""] = /^spec\.(\w+)\[(\d+)\]: (.*)$/s.exec(problem.why) ?? [];
      if (problem.what !== what || of !== direction) continue;
      const number = Number(index);
      if (why === "the rule allows nothing" || why === "the rule is left out") left.add(number);
      found.set(number, [...(found.get(number) ?? []), why]);
    }
    return new Map([...found].filter(([number]) => left.has(number)));
  }

  /** Whether a part of what selects a policy's endpoints cannot be read, so that only its Deny rules count. Known by what is reported of it. */
  isClosed(what: string): boolean {
    return this.problems.some((problem) => problem.what === what && problem.why.endsWith(", and allows nothing"));
  }

  /** The members of a set; one that was never said has none. */
  set(id: SetId): Members {
    return this.#sets.get(id) ?? NO_MEMBERS;
  }
}

/** The members of a set, to be asked for one. */
export class Members {
  readonly #texts: ReadonlySet<string>;
  #nets: readonly Cidr[] | undefined;

  constructor(members: readonly string[]) {
    this.#texts = new Set(members);
  }

  get size(): number {
    return this.#texts.size;
  }

  /** Of a set of networks. */
  hasAddress(text: string): boolean {
    const address = parseAddress(text);
    this.#nets ??= [...this.#texts].flatMap((member) => tryParseCidr(member) ?? []);
    return this.#nets.some((net) => containsAddress(net, address));
  }

  /** Of a set of ports; protocols are `tcp`, `udp` and `sctp`. */
  hasPort(address: string, protocol: string, port: number): boolean {
    return this.#texts.has(`${address},${protocol}:${port}`);
  }
}

const NO_MEMBERS = new Members([]);

/** Whether a net of an endpoint, `10.0.0.1/32`, is the address. */
export function isAddressIn(nets: readonly string[], text: string): boolean {
  const address = tryParseAddress(text);
  if (address === undefined) return false;
  return nets.some((net) => {
    const cidr = tryParseCidr(net);
    return cidr !== undefined && containsAddress(cidr, address);
  });
}
