import type {
  Decision,
  Explanation,
  Packet,
  Party,
  Step,
  Traffic,
  VisitedPolicy,
  VisitedProfile,
  VisitedRule,
  VisitedTier,
} from "./types.ts";

export interface RenderOptions {
  /** How words stand out; absent: not at all. */
  readonly style?: {
    bold(text: string): string;
    dim(text: string): string;
    red(text: string): string;
    green(text: string): string;
    yellow(text: string): string;
  };
}

type Style = NonNullable<RenderOptions["style"]>;

const same = (text: string): string => text;
const PLAIN: Style = { bold: same, dim: same, red: same, green: same, yellow: same };

/** An explanation as text for a terminal: the answer first, then the way to it. Ends with a newline. */
export function renderExplanation(explanation: Explanation, options: RenderOptions = {}): string {
  return `${new Renderer(options.style ?? PLAIN).render(explanation).join("\n")}\n`;
}

class Renderer {
  readonly #style: Style;

  constructor(style: Style) {
    this.#style = style;
  }

  render({ packet, source, destination, verdict, summary, steps, onTheWay, warnings }: Explanation): string[] {
    const lines = [
      `${this.#verdict(verdict)}  ${packetText(packet)}`,
      "",
      ...partyLines(source, destination),
      "",
      summary,
    ];
    for (const [i, step] of steps.entries()) lines.push("", ...this.#step(step, `${i + 1}. `));
    if (onTheWay.length > 0) {
      lines.push("", this.#style.bold("Host endpoints that it may pass on the way (not part of the verdict)"));
      for (const step of onTheWay) lines.push("", ...this.#step(step, "- "));
    }
    if (warnings.length > 0) {
      lines.push("", this.#style.bold("Warnings"));
      for (const warning of warnings) lines.push(`  ${this.#style.yellow("!")} ${warning}`);
    }
    return lines.map((line) => line.trimEnd());
  }

  #verdict(verdict: Decision["verdict"]): string {
    const { bold, green, red, dim } = this.#style;
    if (verdict === "continue") return dim("UNDECIDED");
    return verdict === "allow" ? bold(green("ALLOWED")) : bold(red("DENIED"));
  }

  #step(step: Step, bullet: string): string[] {
    const { direction, decision, tiers, profiles, traffic, staged } = step;
    const where = whereText(step);
    const lines = [`${bullet}${this.#style.bold(where)}: ${this.#verdict(decision.verdict)} by ${decision.words}`];
    if (tiers.length === 0 && traffic === "normal") {
      lines.push(`   No policy selects it for ${direction}${profiles.length > 0 ? ": its profiles decide" : ""}.`);
    }
    // No policy decides there.
    if (traffic === "toHost") return lines;
    for (const [i, tier] of tiers.entries()) {
      const next = i === tiers.length - 1 && traffic === "normal" ? "the profiles" : "the next tier";
      lines.push(...this.#tier(tier, traffic, next));
    }
    for (const profile of profiles) lines.push(...this.#profile(profile));
    if (staged !== undefined) {
      const isSame = staged.verdict === decision.verdict && staged.words === decision.words;
      const text = isSame ? "the same" : `${this.#verdict(staged.verdict)} by ${staged.words}`;
      const line = `   If the staged policies were enforced: ${text}`;
      lines.push(staged.verdict === decision.verdict ? line : this.#style.yellow(line));
    }
    return lines;
  }

  #tier(
    { name, order, defaultAction, policies, notAsked = [], outcome }: VisitedTier,
    traffic: Traffic,
    next: string,
  ): string[] {
    // Before tracking and before DNAT a tier has no default action: what is not decided there is decided by plain policy.
    const isEarly = traffic === "untracked" || traffic === "preDNAT";
    const atItsEnd = isEarly ? "" : `, default action ${defaultAction}`;
    const lines = [`   tier ${this.#style.bold(name)} (${orderText(order)}${atItsEnd})`];
    for (const policy of policies) lines.push(...this.#policy(policy));
    if (notAsked.length > 0) {
      const rest = notAsked.length - MOST_NOT_ASKED;
      const names = notAsked.slice(0, MOST_NOT_ASKED).join(", ");
      lines.push(this.#style.dim(`     not asked any more: ${names}${rest > 0 ? ` and ${rest} more` : ""}`));
    }
    const end = isEarly && outcome === "default Pass" ? "no rule matched: not decided here" : OUTCOMES[outcome](next);
    lines.push(`     ${this.#style.dim("->")} ${end}`);
    return lines;
  }

  #policy({ id, title, order, staged, rules, outcome }: VisitedPolicy): string[] {
    const kind = staged ? ", staged: not enforced" : "";
    // One rule of Kubernetes' may become several.
    const numbers = CONVERTED.has(id.kind) ? ", rules as converted" : "";
    const lines = [`     ${title} (${orderText(order)}${kind}${numbers})`, ...this.#rules(rules)];
    if (rules.length === 0) lines.push("       no rules");
    if (staged) {
      lines.push(outcome === "none" ? "       would decide nothing" : `       would ${WOULD[outcome]}`);
    }
    return lines;
  }

  #profile({ name, exists, rules }: VisitedProfile): string[] {
    if (!exists) return [`   profile ${this.#style.bold(name)} does not exist: everything is denied`];
    return [`   profile ${this.#style.bold(name)}`, ...(rules.length === 0 ? ["       no rules"] : this.#rules(rules))];
  }

  #rules(rules: readonly VisitedRule[]): string[] {
    const width = Math.max(0, ...rules.map(({ path }) => path.length));
    const indent = " ".repeat(7 + width + 2);
    return rules.flatMap(({ path, action, text, matched, reasons, notes }) => {
      const head = `       ${path.padEnd(width)}  ${action}${text === "" ? "" : ` ${text}`}`;
      const why = matched
        ? [indent + this.#style.green("matches")]
        : reasons.map((reason, i) => this.#style.dim(`${indent}${i === 0 ? "no: " : "    "}${reason}`));
      return [head, ...why, ...notes.map((note) => `${indent}${this.#style.yellow("!")} ${note}`)];
    });
  }
}

const KINDS: Readonly<Record<Traffic, string>> = {
  normal: "",
  forward: "forwarded, ",
  untracked: "before tracking, ",
  preDNAT: "before DNAT, ",
};

function whereText({ endpoint: { title, node }, direction, traffic }: Step): string {
  if (traffic === "toHost") return `From ${title} to its host (on ${node})`;
  return `${direction === "egress" ? "Egress from" : "Ingress to"} ${title} (${KINDS[traffic]}on ${node})`;
}

const CONVERTED: ReadonlySet<string> = new Set([
  "KubernetesNetworkPolicy",
  "KubernetesClusterNetworkPolicy",
  "StagedKubernetesNetworkPolicy",
]);

/** How many policies that were not asked are named. */
const MOST_NOT_ASKED = 5;

/** `next`: what comes after the tier. */
const OUTCOMES: Readonly<Record<VisitedTier["outcome"], (next: string) => string>> = {
  Allow: () => "allowed",
  Deny: () => "denied",
  Pass: (next) => `passed on to ${next}`,
  "default Deny": () => "no rule matched: denied by the tier's default action",
  "default Pass": (next) => `no rule matched: passed on to ${next}`,
  staged: () => "only staged policies: the tier has no say",
};

const WOULD: Readonly<Record<Exclude<VisitedPolicy["outcome"], "none">, string>> = {
  Allow: "allow",
  Deny: "deny",
  Pass: "pass on to the next tier",
};

const orderText = (order: number | undefined): string => (order === undefined ? "no order: last" : `order ${order}`);

function packetText(packet: Packet): string {
  const { source, destination, protocolName, sourcePort, destinationPort, icmp } = packet;
  const end = (address: string, port: number | undefined) =>
    port === undefined ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  const kind = icmp === undefined ? "" : ` type ${icmp.type}${icmp.code === undefined ? "" : ` code ${icmp.code}`}`;
  return `${protocolName}${kind}  ${end(source, sourcePort)} -> ${end(destination, destinationPort)}`;
}

function partyLines(source: Party, destination: Party): string[] {
  const rows = [
    ["from", ...partyCells(source)],
    ["to", ...partyCells(destination)],
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) => `  ${row.map((text, i) => text.padEnd(widths[i]!)).join("  ")}`.trimEnd());
}

function partyCells({ address, endpoint }: Party): string[] {
  if (endpoint === undefined) return [address, "no endpoint: no policy applies here"];
  return [address, `${endpoint.title}, ${endpoint.interfaceName || "no interface"} on ${endpoint.node}`];
}
