import type { Client } from "../datastore/index.ts";
import { tryParseAddress } from "../ip/index.ts";
import { flushConntrack, openNetfilter } from "../netlink/netfilter/index.ts";
import {
  applySysctls,
  type HostInterface,
  nodeSysctls,
  openInterfaces,
  openWorkloadRoutes,
  openWorkloadSysctls,
} from "../routes/index.ts";
import { EXIT_RESTART, type Metrics } from "../telemetry/daemon.ts";
import type { Logger } from "../telemetry/index.ts";
import { createCalc, type LocalWorkload, type WorkloadId } from "./calc/index.ts";
import {
  type AgentConfig,
  type ConfigInputs,
  describeConfigProblem,
  needsRestart,
  type ResolvedConfig,
} from "./config/index.ts";
import { watchConfig } from "./config-watch.ts";
import { openDataplane, removeLeftovers } from "./dataplanes.ts";
import { type EndpointRoutes, Enforcer } from "./enforcer.ts";
import { every } from "./every.ts";
import { hasIpv6, hostFacts } from "./host-facts.ts";
import { watchInputs } from "./intake/index.ts";
import { followMode } from "./mode.ts";
import { keepMtuFile } from "./mtu.ts";
import { openReport, type Report } from "./report.ts";
import { createProgrammer, type InterfaceState, Program, type Programs } from "./rules/index.ts";
import { routeSettings, rulesConfig, unenforced } from "./settings.ts";
import { openStatusFiles } from "./status-files.ts";

const EXIT_FATAL = 1;

/** How often kube-proxy's mode is looked at, in milliseconds. */
const MODE_CHECK_MS = 10_000;
/** How often the folder of status files is compared, as upstream does; in milliseconds. */
const STATUS_CHECK_MS = 10_000;

export interface AgentOptions {
  /**
   * Opens the datastore, however long it takes, and says meanwhile why it cannot; undefined when the signal is aborted before it could. The
   * agent closes it.
   */
  readonly connect: (signal: AbortSignal, onTrouble: (why: string) => void) => Promise<Client | undefined>;
  /** What the configuration is made of beside the datastore. */
  readonly local: Omit<ConfigInputs, "resources">;
  readonly nodeName: string;
  /** What is known of the configuration before the datastore is read: health and metrics are served by it meanwhile. */
  readonly config: AgentConfig;
  readonly log: Logger;
  /** Hears of each usable configuration, the first included: for what lies outside of the agent, such as how much is logged. */
  readonly onConfig?: (config: AgentConfig) => void;
  /** Adds what the agent's metrics are to tell beside its own. Called each time that they begin anew. */
  readonly addMetrics?: (metrics: Metrics) => void;
  /**
   * Called when policy is in force for the first time: what serves others from then on, until it is disposed of, before the agent ends.
   * Throws nothing.
   */
  readonly serve?: (running: RunningAgent) => AsyncDisposable;
  /** Ends the agent. What the kernel enforces stays. */
  readonly signal: AbortSignal;
}

/** An agent that enforces. */
export interface RunningAgent {
  /** Its connection to the datastore. */
  readonly client: Client;
  /**
   * Resolves when the policy of the local workload of this name is in the kernel, its interface is up, and it is the one that is meant; rejects
   * with the signal's reason.
   */
  readonly whenInForce: (
    id: WorkloadId,
    isIt: (workload: LocalWorkload) => boolean,
    signal: AbortSignal,
  ) => Promise<void>;
  /** Counts a request of the plugin's. */
  readonly onAttachment: (verb: string, outcome: string, seconds: number) => void;
}

/** Runs the agent of one node, in the network namespace of the process, until it has to end; answers the exit status. */
export async function runAgent(options: AgentOptions): Promise<number> {
  const { local, nodeName, log } = options;
  const stop = new AbortController();
  const ended = Promise.withResolvers<number>();
  const end = (status: number): void => {
    ended.resolve(status);
    stop.abort();
  };
  if (options.signal.aborted) return 0;
  options.signal.addEventListener("abort", () => end(0), { once: true });

  let report = openReport(options.config, log, options.addMetrics);
  let client: Client | undefined;
  try {
    client = await options.connect(stop.signal, (why) => report.trouble("datastore", why));
    if (!client) return await ended.promise;
    report.trouble("datastore", undefined);
    let current: AgentConfig | undefined;
    const isUsable = usability(log);
    const resolved = await watchConfig({
      client,
      local,
      nodeName,
      signal: stop.signal,
      onTrouble: (why) => report.trouble("configuration", why),
      onProblem: (key, why) =>
        log.error("what configures this node cannot be read: what was known of it stays in force", { key, why }),
      onChange: (next) => {
        if (!current) return;
        const isFine = isUsable(next);
        report.trouble(
          "configuration in the datastore",
          isFine ? undefined : "what it says now cannot be used; see the log",
        );
        if (!isFine) return;
        options.onConfig?.(next.config);
        report.configure(next.config);
        const changed = needsRestart(current, next.config);
        if (changed.length === 0) return;
        log.info("the configuration changed; a new start applies it", { parameters: changed.join(", ") });
        end(EXIT_RESTART);
      },
    });
    if (!resolved) return await ended.promise;
    if (!isUsable(resolved)) return EXIT_FATAL;
    current = resolved.config;
    options.onConfig?.(current);
    if (needsRestart(options.config, current).length > 0) {
      report.close();
      report = openReport(current, log, options.addMetrics);
    }
    report.configure(current);
    await using agent = await startAgent(options, client, current, report, stop.signal, end);
    void agent;
    return await ended.promise;
  } finally {
    stop.abort();
    report.close();
    await client?.close();
  }
}

