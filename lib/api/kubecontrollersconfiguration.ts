import { DURATION } from "./felixfields.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { parseGoRegExp } from "./regexp.ts";
import * as s from "./schema.ts";

const onOff = (doc: string) => s.optional(s.oneOf(["Enabled", "Disabled"], { doc }));
const duration = (doc: string) => s.optional(s.string({ doc: `${doc}, as a Go duration: 5m0s.`, pattern: DURATION }));
const port = (doc: string) => s.optional(s.integer({ doc, min: 0, max: 65535 }));

/** A controller that an etcd cluster has and a Kubernetes one does not. */
const mirror = (what: string) =>
  s.optional(
    s.object(
      { reconcilerPeriod: duration(`How often ${what} are compared with the datastore; absent: 5m`) },
      { doc: `Keeps ${what} in an etcd datastore like Kubernetes' own; absent: it does not run.` },
    ),
  );

const template = s.lazy(() =>
  s.object({
    generateName: s.optional(
      s.string({ doc: "What the name of the host endpoint has after the node's.", format: "name", maxLength: 253 }),
    ),
    interfaceCIDRs: s.optional(
      s.array(s.string({ format: "cidr" }), {
        doc: "The networks whose addresses the host endpoint expects; a node that has none in them gets none without interfacePattern.",
        unique: true,
      }),
    ),
    interfacePattern: s.optional(
      s.string({
        doc: "A regular expression: one host endpoint for each interface of the node whose name has a match.",
      }),
    ),
    labels: s.optional(
      s.map(s.string(), { doc: "Labels of the host endpoint, over those of its node.", labels: true }),
    ),
    annotations: s.optional(s.map(s.string(), { doc: "Annotations of the host endpoint." })),
    nodeSelector: s.optional(s.string({ doc: "The nodes that it is for; absent: all.", format: "selector" })),
  }),
);

const controllers = s.lazy(() =>
  s.object(
    {
      node: s.optional(
        s.object(
          {
            reconcilerPeriod: duration("Not used; the node controller has nothing to compare at intervals"),
            syncLabels: onOff("Copy labels of Kubernetes' Nodes to Calico's, in an etcd datastore; absent: Enabled."),
            hostEndpoint: s.optional(
              s.object(
                {
                  autoCreate: onOff("Make host endpoints for every node; absent: Disabled."),
                  createDefaultHostEndpoint: onOff(
                    "Make the one of all interfaces, <node>-auto-hep, too; absent: Enabled.",
                  ),
                  templates: s.optional(s.array(template(), { doc: "Further host endpoints of every node." })),
                },
                { doc: "Host endpoints that are made for nodes." },
              ),
            ),
            leakGracePeriod: duration(
              "How long an address must look unused before it is released; 0s: addresses are not collected; absent: 15m",
            ),
          },
          { doc: "Removes what deleted nodes leave behind, and makes host endpoints; absent: it does not run." },
        ),
      ),
      policy: mirror("network policies"),
      workloadEndpoint: mirror("labels of workload endpoints"),
      serviceAccount: mirror("profiles of service accounts"),
      namespace: mirror("profiles of namespaces"),
      loadBalancer: s.optional(
        s.object(
          {
            assignIPs: s.withDefault(
              s.oneOf(["AllServices", "RequestedServicesOnly"], {
                doc: "Which Services of the type LoadBalancer get addresses: all without another class, or those that ask for it by class, annotation or loadBalancerIP.",
              }),
              "AllServices",
            ),
          },
          { doc: "Gives Services of the type LoadBalancer their addresses; absent: it does not run." },
        ),
      ),
      migration: s.optional(
        s.object(
          {
            policyNameMigrator: s.withDefault(
              s.oneOf(["Disabled", "Enabled"], { doc: "Whether policies' old stored names are replaced." }),
              "Enabled",
            ),
          },
          { doc: "What brings data of older versions up to date." },
        ),
      ),
    },
    { doc: "The controllers, each with its settings." },
  ),
);

/** Of the spec, and of what is in force. */
const fields = () => ({
  logSeverityScreen: s.optional(
    s.oneOf(["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"], {
      doc: "What is logged; absent: Info.",
    }),
  ),
  healthChecks: s.withDefault(s.oneOf(["Enabled", "Disabled"], { doc: "Whether health is reported." }), "Enabled"),
  etcdV3CompactionPeriod: duration("How often etcd is asked to compact its history; 0s: never; absent: 10m"),
  prometheusMetricsPort: port("The TCP port of the metrics; 0: none; absent: 9094."),
  controllers: s.withDefault(controllers(), {}),
  debugProfilePort: port("The TCP port of profiles; absent or 0: none."),
});

