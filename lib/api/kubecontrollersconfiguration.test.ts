import { describe, expect, test } from "vitest";
import { KubeControllersConfiguration } from "./kubecontrollersconfiguration.ts";
import { findKind, parseResource } from "./registry.ts";
import { completeStored } from "./resource.ts";
import { describeProblem } from "./schema.ts";

const base = {
  apiVersion: "projectcalico.org/v3",
  kind: "KubeControllersConfiguration" as const,
  metadata: { name: "default" },
};
const parse = (spec: unknown, more: object = {}) => parseResource({ ...base, spec, ...more });
const problems = (spec: unknown, more: object = {}) => parse(spec, more).problems.map(describeProblem);
const templates = (...list: object[]) => ({ controllers: { node: { hostEndpoint: { templates: list } } } });
const AT = "spec.controllers.node.hostEndpoint.templates";

/** As `calicoctl get kubecontrollersconfiguration default` shows what Go Calico created. */
const created = {
  logSeverityScreen: "Info",
  healthChecks: "Enabled",
  etcdV3CompactionPeriod: "10m0s",
  prometheusMetricsPort: 9094,
  controllers: {
    node: {
      reconcilerPeriod: "5m0s",
      syncLabels: "Enabled",
      hostEndpoint: { autoCreate: "Disabled", createDefaultHostEndpoint: "Enabled" },
      leakGracePeriod: "15m0s",
    },
    policy: { reconcilerPeriod: "5m0s" },
    workloadEndpoint: { reconcilerPeriod: "5m0s" },
    serviceAccount: { reconcilerPeriod: "5m0s" },
    namespace: { reconcilerPeriod: "5m0s" },
    loadBalancer: { assignIPs: "AllServices" },
    migration: { policyNameMigrator: "Enabled" },
  },
};

describe("KubeControllersConfiguration", () => {
  test("goes by upstream's names", () => {
    for (const name of [
      "kubecontrollersconfiguration",
      "kubecontrollersconfigurations",
      "kubecontrollersconfig",
      "kcc",
    ])
      expect(findKind(name)).toBe(KubeControllersConfiguration);
  });

  test("there is one, named default", () => {
    expect(problems(created, { metadata: { name: "other" } })).toEqual([
      'metadata.name: "other": must be default; there is one KubeControllersConfiguration',
    ]);
  });

  test.each<[object]>([
    [created],
    [{ controllers: {} }],
    [{ controllers: { node: {} }, prometheusMetricsPort: 0 }],
    [templates({ generateName: "eth", interfacePattern: "^eth[0-9]+$", nodeSelector: "has(edge)" })],
    [templates({ generateName: "a", interfaceCIDRs: ["10.0.0.0/8"] }, { generateName: "b", interfacePattern: "x" })],
  ])("takes %j", (spec) => {
    expect(problems(spec)).toEqual([]);
  });

  test("what Go Calico created is left as it is", () => {
    expect(parse(created).resource?.spec).toEqual(created);
  });

  test("what upstream's client fills in is filled in", () => {
    expect(parse({ controllers: { node: {}, loadBalancer: {}, migration: {} } }).resource?.spec).toEqual({
      healthChecks: "Enabled",
      prometheusMetricsPort: 9094,
      controllers: {
        node: { leakGracePeriod: "15m0s" },
        loadBalancer: { assignIPs: "AllServices" },
        migration: { policyNameMigrator: "Enabled" },
      },
    });
  });

  test.each<[object, string[]]>([
    [
      { controllers: {}, logSeverityScreen: "info" },
      ['spec.logSeverityScreen: "info": must be one of None, Debug, Info, Warning, Error, Fatal, Panic'],
    ],
    [
      { controllers: { node: { leakGracePeriod: "15" } } },
      ['spec.controllers.node.leakGracePeriod: "15": must be a duration such as 90s, 1m30s or 500ms'],
    ],
    [
      { controllers: { loadBalancer: { assignIPs: "Some" } } },
      ['spec.controllers.loadBalancer.assignIPs: "Some": must be one of AllServices, RequestedServicesOnly'],
    ],
    [
      { controllers: {}, prometheusMetricsPort: 65536 },
      ["spec.prometheusMetricsPort: 65536: must be an integer from 0 to 65535"],
    ],
    [
      templates({ interfacePattern: "eth" }),
      [`${AT}[0].generateName: is missing; it tells the node's host endpoints apart`],
    ],
    [
      templates({ generateName: "a" }),
      [`${AT}[0].interfaceCIDRs: []: is missing; without interfacePattern it must have one CIDR at least`],
    ],
    [
      templates({ generateName: "a", interfacePattern: "(" }),
      [`${AT}[0].interfacePattern: "(": must be a regular expression`],
    ],
    [
      templates({ generateName: "a", interfacePattern: "x" }, { generateName: "a", interfacePattern: "y" }),
      [`${AT}[1].generateName: "a": is another template's already; host endpoints of both would have one name`],
    ],
  ])("refuses %j", (spec, found) => {
    expect(problems(spec)).toEqual(found);
  });

  test("a stored one without controllers, with empty durations, or of a later version is read", () => {
    const read = (spec: unknown, status?: unknown) => {
      const resource = { ...base, spec, ...(status ? { status } : {}) } as unknown as KubeControllersConfiguration;
      return { problems: completeStored(KubeControllersConfiguration, resource), resource };
    };
    expect(read({})).toMatchObject({ problems: [], resource: { spec: { controllers: {} } } });
    expect(read({ etcdV3CompactionPeriod: "", controllers: { node: { leakGracePeriod: "" } } })).toMatchObject({
      problems: [],
      resource: { spec: { controllers: { node: { leakGracePeriod: "15m0s" } } } },
    });
    expect(read({ controllers: { later: {} } }).problems).toEqual([]);
    const status = { runningConfig: created, environmentVars: { LOG_LEVEL: "debug" } };
    expect(read(created, status)).toEqual({ problems: [], resource: { ...base, spec: created, status } });
  });
});
