import { parameter } from "./parameter.ts";
import * as t from "./types.ts";

/** How the datastore is reached. */
export const DATASTORE = {
  DatastoreType: parameter(t.required(t.choice(["kubernetes", "etcdv3", "sqlite"])), {
    default: "etcdv3",
    fatal: true,
    local: true,
    doc: "The datastore. Unless it is set, the variables that all of Calico reads decide.",
  }),
  EtcdAddr: parameter(t.authority, {
    default: "127.0.0.1:2379",
    local: true,
    doc: "Host and port of etcd, where EtcdEndpoints says nothing.",
  }),
  EtcdCaFile: parameter(t.existingFile, { local: true, doc: "Certificates of the authorities that sign etcd's." }),
  EtcdCertFile: parameter(t.existingFile, { local: true, doc: "The certificate to show to etcd." }),
  EtcdEndpoints: parameter(t.endpoints, { local: true, doc: "Addresses of etcd.", secret: true }),
  EtcdKeyFile: parameter(t.existingFile, { local: true, doc: "The private key of that certificate." }),
  EtcdScheme: parameter(t.choice(["http", "https"]), {
    default: "http",
    local: true,
    doc: "How EtcdAddr is spoken to.",
  }),
  FelixHostname: parameter(t.required(t.hostname), {
    local: true,
    doc: "The node's name in the datastore; absent: the host's name.",
  }),
  TyphaAddr: parameter(t.authority, {
    local: true,
    doc: "Host and port of Typha; absent: the datastore is asked directly.",
  }),
  TyphaCAFile: parameter(t.existingFile, { local: true, doc: "Certificates of the authorities that sign Typha's." }),
  TyphaCN: parameter(t.text, { local: true, doc: "The common name that Typha's certificate must have." }),
  TyphaCertFile: parameter(t.existingFile, { local: true, doc: "The certificate to show to Typha." }),
  TyphaK8sNamespace: parameter(t.required(t.text), {
    default: "kube-system",
    local: true,
    doc: "The namespace of the service that leads to Typha.",
  }),
  TyphaK8sServiceName: parameter(t.text, {
    local: true,
    doc: "The service that leads to Typha, where TyphaAddr says nothing.",
  }),
  TyphaKeyFile: parameter(t.existingFile, { local: true, doc: "The private key of that certificate." }),
  TyphaReadTimeout: parameter(t.seconds, { default: "30", local: true, doc: "How long Typha may be silent." }),
  TyphaURISAN: parameter(t.text, { local: true, doc: "The URI that Typha's certificate must have." }),
  TyphaWriteTimeout: parameter(t.seconds, { default: "10", local: true, doc: "How long a message to Typha may take." }),
};

/** What is taken to be there, whatever is found. */
export const FEATURES = {
  FeatureDetectOverride: parameter(t.keyValues, { field: "featureDetectOverride" }),
  FeatureGates: parameter(t.keyValues, { field: "featureGates" }),
};

/** Of the Go runtime. */
export const RUNTIME = {
  GoGCThreshold: parameter(t.integer(-1), { default: "40", field: "goGCThreshold", ignored: true }),
  GoMaxProcs: parameter(t.integer(-1), { default: "-1", field: "goMaxProcs", ignored: true }),
  GoMemoryLimitMB: parameter(t.integer(-1), { default: "-1", field: "goMemoryLimitMB", ignored: true }),
};

/** Health. */
export const HEALTH = {
  HealthEnabled: parameter(t.flag, { default: "false", field: "healthEnabled" }),
  HealthHost: parameter(t.hostAddress, { default: "localhost", field: "healthHost" }),
  HealthPort: parameter(t.integer(0, 65535), { default: "9099", field: "healthPort" }),
  HealthTimeoutOverrides: parameter(t.keyDurations, { field: "healthTimeoutOverrides", live: true }),
};

/** The log, and the log lines of rules. */
export const LOGGING = {
  LogActionRateLimit: parameter(t.rate, { field: "logActionRateLimit" }),
  LogActionRateLimitBurst: parameter(t.integer(0, 9999), { default: "5", field: "logActionRateLimitBurst" }),
  LogDebugFilenameRegex: parameter(t.regex, { field: "logDebugFilenameRegex" }),
  LogFilePath: parameter(t.file, {
    default: "/var/log/calico/felix.log",
    field: "logFilePath",
    fatal: true,
    live: true,
  }),
  LogPrefix: parameter(t.text, { default: "calico-packet", field: "logPrefix" }),
  LogSeverityFile: parameter(t.choice(["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL"]), {
    default: "INFO",
    field: "logSeverityFile",
    live: true,
  }),
  LogSeverityScreen: parameter(t.choice(["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL"]), {
    default: "INFO",
    field: "logSeverityScreen",
    live: true,
  }),
  LogSeveritySys: parameter(t.choice(["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL"]), {
    default: "INFO",
    field: "logSeveritySys",
  }),
};

