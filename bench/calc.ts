/**
 * The calculation at the scale of upstream's own benchmarks (felix/calc/calc_graph_bench_test.go): the same clusters, as v3 resources, fed
 * from nothing to in-sync and flushed once. Each run is a process of its own; resources are made, and parsed from JSON so that no
 * text is shared, between the timed stretches, and are gone when the heap is measured after a collection.
 *
 *     npm run bench:calc [-- runs [data set…]]
 *
 * Upstream counts messages that are not made here (one for each namespace, configuration), so its number is a little higher.
 */
import { heapStats } from "bun:jsc";
import { readFileSync } from "node:fs";
import { createCalc, type Input } from "../lib/policy-agent/calc/index.ts";
import { machine, markdownTable, median } from "./stats.ts";

const HERE = "localhost";
const THERE = "remotehost";
/** How many resources are in memory at once. */
const CHUNK = 2000;

interface DataSet {
  readonly name: string;
  readonly title: string;
  /** Best of three of upstream's, on a machine like the one of docs/performance.md. */
  readonly upstream: { readonly seconds: number; readonly megabytes: number; readonly messages: number };
  inputs(): Generator<Input>;
}

const DATA_SETS: readonly DataSet[] = [
  {
    name: "tags",
    title: "200 local of 250,000 endpoints, 10,000 tag policies",
    upstream: { seconds: 8.35, megabytes: 281, messages: 10_432 },
    *inputs() {
      yield* tagPolicies(10_000);
      yield* namespaces(100);
      yield* endpoints(250_000, THERE);
      yield* endpoints(200, HERE);
    },
  },
  {
    name: "sets",
    title: "200 local of 10,000 endpoints, 1,000 net-set policies",
    upstream: { seconds: 1.1, megabytes: 96, messages: 2403 },
    *inputs() {
      yield* namespaces(100);
      yield* endpoints(10_000, THERE);
      yield* networkSets(1000);
      yield* endpoints(200, HERE);
    },
  },
  customers("customers-1k", 1000, { seconds: 0.05, megabytes: 7, messages: 1403 }),
  customers("customers-10k", 10_000, { seconds: 0.62, megabytes: 37, messages: 10_403 }),
  customers("customers-100k", 100_000, { seconds: 9.9, megabytes: 314, messages: 100_403 }),
];

const MARKERS = ["FOO_BAR", "FOO_BAR", "BIFF_BOP", "calico/FizzBuzz", "calico/BoffBip", "calico/Bazzle"]
  .concat(["calico/Razzle", "calico/DoopDeeDoo", "calico/SOME_LABEL", "calico/BORED_NOW", "MyMarkerLabel", "xFOO_BAR"])
  .concat(["xBIFF_BOP", "xcalico/FizzBuzz", "xcalico/BoffBip", "xcalico/Bazzle", "xcalico/Razzle"])
  .concat(["xcalico/DoopDeeDoo", "xcalico/SOME_LABEL", "xcalico/BORED_NOW", "yxMyMarkerLabel", "yxFOO_BAR"])
  .concat(["yxBIFF_BOP", "yxcalico/FizzBuzz", "yxcalico/BoffBip", "yxcalico/Bazzle", "yxcalico/Razzle"])
  .concat(["yxcalico/DoopDeeDoo", "yxcalico/SOME_LABEL", "yxcalico/BORED_NOW", "yxMyMarkerLabel"]);
const marker = (i: number): string => MARKERS[i % MARKERS.length]!;
const BOTH = ["Ingress", "Egress"];

function* tagPolicies(count: number): Generator<Input> {
  for (let i = 0; i < count; i++) {
    const ingress = [0, 1, 2, 3, 4].map((j) => ({ action: "Allow", source: { selector: `has(${marker(i + j)})` } }));
    yield globalPolicy(`tag-pol-${i}`, { selector: `has(${marker(i)})`, types: BOTH, ingress });
  }
}

function* namespaces(count: number): Generator<Input> {
  for (let i = 0; i < count; i++) {
    const labelsToApply = { "pcns.projectcalico.org/name": `namespace-${i}` };
    yield plain("Profile", `kns.namespace-${i}`, undefined, { spec: { labelsToApply } });
  }
}

let labelSeed = 0;

function* endpoints(count: number, node: string): Generator<Input> {
  for (let i = 0; i < count; i++) {
    labelSeed++;
    const labels: Record<string, string> = {};
    for (const n of [10, 11, 20, 30, 40]) labels[`one-in-${n}`] = `value-${labelSeed % n}`;
    labels[marker(labelSeed)] = "true";
    yield endpoint(node, `namespace-${i % 100}`, `wep-${i}`, labels);
  }
}

