/**
 * Steps → the kernel, all or nothing; and where it refuses, as much as it takes.
 *
 * The kernel looks at every step of a transaction and tells which ones it refuses, so that what is at fault is known by name. Some faults show only
 * in the whole (a chain that is reached from a hook where its rules make no sense): then the objects are tried in halves.
 */
import { type Netfilter, NF_SUBSYSTEM, type Transaction } from "../../netlink/netfilter/index.ts";
import { SysError } from "../../sys/index.ts";
import { DataplaneError, type IpVersion } from "../rules/index.ts";
import { difference, type Held, noWants, remadeSets, settle, type WantedChain, type Wants } from "./diff.ts";
import { readGeneration } from "./kernel.ts";
import { type Operation, stepRequest } from "./operations.ts";
import { compileRules } from "./render.ts";
import { CLOSED, type Problem } from "./wants.ts";

/** What was refused of a transaction. */
export interface Refusal {
  /** On whose account; undefined: the whole. */
  readonly unit: string | undefined;
  /** Name of the errno. */
  readonly code: string;
  readonly message: string;
}

export type Outcome =
  | { readonly did: "committed" }
  | { readonly did: "refused"; readonly refusals: readonly Refusal[] }
  /** Somebody else changed rules since the generation that was expected. */
  | { readonly did: "overtaken" };

const SUBSYSTEM = NF_SUBSYSTEM.NFTABLES;
/** How often a transaction is tried that others get ahead of, before it is sent whatever they do. */
const ATTEMPTS = 20;

/** Sends transactions, and keeps count of the ruleset's generations. */
export class Sender {
  readonly #netfilter: Netfilter;
  readonly #table: string;
  #generation = 0;
  #gapless = true;
  #commands = 0;

  constructor(netfilter: Netfilter, table: string) {
    this.#netfilter = netfilter;
    this.#table = table;
  }

  /** Number of steps that were taken so far. */
  get commands(): number {
    return this.#commands;
  }

  /** The one that the last transaction of ours made, or that was begun with. */
  get generation(): number {
    return this.#generation;
  }

  /** From here on every change that is not ours is noticed by its number. */
  begin(generation: number): void {
    this.#generation = generation;
    this.#gapless = true;
  }

  /** Whether nobody but us has changed any rules since `begin`. */
  isAlone(): boolean {
    return this.#gapless && readGeneration(this.#netfilter).generation === this.#generation;
  }