/** Metrics. */
export const METRICS = {
  PrometheusGoMetricsEnabled: parameter(t.flag, { default: "true", field: "prometheusGoMetricsEnabled" }),
  PrometheusMetricsCAFile: parameter(t.text, { field: "prometheusMetricsCAFile" }),
  PrometheusMetricsCertFile: parameter(t.text, { field: "prometheusMetricsCertFile" }),
  PrometheusMetricsClientAuth: parameter(
    t.choice(["RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven", "NoClientCert"]),
    { default: "NoClientCert", field: "prometheusMetricsClientAuth" },
  ),
  PrometheusMetricsEnabled: parameter(t.flag, { default: "false", field: "prometheusMetricsEnabled" }),
  PrometheusMetricsHost: parameter(t.hostAddress, { field: "prometheusMetricsHost" }),
  PrometheusMetricsKeyFile: parameter(t.text, { field: "prometheusMetricsKeyFile" }),
  PrometheusMetricsPort: parameter(t.integer(0, 65535), { default: "9091", field: "prometheusMetricsPort" }),
  PrometheusProcessMetricsEnabled: parameter(t.flag, { default: "true", field: "prometheusProcessMetricsEnabled" }),
  PrometheusWireGuardMetricsEnabled: parameter(t.flag, { default: "true", field: "prometheusWireGuardMetricsEnabled" }),
};

/** Reports of flows. */
export const FLOW_LOGS = {
  FlowLogsCollectorDebugTrace: parameter(t.flag, { default: "false", field: "flowLogsCollectorDebugTrace" }),
  FlowLogsFlushInterval: parameter(t.seconds, { default: "300", field: "flowLogsFlushInterval" }),
  FlowLogsGoldmaneServer: parameter(t.text, { field: "flowLogsGoldmaneServer" }),
  FlowLogsLocalReporter: parameter(t.choice(["Enabled", "Disabled"]), {
    default: "Disabled",
    field: "flowLogsLocalReporter",
  }),
  FlowLogsPolicyEvaluationMode: parameter(t.choice(["None", "Continuous"]), {
    default: "Continuous",
    field: "flowLogsPolicyEvaluationMode",
  }),
};

/** Reports to the project. */
export const USAGE = {
  UsageReportingEnabled: parameter(t.flag, { default: "true", field: "usageReportingEnabled", ignored: true }),
  UsageReportingInitialDelaySecs: parameter(t.seconds, {
    default: "300",
    field: "usageReportingInitialDelay",
    ignored: true,
  }),
  UsageReportingIntervalSecs: parameter(t.seconds, {
    default: "86400",
    field: "usageReportingInterval",
    ignored: true,
  }),
};

/** Debugging. */
export const DEBUGGING = {
  DebugBPFCgroupV2: parameter(t.text, {
    local: true,
    doc: "The part of the cgroup hierarchy whose sockets are load-balanced when they connect.",
  }),
  DebugCPUProfilePath: parameter(t.file, {
    default: "/tmp/felix-cpu-<timestamp>.pprof",
    doc: "File that a profile of the processor is written to on a signal.",
  }),
  DebugDisableLogDropping: parameter(t.flag, { default: "false", field: "debugDisableLogDropping" }),
  DebugHost: parameter(t.hostAddress, { default: "localhost", field: "debugHost" }),
  DebugMemoryProfilePath: parameter(t.file, { field: "debugMemoryProfilePath" }),
  DebugPanicAfter: parameter(t.seconds, { default: "0", doc: "For tests: crash after this long." }),
  DebugPort: parameter(t.integer(0, 65535), { field: "debugPort" }),
  DebugSimulateCalcGraphHangAfter: parameter(t.seconds, { default: "0", field: "debugSimulateCalcGraphHangAfter" }),
  DebugSimulateDataRace: parameter(t.flag, { default: "false", doc: "For tests of the Go runtime.", ignored: true }),
  DebugSimulateDataplaneApplyDelay: parameter(t.seconds, { default: "0", field: "debugSimulateDataplaneApplyDelay" }),
  DebugSimulateDataplaneHangAfter: parameter(t.seconds, { default: "0", field: "debugSimulateDataplaneHangAfter" }),
};

/** What the cluster is. */
export const CLUSTER = {
  ClusterGUID: parameter(t.text, {
    default: "baddecaf",
    from: "ClusterInformation",
    doc: "Identifies the cluster.",
    live: true,
  }),
  ClusterType: parameter(t.text, { from: "ClusterInformation", doc: "What the cluster is made of.", live: true }),
  CalicoVersion: parameter(t.text, { from: "ClusterInformation", doc: "The cluster's version of Calico.", live: true }),
  Variant: parameter(t.text, {
    default: "Calico",
    from: "ClusterInformation",
    doc: "The variant of Calico that enforces policy.",
  }),
};
