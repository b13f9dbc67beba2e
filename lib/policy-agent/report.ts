import {
  addProcessMetrics,
  type ClientAuth,
  Health,
  Metrics,
  openTelemetryServer,
  type TelemetryServer,
} from "../telemetry/daemon.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Calc } from "./calc/index.ts";
import type { AgentConfig } from "./config/index.ts";
import type { Enforcer, Round } from "./enforcer.ts";
import type { Dataplane } from "./rules/index.ts";

/** How often parts that wait for work say that they are alive, in milliseconds. */
const REPORT_MS = 5_000;
const CALCULATION_TIMEOUT_MS = 30_000;
/** Rounds that fail in a row until the agent is not ready. */
const FAILURES = 3;

/** What the report is about, as far as it is there yet. */
export interface Reported {
  readonly calc: Calc;
  readonly enforcer: Enforcer;
  readonly dataplane: Dataplane;
  /** Kinds of which the datastore has not told everything yet. */
  readonly missing: () => ReadonlySet<string>;
}

/** Health and metrics of the agent, under upstream's names. */
export interface Report {
  /** Why the agent cannot do its work now, by what is in trouble; undefined: it can. */
  trouble(what: string, why: string | undefined): void;
  watch(reported: Reported): void;
  /** Takes what may change without a new start. */
  configure(config: AgentConfig): void;
  onRound(round: Round): void;
  /** An input has come in. */
  onInput(kind: string, gone: boolean): void;
  /** A request of the plugin's was answered. */
  readonly onAttachment: (verb: string, outcome: string, seconds: number) => void;
  close(): void;
}

/** Opens the servers that the configuration asks for. `addMetrics` adds what lies outside of the agent. */
export function openReport(config: AgentConfig, log: Logger, addMetrics?: (metrics: Metrics) => void): Report {
  const health = new Health({ timeouts: config.HealthTimeoutOverrides, logger: log });
  const metrics = new Metrics();
  if (config.PrometheusProcessMetricsEnabled) addProcessMetrics(metrics);
  addMetrics?.(metrics);
  const counted = countersOf(metrics);
  const servers: TelemetryServer[] = [];
  const onError = (error: Error): void => log.error("cannot serve health or metrics", { error: error.message });
  if (config.HealthEnabled) {
    servers.push(openTelemetryServer({ host: config.HealthHost, port: config.HealthPort, health, onError }));
  }
  if (config.PrometheusMetricsEnabled) {
    const { PrometheusMetricsCertFile: certFile, PrometheusMetricsKeyFile: keyFile } = config;
    const tls =
      certFile && keyFile
        ? {
            certFile,
            keyFile,
            ...(config.PrometheusMetricsCAFile ? { caFile: config.PrometheusMetricsCAFile } : {}),
            clientAuth: (config.PrometheusMetricsClientAuth || "NoClientCert") as ClientAuth,
          }
        : undefined;
    servers.push(
      openTelemetryServer({
        host: config.PrometheusMetricsHost,
        port: config.PrometheusMetricsPort,
        metrics,
        ...(tls ? { tls } : {}),
        onError,
      }),
    );
  }

  const both = { live: true, ready: true };
  const startUp = health.register("FelixStartup", both, 0);
  const graph = health.register("CalculationGraph", both, CALCULATION_TIMEOUT_MS);
  const dataplane = health.register("InternalDataplaneMainLoop", both, config.DataplaneWatchdogTimeout);
  const troubles = new Map<string, string>();
  let reported: Reported | undefined;

  const say = (): void => {
    const trouble = [...troubles].map(([what, why]) => `${what}: ${why}`).join("; ");
    startUp.report({
      live: true,
      ready: reported !== undefined && trouble === "",
      detail: trouble || (reported ? "" : "waits for the configuration"),
    });
    if (!reported) {
      graph.report({ live: true, ready: false, detail: "not started" });
      dataplane.report({ live: true, ready: false, detail: "not started" });
      return;
    }
    const { enforcer, missing } = reported;
    const waiting = [...missing()];
    const detail = waiting.length === 0 ? "" : `the datastore has not told everything yet of ${waiting.join(", ")}`;
    graph.report({ live: true, ready: waiting.length === 0, detail });
    // Of a round that does not end nobody says that it is alive, until the watchdog barks.
    if (enforcer.busySince !== undefined && performance.now() - enforcer.busySince > REPORT_MS) return;
    const failing = enforcer.failures >= FAILURES;
    dataplane.report({
      live: true,
      ready: enforcer.rounds > 0 && !failing,
      detail: enforcer.lastError?.message ?? (enforcer.rounds > 0 ? "" : "nothing is enforced yet"),
    });
  };
  say();
  const timer = setInterval(say, REPORT_MS);

  metrics.collect(() => {
    if (!reported) return;
    const stats = reported.calc.stats();
    counted.localEndpoints.set(stats.activeLocalEndpoints);
    counted.localPolicies.set(stats.activeLocalPolicies);
    counted.localSelectors.set(stats.activeLocalSelectors);
    counted.hosts.set(stats.clusterHosts);
    counted.hostEndpoints.set(stats.clusterHostEndpoints);
    counted.workloadEndpoints.set(stats.clusterWorkloadEndpoints);
    counted.policies.set(stats.clusterPolicies);
    counted.profiles.set(stats.clusterProfiles);
    counted.tiers.set(stats.clusterTiers);
    const { counts, name } = reported.dataplane;
    counted.resync.set(reported.missing().size === 0 ? 3 : 2);
    if (name === "nftables") {
      counted.nftChains.set(counts.chains);
      counted.nftRules.set(counts.rules);
      counted.nftSets.set(counts.sets);
      counted.nftMaps.set(counts.maps);
    } else {
      counted.iptablesChains.set(counts.chains);
      counted.iptablesRules.set(counts.rules);
    }
    counted.ipsets.set(counts.sets);
  });

  return {
    trouble(what, why) {
      if (troubles.get(what) === why) return;
      if (why === undefined) troubles.delete(what);
      else troubles.set(what, why);
      say();
    },
    watch(now) {
      reported = now;
      say();
    },
    configure({ HealthTimeoutOverrides }) {
      health.override(HealthTimeoutOverrides);
    },
    onRound(round) {
      counted.messages.inc(round.messages);
      counted.calculation.observe(round.calculationMs / 1000);
      counted.apply.observe(round.applyMs / 1000);
      counted.batch.observe(round.messages);
      if (round.error) counted.failures.inc();
      if (reported?.enforcer.rounds === 1 && !round.error) counted.initialResync.set(performance.now() / 1000);
      say();
    },
    onInput(kind, gone) {
      counted.updates.with(gone ? "deletion" : "update", kind).inc();
    },
    onAttachment(verb, outcome, seconds) {
      counted.attachments.with(verb, outcome).inc();
      if (outcome !== "declined") counted.attachmentTime.with(verb).observe(seconds);
    },
    close() {
      clearInterval(timer);
      for (const server of servers) server.close();
    },
  };
}