const SET_SIZES = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000];
let nextNet = 0xa000001;

function* networkSets(count: number): Generator<Input> {
  for (let i = 0; i < count; i++) {
    const name = `network-set-${i}`;
    const nets = Array.from({ length: SET_SIZES[i % SET_SIZES.length]! }, () => `${dotted(nextNet++)}/32`);
    yield plain("GlobalNetworkSet", name, undefined, { labels: { "network-set-name": name }, spec: { nets } });
    const ingress = [{ action: "Allow", source: { selector: `network-set-name == '${name}'` } }];
    yield globalPolicy(`network-set-pol-${i}`, { selector: "all()", types: BOTH, ingress });
  }
}

/** Many tenants, each with a namespace, a policy that isolates it, and one pod; 100 pods are here. */
function customers(name: string, count: number, upstream: DataSet["upstream"]): DataSet {
  return {
    name,
    title: `${count.toLocaleString("en")} isolated customers`,
    upstream,
    *inputs() {
      for (let i = 0; i < count; i++) yield isolation(`customer-${i}`);
      for (let i = 0; i < count; i++) {
        const labelsToApply = {
          "pcns.projectcalico.org/name": `customer-${i}`,
          "namespace-id": text(i, 20),
          production: String(i % 2 === 0),
        };
        yield plain("Profile", `kns.customer-${i}`, undefined, { spec: { labelsToApply } });
      }
      const stride = Math.max(1, Math.floor(count / 100));
      const isHere = (i: number) => i % stride === 0 && i / stride < 100;
      for (const node of [THERE, HERE]) {
        for (let i = 0; i < count; i++) {
          if (isHere(i) !== (node === HERE)) continue;
          yield endpoint(node, `customer-${i}`, `app-${(i * 7 + 3).toString(16).padStart(9, "0")}`, podLabels(i));
        }
      }
    },
  };
}

function isolation(namespace: string): Input {
  const own = { namespaceSelector: `projectcalico.org/name == '${namespace}'` };
  const id = { kind: "NetworkPolicy", namespace, name: "isolation" } as const;
  const spec = {
    tier: "default",
    selector: "all()",
    types: BOTH,
    ingress: [{ action: "Allow", source: own, destination: {} }],
    egress: [
      { action: "Allow", source: {}, destination: own },
      { action: "Allow", protocol: "UDP", source: {}, destination: { nets: ["10.96.0.10/32"], ports: [53] } },
    ],
  };
  return policy(id, spec);
}

const pick = (list: readonly string[], i: number): string => list[i % list.length]!;

/** 15 labels as of a real installation: 5 that only this pod has, 4 of two values, 4 of a few, 1 of all pods, 1 of many values. */
const podLabels = (i: number): Record<string, string> => ({
  "pod-id": text(i * 5, 20),
  "instance-id": text(i * 5 + 1, 20),
  "short-id": text(i * 5 + 2, 10),
  "config-hash": text(i * 5 + 3, 20),
  "version-tag": text(i * 5 + 4, 8),
  enabled: String(i % 2),
  debug: String((i >> 1) % 2),
  canary: String((i >> 2) % 2),
  managed: String((i >> 3) % 2),
  environment: pick(["dev", "staging", "prod"], i),
  tier: pick(["frontend", "backend", "middleware", "data"], i),
  region: pick(["us-east", "us-west", "eu-west", "ap-south"], i),
  team: pick(["platform", "payments", "identity", "growth", "infra"], i),
  "managed-by": "saas-controller",
  "tenant-id": text(i % 5000, 10),
});

/** A text of this length that depends on nothing but the number. */
function text(seed: number, length: number): string {
  let state = (Math.imul(seed, 2654435761) + 1) >>> 0;
  let made = "";
  while (made.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    made += state.toString(16).padStart(8, "0");
  }
  return made.slice(0, length);
}

let nextAddress = 0xa000001;
const dotted = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");

function endpoint(node: string, namespace: string, pod: string, labels: Record<string, string>): Input {
  return plain("WorkloadEndpoint", `${node}-k8s-${pod.replaceAll("-", "--")}-eth0`, namespace, {
    labels: { "projectcalico.org/namespace": namespace, "projectcalico.org/orchestrator": "k8s", ...labels },
    spec: {
      orchestrator: "k8s",
      node,
      pod,
      endpoint: "eth0",
      ipNetworks: [`${dotted(nextAddress++)}/32`],
      profiles: [`kns.${namespace}`],
      interfaceName: `cali${nextAddress.toString(16)}`,
    },
  });
}

