/**
 * One measurement of bench:policy, in a sandbox and a kernel state of its own: reads a scenario (JSON) from its first argument, prints
 * what came out as JSON.
 */
import { join } from "node:path";
import { Namespace } from "../lib/api/kubernetes/index.ts";
import { NetworkPolicy } from "../lib/api/networkpolicy.ts";
import { NetworkSet } from "../lib/api/networkset.ts";
import type { Client, DatastoreConfig } from "../lib/datastore/index.ts";
import { startEtcd } from "../lib/datastore/testing.ts";
import {
  Agent,
  clearKernel,
  createAll,
  type Dataplane,
  type Memory,
  makePods,
  NAMESPACE,
  openStore,
  routePlainly,
  SENDER_ADDRESS,
} from "./policy-node.ts";
import { FIRST_PORT, LAST_PORT, Probe, type TcpRates, tcpRates } from "./policy-traffic.ts";
import { enterSandbox } from "./sandbox.ts";

/** Changes of one endpoint's policy while so many others are in the store. */
export interface ChangeScenario {
  readonly measure: "change";
  readonly dataplane: Dataplane;
  readonly datastore: "sqlite" | "etcd";
  readonly endpoints: number;
  /** Policies that do not touch the endpoints. */
  readonly policies: number;
  /** Network sets and policies that are in force here, a set for each policy. */
  readonly sets: number;
  /** What changes: a rule of the policy of one endpoint, or a member of a network set. */
  readonly what: "rule" | "member";
  readonly changes: number;
}
export interface ChangeResult {
  /** Milliseconds from the moment at which the write was done until the kernel did accordingly. */
  readonly enforced: readonly number[];
  /** Milliseconds that the write took. */
  readonly written: readonly number[];
  readonly memory: Memory;
  /** Milliseconds of the agent's processor time a change. */
  readonly processor: number;
  /** Milliseconds a round of the agent: to calculate, and to change the kernel. */
  readonly calculation: number;
  readonly apply: number;
}

export interface StartScenario {
  readonly measure: "start";
  readonly dataplane: Dataplane;
  readonly endpoints: number;
  readonly policies: number;
  readonly rounds: number;
}
/** Milliseconds from the start of the process, one for each round. */
export interface StartTimes {
  readonly inSync: readonly number[];
  readonly inForce: readonly number[];
  /** When the first packet went as the policy says, and not as before. */
  readonly enforced: readonly number[];
}
export interface StartResult {
  readonly empty: StartTimes;
  readonly programmed: StartTimes;
}

export interface ForwardScenario {
  readonly measure: "forward";
  readonly dataplane: Dataplane;
  readonly endpoints: number;
  /** On the endpoint that is sent to. */
  readonly policies: number;
  readonly rounds: number;
}
export interface Rates extends TcpRates {
  /** Packets a second of one flow, and of flows that are all new. */
  readonly packets: number;
  readonly flows: number;
}
export interface ForwardResult {
  readonly without: readonly Rates[];
  readonly enforced: readonly Rates[];
}

export type Scenario = ChangeScenario | StartScenario | ForwardScenario;

const FLOOD_MS = 1000;
const FLOWS = 20_000;

/** The policy that is changed, and that decides about the probes. */
const target = (spec: object): NetworkPolicy =>
  policyOf("target", { order: 10, selector: "pod == 'pod-1'", types: ["Ingress"], ...spec });
const probes = { protocol: "UDP", destination: { ports: [`${FIRST_PORT}:${LAST_PORT}`] } };

function policyOf(name: string, spec: object, namespace = NAMESPACE): NetworkPolicy {
  return {
    apiVersion: "projectcalico.org/v3",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: { tier: "default", ...spec },
  } as NetworkPolicy;
}

/** Policies of other tenants, whose pods are elsewhere. */
async function createForeign(client: Client, count: number): Promise<void> {
  const namespaces = Math.min(count, 100);
  const name = (i: number) => `tenant-${i % namespaces}`;
  const asNamespace = (_: unknown, i: number) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name: name(i) } });
  await createAll(client, Namespace, Array.from({ length: namespaces }, asNamespace) as Namespace[]);
  const policies = Array.from({ length: count }, (_, i) =>
    policyOf(
      `foreign-${i}`,
      {
        selector: `app == 'foreign-${i}'`,
        types: ["Ingress", "Egress"],
        ingress: [
          {
            action: "Allow",
            protocol: "TCP",
            source: { selector: `app == 'client-${i}'` },
            destination: { ports: [80, 443] },
          },
          { action: "Allow", protocol: "TCP", source: { nets: ["10.200.0.0/16"] }, destination: { ports: [9090] } },
        ],
        egress: [{ action: "Allow" }],
      },
      name(i),
    ),
  );
  await createAll(client, NetworkPolicy, policies);
}