function countersOf(metrics: Metrics) {
  const gauge = (name: string, help: string) => metrics.gauge(`felix_${name}`, help);
  return {
    localEndpoints: gauge("active_local_endpoints", "Endpoints of this host."),
    localPolicies: gauge("active_local_policies", "Policies that hold for endpoints of this host."),
    localSelectors: gauge("active_local_selectors", "IP sets in use on this host."),
    hosts: gauge("cluster_num_hosts", "Hosts of the cluster."),
    hostEndpoints: gauge("cluster_num_host_endpoints", "Host endpoints of the cluster."),
    workloadEndpoints: gauge("cluster_num_workload_endpoints", "Workload endpoints of the cluster."),
    policies: gauge("cluster_num_policies", "Policies of the cluster."),
    profiles: gauge("cluster_num_profiles", "Profiles of the cluster."),
    tiers: gauge("cluster_num_tiers", "Tiers of the cluster."),
    resync: gauge("resync_state", "How far reading the datastore is: 2 resync in progress, 3 in sync."),
    messages: metrics.counter("felix_calc_graph_output_events", "Messages of the calculation."),
    updates: metrics.counters("felix_calc_graph_updates_processed", "Updates that the calculation took in.", [
      "type",
      "kind",
    ]),
    calculation: metrics.summary("felix_calc_graph_update_time_seconds", "Time that the calculation of a round took."),
    apply: metrics.summary("felix_int_dataplane_apply_time_seconds", "Time that it took to change the kernel."),
    batch: metrics.summary("felix_int_dataplane_msg_batch_size", "Messages in a round."),
    failures: metrics.counter("felix_int_dataplane_failures", "Rounds that failed and were tried again."),
    initialResync: gauge(
      "int_dataplane_initial_resync_time_seconds",
      "Time from the start until the kernel was first in line with the datastore.",
    ),
    attachments: metrics.counters("calico_attachments", "Requests of the CNI plugin, by what became of them.", [
      "verb",
      "outcome",
    ]),
    attachmentTime: metrics.summaries("calico_attachment_seconds", "From a request of the CNI plugin to its answer.", [
      "verb",
    ]),
    iptablesChains: gauge("iptables_chains", "Chains of Calico's in iptables."),
    iptablesRules: gauge("iptables_rules", "Rules of Calico's in iptables."),
    nftChains: gauge("nft_chains", "Chains of Calico's in nftables."),
    nftRules: gauge("nft_rules", "Rules of Calico's in nftables."),
    nftSets: gauge("nft_sets", "Sets of Calico's in nftables."),
    nftMaps: gauge("nft_maps", "Maps of Calico's in nftables."),
    ipsets: gauge("ipsets_calico", "IP sets of Calico's."),
  };
}