  /** More than the socket carries is refused as a whole: a request (EMSGSIZE), or answers, which there are many of only when it failed. */
  #transact(
    requests: Parameters<Netfilter["transaction"]>[1],
    options: { readonly generation?: number },
  ): Pick<Transaction, "committed" | "errors"> {
    try {
      return this.#netfilter.transaction(SUBSYSTEM, requests, options);
    } catch (error) {
      if (!(error instanceof SysError && (error.code === "EMSGSIZE" || error.code === "ENOBUFS"))) throw error;
      return { committed: false, errors: [] };
    }
  }

  /** `expected`: the generation that the steps were made for, when it matters. */
  send(operations: readonly Operation[], expected?: number): Outcome {
    if (operations.length === 0) return { did: "committed" };
    const requests = operations.map((operation, index) =>
      stepRequest(operation, operation.version, this.#table, index + 1),
    );
    for (let attempt = 1; ; attempt++) {
      const { generation } = readGeneration(this.#netfilter);
      if (expected !== undefined && generation !== expected) return { did: "overtaken" };
      if (generation !== this.#generation) this.#gapless = false;
      const careful = attempt < ATTEMPTS;
      const { committed, errors } = this.#transact(requests, careful ? { generation } : {});
      if (committed) {
        this.#generation = generation + 1;
        if (!careful) this.#gapless = false;
        this.#commands += operations.length;
        return { did: "committed" };
      }
      if (careful && errors.some(({ request, error }) => request === undefined && error.code === "ERESTART")) continue;
      const permission = errors.find(({ error }) => error.code === "EPERM");
      if (permission) {
        const remedy = "the process needs CAP_NET_ADMIN in the network namespace";
        throw new DataplaneError("DATAPLANE_REFUSED", `${permission.error.message}: ${remedy}`);
      }
      return {
        did: "refused",
        refusals: errors.map(({ request, error }) => ({
          unit: request === undefined ? undefined : operations[request]?.unit,
          code: error.code,
          message: error.message,
        })),
      };
    }
  }
}

/** Errors of rules that make no sense where they are reached from, in circles, or too deep. */
const OF_THE_WHOLE: ReadonlySet<string> = new Set(["EOPNOTSUPP", "ELOOP", "EMLINK"]);

/** After the first rule that does not fit the whole, the kernel refuses also those that come later. */
function blameworthy(refusals: readonly Refusal[]): readonly Refusal[] {
  const own = refusals.filter(({ unit, code }) => unit !== undefined && !OF_THE_WHOLE.has(code));
  return own.length > 0 ? own : refusals.slice(0, 1);
}

type Unit = { readonly kind: keyof Wants; readonly name: string };

const unitText = ({ kind, name }: Unit): string => `${kind.slice(0, -1)} ${name}`;

/**
 * Makes the kernel hold of the wants what it takes, in several transactions, and notes in `held` what it took. Of a chain that is refused the last
 * good rules stay; a new one drops everything. Nothing refers to a new chain before it drops or does what it shall.
 * Answers what is not as wanted.
 */
export function piecemeal(sender: Sender, held: Held, wants: Wants, version: IpVersion): Problem[] {
  const problems: Problem[] = [];
  const family = version === 4 ? "ip" : "ip6";

  const attempt = (units: readonly Unit[], source: Wants): void => {
    if (units.length === 0) return;
    const part = restrict(source, units);
    const outcome = sender.send(difference(held, part, version));
    if (outcome.did === "committed") {
      settle(held, part);
      return;
    }
    const refusals = outcome.did === "refused" ? outcome.refusals : [];
    const named = new Map(blameworthy(refusals).map(({ unit, message }) => [unit, message]));
    const bad = units.filter((unit) => named.has(unitText(unit)));
    if (bad.length === 0 && units.length > 1) {
      const half = units.length >> 1;
      attempt(units.slice(0, half), source);
      attempt(units.slice(half), source);
      return;
    }
    const blamed = bad.length === 0 ? units : bad;
    for (const unit of blamed) {
      const message = named.get(unitText(unit)) ?? refusals[0]?.message ?? "it is more than one transaction can carry";
      problems.push({ unit: `${family} ${unitText(unit)}`, code: codeOf(message), message });
    }
    attempt(
      units.filter((unit) => !blamed.includes(unit)),
      source,
    );
  };
  const unitsOf = (kind: keyof Wants, isWanted: boolean): Unit[] =>
    [...wants[kind]].filter(([, want]) => (want !== undefined) === isWanted).map(([name]) => ({ kind, name }));

  // A set of another shape is made anew together with the rules that look into it.
  const remade = remadeSets(held, wants);
  const looksInto = (chain: WantedChain | undefined): boolean =>
    chain?.rules.some(({ text }) => [...remade].some((set) => text.includes(`@${set}`))) ?? false;
  const [again, fresh] = partition(unitsOf("sets", true), ({ name }) => remade.has(name));
  const [along, chains] = partition(unitsOf("chains", true), ({ name }) => looksInto(wants.chains.get(name)));
  attempt(fresh, wants);
  const first = noWants();
  for (const { name } of [...along, ...chains]) {
    const chain = wants.chains.get(name)!;
    if (held.chains.has(name) || !closes(chain)) continue;
    const rules = compileRules(name, CLOSED, { version, table: "filter" });
    first.chains.set(name, { ...(chain.base && { base: chain.base }), rules });
  }
  const [mapsAgain, maps] = partition(unitsOf("maps", true), ({ name }) => remade.has(name));
  for (const { name } of maps) if (!held.sets.has(name)) first.maps.set(name, new Map());
  attempt(unitsIn(first), first);
  attempt([...again, ...mapsAgain, ...along], wants);
  attempt(chains, wants);
  attempt(maps, wants);
  for (const kind of ["maps", "chains", "sets"] as const) attempt(unitsOf(kind, false), wants);
  return problems;
}

const unitsIn = ({ chains, maps }: Wants): Unit[] => [
  ...Array.from(chains.keys(), (name): Unit => ({ kind: "chains", name })),
  ...Array.from(maps.keys(), (name): Unit => ({ kind: "maps", name })),
];

function partition<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [all.filter(test), all.filter((one) => !test(one))];
}

/**
 * Whether the chain drops everything until it can be made. Of the base chains only that for forwarded packets: dropping what the node itself
 * sends and receives would take it away from those who could help.
 */
function closes({ base }: WantedChain): boolean {
  return base === undefined || (base.hook === "FORWARD" && base.type === "filter");
}

function codeOf(message: string): Problem["code"] {
  return message.includes("ENFILE") ? "DATAPLANE_SET_FULL" : "DATAPLANE_REFUSED";
}

function restrict(wants: Wants, units: readonly Unit[]): Wants {
  const part = noWants();
  for (const { kind, name } of units) {
    // One kind's map takes only its own kind of wants.
    if (kind === "chains") part.chains.set(name, wants.chains.get(name));
    else if (kind === "sets") part.sets.set(name, wants.sets.get(name));
    else part.maps.set(name, wants.maps.get(name));
  }
  return part;
}