const spec = s.lazy(() => s.object(fields()));

const status = s.lazy(() =>
  s.object({
    runningConfig: s.optional(
      s.object(fields(), { doc: "What is in force: the environment's settings over those of the spec." }),
    ),
    environmentVars: s.optional(
      s.map(s.string(), { doc: "The environment variables that had a part in it, as they are set." }),
    ),
  }),
);

export type KubeControllersConfigurationSpec = s.Infer<ReturnType<typeof spec>>;
export type KubeControllersConfigurationStatus = s.Infer<ReturnType<typeof status>>;
export type KubeControllersConfiguration = Resource<
  "KubeControllersConfiguration",
  KubeControllersConfigurationSpec,
  KubeControllersConfigurationStatus
>;
/** A host endpoint that every selected node gets. */
export type HostEndpointTemplate = s.Infer<ReturnType<typeof template>>;

/** What the cluster's controllers do. There is one, named `default`. */
export const KubeControllersConfiguration: Kind<KubeControllersConfiguration> = {
  kind: "KubeControllersConfiguration",
  apiVersion: API_VERSION,
  plural: "kubecontrollersconfigurations",
  namespaced: false,
  aliases: ["kubecontrollersconfig", "kubecontrollersconfigs", "kcc", "kccs"],
  doc: "What the cluster's controllers do. There is one, named default.",
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  singleton: "default",
  complete({ spec, status }) {
    dropEmptyDurations(spec);
    if (status?.runningConfig) dropEmptyDurations(status.runningConfig);
    // What upstream's client adds before it writes (clientv3/kubecontrollersconfig.go).
    spec.prometheusMetricsPort ??= 9094;
    const node: unknown = partOf(spec.controllers, "node");
    if (isObject(node)) node.leakGracePeriod ??= "15m0s";
  },
  check,
  get columns(): Columns<KubeControllersConfiguration> {
    return [{ title: "NAME", value: ({ metadata }) => metadata.name }];
  },
};

/** A Go reader takes an empty text for no duration, and stops at it. */
function dropEmptyDurations(spec: KubeControllersConfigurationSpec): void {
  if (spec.etcdV3CompactionPeriod === "") delete spec.etcdV3CompactionPeriod;
  for (const name of ["node", "policy", "workloadEndpoint", "serviceAccount", "namespace"]) {
    const controller = partOf(spec.controllers, name);
    if (!isObject(controller)) continue;
    for (const field of ["reconcilerPeriod", "leakGracePeriod"]) if (controller[field] === "") delete controller[field];
  }
}

/** The rules of upstream's client and validator (clientv3/kubecontrollersconfig.go; the tags of kubecontrollersconfig.go). */
function check({ spec }: KubeControllersConfiguration): s.Problem[] {
  const problems: s.Problem[] = [];
  const names = new Set<string>();
  for (const [i, template] of (spec.controllers.node?.hostEndpoint?.templates ?? []).entries()) {
    const path = `spec.controllers.node.hostEndpoint.templates[${i}]`;
    const { generateName, interfaceCIDRs = [], interfacePattern } = template;
    if (!generateName) {
      const message = "is missing; it tells the node's host endpoints apart";
      problems.push({ path: `${path}.generateName`, value: generateName, message });
    } else if (names.has(generateName)) {
      const message = "is another template's already; host endpoints of both would have one name";
      problems.push({ path: `${path}.generateName`, value: generateName, message });
    }
    if (generateName) names.add(generateName);
    if (interfaceCIDRs.length === 0 && !interfacePattern) {
      const message = "is missing; without interfacePattern it must have one CIDR at least";
      problems.push({ path: `${path}.interfaceCIDRs`, value: interfaceCIDRs, message });
    }
    if (interfacePattern && !parseGoRegExp(interfacePattern)) {
      const message = "must be a regular expression";
      problems.push({ path: `${path}.interfacePattern`, value: interfacePattern, message });
    }
  }
  return problems;
}

type Json = Record<string, unknown>;

// What is read may be anything yet.
const partOf = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined);

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