/** A policy for each tenth of the endpoints, as a node has them anyway; it lets everything through that nothing else decides. */
const ordinary = (): NetworkPolicy[] =>
  Array.from({ length: 10 }, (_, i) =>
    policyOf(`ordinary-${i}`, {
      order: 1000,
      selector: `app in {${Array.from({ length: 10 }, (_, j) => `'app-${i * 10 + j}'`).join(", ")}}`,
      types: ["Ingress", "Egress"],
      ingress: [{ action: "Allow", protocol: "TCP", source: { selector: `app == 'app-${i}'` } }],
      egress: [{ action: "Allow" }],
    }),
  );

/** Network sets, and a policy that looks into each: policy i is that of the pods of app i modulo 100. */
async function createSets(client: Client, count: number): Promise<void> {
  const sets = Array.from({ length: count }, (_, i) => networkSet(i, []));
  await createAll(client, NetworkSet, sets);
  const policies = Array.from({ length: count }, (_, i) =>
    policyOf(`set-${i}`, {
      order: 500,
      selector: `app == 'app-${i % 100}'`,
      types: ["Ingress"],
      ingress: [{ action: "Allow", ...probes, source: { selector: `set == 'set-${i}'` } }],
    }),
  );
  await createAll(client, NetworkPolicy, policies);
}

function networkSet(i: number, more: readonly string[]): NetworkSet {
  const nets = [1, 2, 3].map((host) => `10.${100 + (i >> 8)}.${i & 255}.${host}/32`);
  return {
    apiVersion: "projectcalico.org/v3",
    kind: "NetworkSet",
    metadata: { name: `set-${i}`, namespace: NAMESPACE, labels: { set: `set-${i}` } },
    spec: { nets: [...nets, ...more] },
  };
}

class Run {
  #stores = 0;

  constructor(
    readonly folder: string,
    readonly dist: string,
  ) {}

  run(scenario: Scenario): Promise<ChangeResult | StartResult | ForwardResult> {
    if (scenario.measure === "change") return this.#change(scenario);
    return scenario.measure === "start" ? this.#start(scenario) : this.#forward(scenario);
  }

  async #change(scenario: ChangeScenario): Promise<ChangeResult> {
    const { dataplane, endpoints, policies, sets, what, changes } = scenario;
    makePods(endpoints);
    const store = await this.#store(scenario.datastore);
    const client = await openStore(store.config, endpoints);
    await createForeign(client, policies);
    await createAll(client, NetworkPolicy, ordinary());
    await createSets(client, sets);
    let policy = what === "rule" ? await client.create(NetworkPolicy, target({ ingress: deny })) : undefined;
    const changed = sets - 99; // the last of those of the receiver
    let set =
      what === "member" ? await client.get(NetworkSet, { name: `set-${changed}`, namespace: NAMESPACE }) : undefined;