/** Logs what is newly wrong with a configuration; whether it may be enforced by all the same. */
function usability(log: Logger): (resolved: ResolvedConfig) => boolean {
  // Whatever changes of the Node makes the configuration be looked at: its problems stay the same mostly.
  let said: ReadonlySet<string> = new Set();
  return ({ problems }) => {
    const words = new Set<string>();
    for (const problem of problems) {
      const text = describeConfigProblem(problem);
      words.add(text);
      if (!said.has(text)) log[problem.fatal ? "error" : "warning"](text);
    }
    said = words;
    return !problems.some(({ fatal }) => fatal);
  };
}

async function startAgent(
  { nodeName, log, serve }: AgentOptions,
  client: Client,
  config: AgentConfig,
  report: Report,
  signal: AbortSignal,
  end: (status: number) => void,
): Promise<AsyncDisposable> {
  const ipv6 = config.Ipv6Support && hasIpv6();
  const fatal = (what: string) => (error: Error) => {
    log.error(what, { error: error.message });
    end(EXIT_FATAL);
  };
  const interfaces = openInterfaces({ onError: fatal("the node's interfaces can no longer be followed") });
  const toldMtu = await keepMtuFile({ interfaces, pattern: config.MTUIfacePattern, log });
  if (!toldMtu && config.RequireMTUFile) end(EXIT_FATAL);
  const facts = hostFacts(interfaces);
  const follow = await followMode(modeSettings(config), facts);
  const { mode, reason, ipvs } = follow.choice;
  log.info("policy is enforced by", { dataplane: mode, reason, node: nodeName, ipv6, ipvs });

  const programs: Programs = { v4: new Program(4), ...(ipv6 ? { v6: new Program(6) } : {}) };
  const programmer = createProgrammer(rulesConfig(config, mode, ipvs), programs);
  const dataplane = await openDataplane(mode, config, programs, log);
  const netfilter = openNetfilter();
  const forget = (addresses: readonly string[]): void => {
    flushConntrack(
      netfilter,
      addresses.flatMap((address) => tryParseAddress(address) ?? []),
    );
  };

  const { changed, failed } = applySysctls(nodeSysctls({ forwarding: config.IPForwarding === "Enabled", ipv6 }));
  if (changed.length > 0) log.info("set on the node", { sysctls: changed.join(", ") });
  for (const error of failed) log.error("cannot set on the node", { error: error.message });
  const sysctls = openWorkloadSysctls({
    interfaces,
    ipv6,
    onApplied: (name, applied) => {
      for (const error of applied.failed)
        log.warning("cannot set for an interface", { interface: name, error: error.message });
    },
  });
  const routes = openWorkloadRoutes({
    ...routeSettings(config),
    interfaces,
    ipv6,
    onApplied: ({ added, deleted, failed }) => {
      log.info("routes were put right", { added: added.join(", "), deleted: deleted.join(", ") });
      for (const error of failed) log.error("cannot put a route right", { error: error.message });
    },
    onError: (error, isFatal) => {
      if (isFatal) fatal("routes can no longer be followed")(error);
      else log.error("routes", { error: error.message });
    },
  });
  const told = new Set<string>();
  const endpointRoutes: EndpointRoutes = {
    set: (workload) => {
      const { interfaceName, allowSpoofedSourcePrefixes } = workload;
      const open = unenforced(workload, config);
      if (open !== undefined && !told.has(interfaceName))
        log.warning(open, { workload: workload.id.workload, interface: interfaceName });
      if (open === undefined) told.delete(interfaceName);
      else told.add(interfaceName);
      sysctls.set(interfaceName, {
        spoofing: config.WorkloadSourceSpoofing === "Any" && allowSpoofedSourcePrefixes.length > 0,
      });
      if (config.RouteSyncDisabled) return;
      const bad = routes.set(interfaceName, { cidrs: routedTo(workload, config) });
      if (bad.length > 0)
        log.error("no addresses, and so no routes", { interface: interfaceName, texts: bad.join(", ") });
    },
    remove: (interfaceName) => {
      told.delete(interfaceName);
      sysctls.remove(interfaceName);
      routes.remove(interfaceName);
    },
    apply: () => (config.RouteSyncDisabled ? [] : routes.apply().failed),
  };

  const calc = createCalc({
    nodeName,
    onProblem: (what, why) => log.warning("a resource is not enforced as it reads", { resource: what, why }),
  });
  const statusFiles = openStatusFiles(`${config.EndpointStatusPathPrefix}/endpoint-status`);
  let isFirst = true;
  let served: AsyncDisposable | undefined;
  const enforcer = new Enforcer({
    calc,
    programmer,
    dataplane,
    routes: endpointRoutes,
    statusFiles,
    flushConntrack: forget,
    log,
    onBroken: fatal("policy cannot be calculated any more"),
    onRound: (round) => {
      report.onRound(round);
      if (!isFirst || !round.applied) return;
      isFirst = false;
      log.info("policy is in force", { ...dataplane.counts, commands: round.applied.commands });
      if (!signal.aborted) {
        served = serve?.({
          client,
          whenInForce: (id, isIt, signal) => enforcer.whenInForce(id, isIt, signal),
          onAttachment: report.onAttachment,
        });
      }
      void removeLeftovers(mode, ipv6, log, signal);
    },
  });

  const tell = (host: HostInterface): void => enforcer.onInterface(host.name, stateOf(host));
  const check = () => void checkMode(follow, log, end);
  interfaces.onChange((change) => {
    // At once: until then, what is forwarded to Services passes other hooks than the rules are for.
    if (facts.ipvsInterface() !== ipvs) check();
    if (change.event === "removed") enforcer.onInterface(change.interface.name, undefined);
    else if (change.event !== "resync") tell(change.interface);
  });
  for (const host of interfaces.all) tell(host);

  const watch = watchInputs({
    client,
    signal,
    sink: (input) => {
      report.onInput(input.kind, input.kind === "Policy" ? input.policy === undefined : input.resource === undefined);
      return enforcer.sink(input);
    },
    onProblem: (what, problems) =>
      log.warning("a resource cannot be (wholly) understood", { resource: what, problems: problems.join("; ") }),
    onInSync: () => {
      log.info("in sync with the datastore", { datastore: client.name });
      enforcer.inSync();
    },
    onTrouble: (kind, why) => report.trouble(kind, why),
  });
  watch.done.catch(fatal("the datastore can no longer be followed"));
  report.watch({ calc, enforcer, dataplane, missing: () => watch.missing });

  const timers = [
    every(config.RouteRefreshInterval, () => routes.recheck(), enforcer),
    every(config.InterfaceRefreshInterval, () => sysctls.recheck(), enforcer),
    every(tableRefresh(config, mode), () => dataplane.recheck(), enforcer),
    every(STATUS_CHECK_MS, () => statusFiles.recheck(), enforcer),
    every(MODE_CHECK_MS, check),
  ];
  return {
    async [Symbol.asyncDispose]() {
      // Before the enforcer ends: those that wait for policy still get it.
      await served?.[Symbol.asyncDispose]();
      for (const timer of timers) clearInterval(timer);
      await enforcer.close();
      await dataplane.close();
      routes.close();
      sysctls.close();
      interfaces.close();
      netfilter.close();
    },
  };
}