const globalPolicy = (name: string, spec: object): Input =>
  policy({ kind: "GlobalNetworkPolicy", name }, { tier: "default", ...spec });

function policy(id: Extract<Input, { kind: "Policy" }>["id"], spec: object): Input {
  const { kind, ...metadata } = id;
  return { kind: "Policy", id, policy: { apiVersion: "projectcalico.org/v3", kind, metadata, spec } } as Input;
}

function plain(
  kind: string,
  name: string,
  namespace: string | undefined,
  { labels, ...body }: { labels?: object; spec: object },
): Input {
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }), ...(labels ? { labels } : {}) };
  const resource = { apiVersion: "projectcalico.org/v3", kind, metadata, ...body };
  return { kind, name, ...(namespace === undefined ? {} : { namespace }), resource } as Input;
}

interface Result {
  readonly seconds: number;
  /** For how long the calculation's thread had a processor: what a busy machine changes least. */
  readonly cpuSeconds: number;
  readonly flushSeconds: number;
  readonly megabytes: number;
  readonly residentMegabytes: number;
  readonly messages: number;
}

/** One run, in a process of its own. */
function run({ inputs }: DataSet): Result {
  const calc = createCalc({ nodeName: HERE });
  let milliseconds = 0;
  let cpu = 0;
  let messages = 0;
  const feed = (texts: readonly string[]): void => {
    const chunk = texts.map((one) => JSON.parse(one) as Input);
    const used = onProcessor();
    const began = performance.now();
    for (const input of chunk) calc.update(input);
    milliseconds += performance.now() - began;
    cpu += onProcessor() - used;
  };
  let texts: string[] = [];
  for (const input of inputs()) {
    texts.push(JSON.stringify(input));
    if (texts.length < CHUNK) continue;
    feed(texts);
    texts = [];
  }
  feed(texts);
  texts = [];
  const used = onProcessor();
  const began = performance.now();
  calc.inSync();
  calc.flush(() => messages++);
  const flushMilliseconds = performance.now() - began;
  cpu += onProcessor() - used;
  Bun.gc(true);
  Bun.gc(true);
  const { heapSize } = heapStats();
  const { rss } = process.memoryUsage();
  // Still in use, so that it was not collected.
  if (calc.stats().activeLocalEndpoints === 0) throw new Error("there are no endpoints");
  return {
    seconds: (milliseconds + flushMilliseconds) / 1000,
    cpuSeconds: cpu,
    flushSeconds: flushMilliseconds / 1000,
    megabytes: heapSize / 2 ** 20,
    residentMegabytes: rss / 2 ** 20,
    messages,
  };
}

/** Seconds for which this thread has run (Documentation/scheduler/sched-stats.rst). */
const onProcessor = (): number => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e9;

function inOwnProcess(name: string): Result {
  const child = Bun.spawnSync([process.execPath, import.meta.path, "--run", name], { stderr: "inherit" });
  if (!child.success) throw new Error(`the run of ${name} failed`);
  return JSON.parse(child.stdout.toString()) as Result;
}

function table(runs: number, names: readonly string[]): string {
  const rows: string[][] = [];
  for (const { name, title, upstream } of DATA_SETS) {
    if (names.length > 0 && !names.includes(name)) continue;
    const results = Array.from({ length: runs }, () => inOwnProcess(name));
    const of = (field: keyof Result) => median(results.map((result) => result[field]));
    rows.push([
      title,
      of("seconds").toFixed(2),
      upstream.seconds.toFixed(2),
      of("cpuSeconds").toFixed(2),
      of("flushSeconds").toFixed(2),
      of("megabytes").toFixed(0),
      String(upstream.megabytes),
      of("residentMegabytes").toFixed(0),
      of("messages").toLocaleString("en"),
      upstream.messages.toLocaleString("en"),
    ]);
  }
  const head = [
    "data set",
    "s",
    "upstream, s",
    "of it on a processor, s",
    "of it flush, s",
    "heap, MB",
    "upstream, MB",
    "resident, MB",
    "messages",
    "upstream's",
  ];
  return markdownTable(head, rows);
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--run") {
  const dataSet = DATA_SETS.find(({ name }) => name === rest[0]);
  if (dataSet === undefined) throw new Error(`${rest[0]} is none of ${DATA_SETS.map(({ name }) => name).join(", ")}`);
  console.log(JSON.stringify(run(dataSet)));
} else {
  const runs = Number(first ?? 3);
  console.log(`Medians of ${runs} runs on ${machine()}; upstream's figures are the best of three.\n`);
  console.log(table(runs, rest));
}
