/**
 * `npm run bench:policy [changes] [measurements…]`: what policy costs, on each dataplane, side by side in one run. Every measurement has a
 * network namespace, a datastore and an agent (the built one) of its own; medians, nothing is passed or failed. Measurements: change,
 * start, sets, forward; all of them unless some are named.
 */
import { join } from "node:path";
import { DATAPLANES, type Dataplane } from "./policy-node.ts";
import type {
  ChangeResult,
  ChangeScenario,
  ForwardResult,
  ForwardScenario,
  Rates,
  Scenario,
  StartResult,
  StartScenario,
  StartTimes,
} from "./policy-run.ts";
import { machine, markdownTable, median, ms, percentile } from "./stats.ts";

const words = process.argv.slice(2);
const changes = Number(words.find((word) => /^\d+$/.test(word)) ?? 300);
const named = words.filter((word) => !/^\d+$/.test(word));
const MEASUREMENTS = ["change", "start", "sets", "forward"];
const unknown = named.find((word) => !MEASUREMENTS.includes(word));
if (unknown !== undefined) {
  console.error(`bench:policy: ${unknown} is neither a number of changes nor one of ${MEASUREMENTS.join(", ")}`);
  process.exit(1);
}
const wants = (measurement: string) => named.length === 0 || named.includes(measurement);
/** A tool that takes tens of milliseconds a change gets fewer. */
const changesOn = (dataplane: Dataplane) => (dataplane === "nftables" ? changes : Math.ceil(changes / 3));
const ROUNDS = 3;

/** Milliseconds. What issue and measurement are about is how long a policy that was written is not yet enforced. */
const TARGET = { change: 50, member: 15 };

async function measure(scenario: ChangeScenario): Promise<ChangeResult>;
async function measure(scenario: StartScenario): Promise<StartResult>;
async function measure(scenario: ForwardScenario): Promise<ForwardResult>;
async function measure(scenario: Scenario): Promise<unknown> {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, "policy-run.ts"), JSON.stringify(scenario)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const said = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`failed: ${JSON.stringify(scenario)}`);
  return JSON.parse(said) as unknown;
}

const count = (value: number): string => Math.round(value).toLocaleString("en");
const of = (samples: readonly number[], ...shares: readonly number[]) =>
  shares.map((share) => ms(percentile(samples, share)));

const CHANGE_HEAD = [
  "a change",
  "p50 ms",
  "p95",
  "p99",
  "reach: p99",
  "written p50",
  "calculate",
  "apply",
  "processor",
  "MiB",
  "anonymous",
  "peak",
];

function changeRow(title: string, result: ChangeResult, target: number): string[] {
  const { enforced, written, calculation, apply, processor, memory } = result;
  return [
    title,
    ...of(enforced, 0.5, 0.95, 0.99),
    `< ${target}`,
    ...of(written, 0.5),
    ...[calculation, apply, processor].map(ms),
    ...[memory.resident, memory.anonymous, memory.peak].map((size) => size.toFixed(0)),
  ];
}

async function changeTable(): Promise<void> {
  const rows: string[][] = [];
  const common = { measure: "change", endpoints: 100, sets: 0, what: "rule" } as const;
  const row = async (scenario: ChangeScenario) => {
    const title = `${scenario.dataplane}, ${count(scenario.policies)} other policies, ${scenario.datastore}`;
    rows.push(changeRow(title, await measure(scenario), TARGET.change));
  };
  for (const dataplane of DATAPLANES) {
    for (const policies of [10, 1000, 10_000]) {
      await row({ ...common, dataplane, policies, datastore: "sqlite", changes: changesOn(dataplane) });
    }
  }
  await row({ ...common, dataplane: "nftables", policies: 1000, datastore: "etcd", changes });
  console.log(`\n${markdownTable(CHANGE_HEAD, rows)}`);
}

async function setTable(): Promise<void> {
  const rows: string[][] = [];
  const common = {
    measure: "change",
    endpoints: 100,
    policies: 0,
    sets: 2000,
    what: "member",
    datastore: "sqlite",
  } as const;
  for (const dataplane of DATAPLANES) {
    const result = await measure({ ...common, dataplane, changes: changesOn(dataplane) });
    rows.push(changeRow(`${dataplane}, a member of 1 of 2,000 sets`, result, TARGET.member));
  }
  console.log(`\n${markdownTable(CHANGE_HEAD, rows)}`);
}

async function startTable(): Promise<void> {
  const rows: string[][] = [];
  const row = (title: string, { inSync, enforced, inForce }: StartTimes) =>
    rows.push([title, ...[inSync, enforced, inForce].map((times) => ms(median(times)))]);
  for (const dataplane of DATAPLANES) {
    const { empty, programmed } = await measure({
      measure: "start",
      dataplane,
      endpoints: 100,
      policies: 10_000,
      rounds: ROUNDS,
    });
    row(`${dataplane}, empty kernel`, empty);
    row(`${dataplane}, programmed kernel`, programmed);
  }
  const head = ["start with 10,000 policies, 100 endpoints", "in sync ms", "first packet by policy", "all in force"];
  console.log(`\n${markdownTable(head, rows)}`);
}

async function forwardTable(): Promise<void> {
  const rows: string[][] = [];
  const fields = ["packets", "flows", "transactions", "connections"] as const;
  const medians = (rates: readonly Rates[]) => fields.map((field) => median(rates.map((rate) => rate[field])));
  const row = async (dataplane: Dataplane, policies: number, endpoints: number) => {
    const result = await measure({ measure: "forward", dataplane, policies, endpoints, rounds: ROUNDS });
    const without = medians(result.without);
    const enforced = medians(result.enforced);
    rows.push([
      `${dataplane}, ${count(policies)} on the endpoint, ${count(endpoints)} endpoints`,
      ...enforced.flatMap((rate, i) => [
        count(rate),
        count(without[i]!),
        `${Math.round((100 * rate) / without[i]!)} %`,
      ]),
    ]);
  };
  for (const dataplane of DATAPLANES) {
    for (const policies of [0, 10, 1000]) await row(dataplane, policies, 100);
    for (const endpoints of [2, 1000]) await row(dataplane, 10, endpoints);
  }
  const head = [
    "policies",
    ...["packets/s", "new flows/s", "TCP RR/s", "TCP connections/s"].flatMap((one) => [one, "without us", ""]),
  ];
  console.log(`\n${markdownTable(head, rows)}`);
}

console.log(`${machine()}; ${changes} changes on nftables, ${changesOn("iptables-nft")} on the others.`);
if (wants("change")) await changeTable();
if (wants("sets")) await setTable();
if (wants("start")) await startTable();
if (wants("forward")) await forwardTable();
console.log(`
- A change is one rule of the policy of one endpoint, of 100 on the node; the policies beside it are of endpoints elsewhere. The time is from the
  moment at which the write returned to the first packet of a new flow that was let through, or the first that was not (one is sent every 0.3 ms).
- *written* is the write itself. *calculate* and *apply* are the means of a round of the agent, *processor* its time on a processor for each change
  (all threads). *MiB*, *anonymous* (without the pages of the executable) and *peak* are the agent's resident memory.
- *without us*: the same pods, and routes on the node; nothing of netfilter. Packets are sent by one process as fast as it can; of new flows each packet
  has another source port. TCP runs between two processes, a byte there and back.`);