/** What leads to a workload: its addresses, and the floating ones that are translated to them. */
function routedTo({ ipv4Nets, ipv6Nets, ipv4Nats, ipv6Nats }: LocalWorkload, { FloatingIPs }: AgentConfig): string[] {
  const floating = FloatingIPs === "Enabled" ? [...ipv4Nats, ...ipv6Nats].map(({ external }) => external) : [];
  return [...ipv4Nets, ...ipv6Nets, ...floating.map((address) => `${address}/${address.includes(":") ? 128 : 32}`)];
}

const stateOf = ({ up, addresses }: HostInterface): InterfaceState => ({ up, addresses: [...addresses] });

const modeSettings = ({ NFTablesMode, IptablesBackend }: AgentConfig) => ({
  nftablesMode: NFTablesMode || "Auto",
  iptablesBackend: IptablesBackend || "auto",
});

const tableRefresh = (config: AgentConfig, mode: string): number =>
  mode === "nftables" ? config.NftablesRefreshInterval : config.IptablesRefreshInterval;

/** kube-proxy may have changed its mode, and another dataplane be right: that takes a new start. */
async function checkMode(
  { choice: inUse, again }: Awaited<ReturnType<typeof followMode>>,
  log: Logger,
  end: (status: number) => void,
): Promise<void> {
  try {
    const { mode, reason, ipvs } = (await again()) ?? inUse;
    if (mode === inUse.mode && ipvs === inUse.ipvs) return;
    log.info("another dataplane is right now; a new start changes to it", { dataplane: mode, reason, ipvs });
    end(EXIT_RESTART);
  } catch (error) {
    log.warning("cannot tell which dataplane is right", { error: (error as Error).message });
  }
}
