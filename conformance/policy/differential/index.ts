/**
 * Three opinions about the same flows: explain's, which asks the calculation; the oracle's, which recomputes everything from plain lists; and
 * the kernel's, behind the built agents, on each dataplane.
 *
 *     seed -> generateCase -> DifferentialBed.put (datastore, agents, kernels) -> verdicts by packets   \
 *                             read back from the datastore -> explain, evaluate                         -> Disagreement
 *
 * Known gaps: host endpoints, whose traffic is not what the oracle is about; flows that begin or end at a node.
 */
import { stringify } from "yaml";
import type { Resource } from "../../../lib/api/meta.ts";
import { createExplainer, renderExplanation } from "../../../lib/explain/index.ts";
import { evaluate, type Flow, makeState } from "../../../lib/policy-agent/naive/index.ts";
import { generateCase } from "../../../lib/policy-agent/naive/testing.ts";
import type { ProbeResult } from "../prober.ts";
import { DifferentialBed } from "./bed.ts";
import { BARRIER, inputsOf, read, resourcesOf } from "./store.ts";
import { tellingFirst } from "./telling.ts";

export { DifferentialBed };

export interface Disagreement {
  readonly seed: number;
  /** As stored. */
  readonly resources: readonly Resource[];
  readonly flow: Flow;
  readonly explanation: string;
  readonly verdicts: {
    readonly explain: string;
    readonly naive: string;
    readonly kernel: ProbeResult["verdict"];
  };
}

export interface Outcome {
  /** How many flows were compared, and how many of them were let through. */
  readonly flows: number;
  readonly allowed: number;
  readonly disagreements: readonly Disagreement[];
}

/** Flows that are looked at for each that is sent. */
const CANDIDATES = 8;
/** How long a kernel may say something else, in milliseconds: kinds are watched each on its own, and the barrier is of only one. */
const SETTLE = 5_000;

/** Puts the case of a seed before all three. */
export async function compare(bed: DifferentialBed, seed: number, count: number): Promise<Outcome> {
  const generated = generateCase(seed, { workloads: bed.workloads, hostEndpoints: false, flows: CANDIDATES * count });
  await bed.put(resourcesOf(generated.inputs));
  const resources = await read(bed.client);
  const inputs = inputsOf(resources);
  const state = makeState(inputs);
  const explainer = createExplainer(inputs);
  const asked = distinct(bed, tellingFirst(state, generated.flows.map(visible)))
    .slice(0, count)
    .map((flow) => {
      const explanation = explainer.explain(flow);
      return { flow, explanation, explain: explanation.verdict, naive: evaluate(state, flow).verdict };
    });
  let open = asked;
  const deadline = performance.now() + SETTLE;
  for (;;) {
    const said = await bed.verdicts(open.map(({ flow }) => flow));
    const wrong = open.flatMap((one, index) => {
      const kernel = said[index]!;
      return kernel === one.naive && kernel === one.explain ? [] : [{ ...one, kernel }];
    });
    if (wrong.length > 0 && performance.now() < deadline) {
      open = wrong;
      continue;
    }
    return {
      flows: asked.length,
      allowed: asked.filter(({ naive }) => naive === "allow").length,
      disagreements: wrong.map(({ flow, explanation, explain, naive, kernel }) => ({
        seed,
        resources,
        flow,
        explanation: renderExplanation(explanation),
        verdicts: { explain, naive, kernel },
      })),
    };
  }
}

/** Everything that somebody needs who looks for the cause. */
export function describeDisagreement({ seed, resources, flow, explanation, verdicts }: Disagreement): string {
  const shown = resources.filter(({ metadata }) => !metadata.name.includes(BARRIER)).map(withoutRecords);
  return [
    `seed ${seed}: ${JSON.stringify(flow)}`,
    ...Object.entries(verdicts).map(([who, verdict]) => `  ${who}: ${verdict}`),
    "",
    explanation,
    shown.map((resource) => stringify(resource)).join("---\n"),
  ].join("\n");
}

function withoutRecords(resource: Resource): Resource {
  const { name, namespace, labels } = resource.metadata;
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }), ...(labels ? { labels } : {}) };
  return { ...resource, metadata };
}

/** Neighbour solicitations are the network's own chatter, among which no probe can be told. */
const visible = (flow: Flow): Flow => (flow.icmp?.type === 135 ? { ...flow, icmp: { ...flow.icmp, type: 128 } } : flow);

/** Flows that a pod is part of, without those that connection tracking would take for a part of an earlier one. */
function distinct(bed: DifferentialBed, flows: readonly Flow[]): Flow[] {
  const pods = new Set(bed.workloads.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]));
  const taken = new Set<string>();
  return flows.filter(({ source, destination, protocol, sourcePort, destinationPort, icmp }) => {
    if (!pods.has(source) && !pods.has(destination)) return false;
    const ends = [`${source} ${sourcePort}`, `${destination} ${destinationPort}`].sort();
    const key = JSON.stringify([protocol, icmp?.type, icmp?.code, ...ends]);
    if (taken.has(key)) return false;
    taken.add(key);
    return true;
  });
}
