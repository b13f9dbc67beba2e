import { portNotKnown } from "./match.ts";
import type { Resources } from "./resources.ts";
import type { Packet, Party, Step } from "./types.ts";
import { isAddressIn, type View } from "./view.ts";

/** What {@link warningsOf} looks at. */
export interface Answered {
  readonly resources: Resources;
  readonly views: readonly View[];
  readonly packet: Packet;
  readonly source: Party;
  readonly destination: Party;
  readonly steps: readonly Step[];
  readonly onTheWay: readonly Step[];
}

/** How many problems of resources are listed. */
const MOST = 20;

/** What hosts let through by default, whatever their policy (FailsafeInboundHostPorts, FailsafeOutboundHostPorts), as `protocol:port`. */
const SHARED_FAILSAFES = [179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => `6:${port}`);
const FAILSAFES = {
  ingress: new Set(["6:22", "17:68", ...SHARED_FAILSAFES]),
  egress: new Set(["17:53", "17:67", ...SHARED_FAILSAFES]),
} as const;

/** What might make the answer another than it reads. */
export function warningsOf(answered: Answered): string[] {
  const { views, steps, onTheWay } = answered;
  const problems = [...new Set(views.flatMap((view) => view.problems.map(({ what, why }) => `${what}: ${why}`)))];
  const rest = problems.length - MOST;
  return [
    ...http(steps),
    ...tiers(answered),
    ...ports(answered),
    ...hosts(answered),
    ...services(answered),
    ...passing(onTheWay),
    ...problems.slice(0, MOST),
    ...(rest > 0 ? [`${rest} more problems of resources are not shown`] : []),
  ];
}

/** The clause is a proxy's to enforce; here the rule applies without it. */
function http(steps: readonly Step[]): string[] {
  const titles = steps.flatMap(({ tiers }) =>
    tiers.flatMap(({ policies }) =>
      policies.flatMap(({ title, rules }) => rules.filter((rule) => rule.http).map(({ path }) => `${title}, ${path}`)),
    ),
  );
  return [...new Set(titles)].map(
    (title) => `${title} has an http clause, which is not enforced in the kernel: the rest of the rule decides`,
  );
}

function tiers({ resources, steps }: Answered): string[] {
  const names = steps.flatMap((step) => step.tiers.map(({ name }) => name)).filter((name) => !resources.hasTier(name));
  return [...new Set(names)].map(
    (name) => `there is no tier ${name}: its policies come after those of all other tiers, and it denies at its end`,
  );
}

function ports({ packet, steps }: Answered): string[] {
  const unknown = (side: string) =>
    steps.some(({ tiers }) =>
      tiers.some(({ policies }) =>
        policies.some(({ rules }) =>
          rules.some(({ reasons }) => reasons.some((reason) => reason.startsWith(portNotKnown(side)))),
        ),
      ),
    );
  const found: string[] = [];
  for (const [side, option] of [
    ["destination", "--port"],
    ["source", "--source-port"],
  ] as const) {
    if (packet[`${side}Port`] === undefined && unknown(side)) {
      found.push(`rules ask for the ${side} port, which is not known: say ${option}`);
    }
  }
  return found;
}

function hosts({ packet, source, destination, steps }: Answered): string[] {
  const found: string[] = [];
  for (const { endpoint, direction, decision } of steps) {
    if (endpoint.kind !== "HostEndpoint" || decision.verdict !== "deny") continue;
    if (FAILSAFES[direction].has(`${packet.protocol}:${packet.destinationPort}`)) {
      found.push(
        `${packet.protocolName} port ${packet.destinationPort} is a failsafe port by default: unless FelixConfiguration says otherwise, ${endpoint.title} lets it through whatever policy says`,
      );
    }
  }
  if (steps.some(({ decision: { by } }) => by.kind === "endpoint-to-host" && by.action === "RETURN")) {
    found.push(
      "DefaultEndpointToHostAction is RETURN: after policy the host's own rules, which are not known here, decide about what workloads send to it",
    );
  }
  if (source.address === destination.address) {
    found.push("both ends have the same address: such packets do not leave the workload, and no policy sees them");
  }
  return found;
}

/** Policy sees what a Service's address is translated to, and of Services themselves nothing is known here. */
function services({ views, source, destination }: Answered): string[] {
  if (destination.endpoint !== undefined || source.endpoint?.kind !== "WorkloadEndpoint") return [];
  const cidr = views.flatMap((view) => view.serviceCidrs).find((one) => isAddressIn([one], destination.address));
  if (cidr === undefined) return [];
  return [
    `${destination.address} is the address of a Service (one of ${cidr}): policy sees a pod behind it and that pod's port instead, so ask for one of these`,
  ];
}

function passing(onTheWay: readonly Step[]): string[] {
  return onTheWay
    .filter(({ decision }) => decision.verdict === "deny")
    .map(
      ({ endpoint, direction, decision }) =>
        `${endpoint.title} on ${endpoint.node} denies forwarded packets like this one (${direction}, by ${decision.words}), if it passes that interface`,
    );
}