    const agent = this.#agent(dataplane, store.env);
    await agent.logged("policy is in force");
    const probe = new Probe();
    probe.until(false);
    const enforced: number[] = [];
    const written: number[] = [];
    let processor = 0;
    let before: ReadonlyMap<string, number> = new Map();
    for (let i = -WARM_UP; i < changes; i++) {
      if (i === 0) {
        processor = agent.processor();
        before = await agent.metrics();
      }
      const pass = i % 2 === 0;
      const began = performance.now();
      if (policy)
        policy = await client.update(NetworkPolicy, { ...policy, spec: target({ ingress: pass ? allow : deny }).spec });
      if (set)
        set = await client.update(NetworkSet, {
          ...set,
          spec: networkSet(changed, pass ? [`${SENDER_ADDRESS}/32`] : []).spec,
        });
      const done = performance.now();
      const effective = probe.until(pass);
      if (i >= 0) {
        written.push(done - began);
        enforced.push(Math.max(0, effective - done));
      }
      // At no fixed phase of anything that goes by time.
      await Bun.sleep(20 + Math.random() * 40);
    }
    const spent = (agent.processor() - processor) / changes;
    const after = await agent.metrics();
    const mean = (name: string) => {
      const grown = (field: string) => (after.get(`${name}_${field}`) ?? 0) - (before.get(`${name}_${field}`) ?? 0);
      return (1000 * grown("sum")) / grown("count");
    };
    const result = {
      enforced,
      written,
      memory: agent.memory(),
      processor: spent,
      calculation: mean("felix_calc_graph_update_time_seconds"),
      apply: mean("felix_int_dataplane_apply_time_seconds"),
    };
    await agent.end("SIGTERM");
    await client.close();
    return result;
  }

  async #start({ dataplane, endpoints, policies, rounds }: StartScenario): Promise<StartResult> {
    makePods(endpoints);
    const store = await this.#store("sqlite");
    const client = await openStore(store.config, endpoints);
    await createForeign(client, policies);
    await createAll(client, NetworkPolicy, ordinary());
    let policy = await client.create(NetworkPolicy, target({ ingress: deny }));
    const probe = new Probe();
    const empty: Times = { inSync: [], inForce: [], enforced: [] };
    const programmed: Times = { inSync: [], inForce: [], enforced: [] };
    const startUp = async (times: Times, pass: boolean): Promise<Agent> => {
      const agent = this.#agent(dataplane, store.env);
      times.enforced.push(probe.until(pass) - agent.started);
      times.inSync.push(await agent.logged("in sync with the datastore"));
      times.inForce.push(await agent.logged("policy is in force"));
      return agent;
    };
    for (let round = 0; round < rounds; round++) {
      clearKernel();
      routePlainly();
      probe.until(true);
      await (await startUp(empty, false)).end("SIGKILL");
      policy = await client.update(NetworkPolicy, { ...policy, spec: target({ ingress: allow }).spec });
      await (await startUp(programmed, true)).end("SIGKILL");
      policy = await client.update(NetworkPolicy, { ...policy, spec: target({ ingress: deny }).spec });
    }
    probe.close();
    await client.close();
    return { empty, programmed };
  }

  async #forward({ dataplane, endpoints, policies, rounds }: ForwardScenario): Promise<ForwardResult> {
    makePods(Math.max(endpoints, 2));
    const store = await this.#store("sqlite");
    const client = await openStore(store.config, Math.max(endpoints, 2));
    // The last one lets everything through.
    const onReceiver = Array.from({ length: policies }, (_, i) =>
      policyOf(`on-receiver-${i}`, {
        order: i,
        selector: "pod == 'pod-1'",
        types: ["Ingress"],
        ingress: [
          {
            action: "Allow",
            ...(i === policies - 1 ? {} : { source: { nets: [`10.${200 + (i >> 8)}.${i & 255}.0/24`] } }),
          },
        ],
      }),
    );
    await createAll(client, NetworkPolicy, onReceiver);
    const without: Rates[] = [];
    const enforced: Rates[] = [];
    const probe = new Probe();
    for (let round = 0; round < rounds; round++) {
      clearKernel();
      routePlainly();
      without.push(await rates(probe));
      const agent = this.#agent(dataplane, store.env);
      await agent.logged("policy is in force");
      // What starting up does besides is not what is measured.
      await Bun.sleep(1000);
      enforced.push(await rates(probe));
      await agent.end("SIGKILL");
    }
    probe.close();
    await client.close();
    return { without, enforced };
  }

  #agent(dataplane: Dataplane, env: Readonly<Record<string, string>>): Agent {
    return new Agent(this.dist, this.folder, dataplane, env);
  }

  async #store(type: "sqlite" | "etcd"): Promise<{ config: DatastoreConfig; env: Record<string, string> }> {
    if (type === "etcd") {
      const { endpoint } = await startEtcd();
      return {
        config: { type: "etcdv3", endpoints: [endpoint] },
        env: { DATASTORE_TYPE: "etcdv3", ETCD_ENDPOINTS: endpoint },
      };
    }
    const file = join(this.folder, `datastore-${this.#stores++}`, "datastore.db");
    return { config: { type: "sqlite", file }, env: { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: file } };
  }
}

const WARM_UP = 10;
const allow = [{ action: "Allow", ...probes }];
const deny = [{ action: "Deny", ...probes }];

type Times = { inSync: number[]; inForce: number[]; enforced: number[] };

async function rates(probe: Probe): Promise<Rates> {
  const packets = probe.flood(FLOOD_MS);
  const flows = probe.flows(FLOWS);
  return { packets, flows, ...(await tcpRates(FLOOD_MS)) };
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  const folder = enterSandbox(import.meta.filename, root);
  const scenario = JSON.parse(process.argv[2] ?? "") as Scenario;
  process.env.TZ = "UTC"; // the agent's log is read
  const dist = process.env.CALICO_DIST ?? join(root, "dist");
  const run = new Run(folder, dist);
  const result = await run.run(scenario);
  console.log(JSON.stringify(result));
  process.exit();
}
