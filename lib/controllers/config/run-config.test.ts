import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  KubeControllersConfiguration,
  type KubeControllersConfigurationSpec,
} from "../../api/kubecontrollersconfiguration.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { ConfigError, defaultConfiguration, type Environment, mergeConfig } from "./index.ts";

const MINUTE = 60_000;
const specOf = (spec: Partial<KubeControllersConfigurationSpec>): KubeControllersConfigurationSpec =>
  completeResource(KubeControllersConfiguration, {
    ...defaultConfiguration(),
    spec: structuredClone(spec) as KubeControllersConfigurationSpec,
  }).spec;
const defaults = () => defaultConfiguration().spec;

describe("the configuration in force", () => {
  test("of upstream's default resource, on Kubernetes", () => {
    const { config, status, warnings } = mergeConfig({ DATASTORE_TYPE: "kubernetes" }, defaults());
    const mirrored = { reconcilerPeriod: 5 * MINUTE };
    expect(config).toEqual({
      logLevel: "info",
      healthEnabled: true,
      prometheusPort: 9094,
      debugProfilePort: 0,
      compactionPeriod: 10 * MINUTE,
      controllers: {
        node: {
          syncLabels: false,
          deleteNodes: false,
          leakGracePeriod: 15 * MINUTE,
          hostEndpoints: { autoCreate: false, createDefault: true, templates: [] },
        },
        policy: mirrored,
        workloadEndpoint: mirrored,
        serviceAccount: mirrored,
        namespace: mirrored,
        loadBalancer: { assignIPs: "AllServices" },
        migration: { policyNameMigrator: "Enabled" },
      },
    });
    // As upstream's controllers write it.
    expect(status).toEqual({
      environmentVars: { DATASTORE_TYPE: "kubernetes" },
      runningConfig: {
        logSeverityScreen: "Info",
        healthChecks: "Enabled",
        etcdV3CompactionPeriod: "10m0s",
        controllers: {
          node: {
            syncLabels: "Disabled",
            leakGracePeriod: "15m0s",
            hostEndpoint: { autoCreate: "Disabled", createDefaultHostEndpoint: "Enabled" },
          },
          policy: { reconcilerPeriod: "5m0s" },
          workloadEndpoint: { reconcilerPeriod: "5m0s" },
          serviceAccount: { reconcilerPeriod: "5m0s" },
          namespace: { reconcilerPeriod: "5m0s" },
          loadBalancer: { assignIPs: "AllServices" },
          migration: { policyNameMigrator: "Enabled" },
        },
      },
    });
    expect(warnings).toEqual([]);
  });

  test("variables win, and the status says which", () => {
    const environment = {
      LOG_LEVEL: "DEBUG",
      RECONCILER_PERIOD: "90s",
      ENABLED_CONTROLLERS: "node,loadbalancer, policy",
      COMPACTION_PERIOD: "0",
      HEALTH_ENABLED: "F",
      SYNC_NODE_LABELS: "0",
      AUTO_HOST_ENDPOINTS: "enabled",
      DATASTORE_TYPE: "etcdv3",
      PATH: "/bin",
    };
    const { config, status } = mergeConfig(
      environment,
      specOf({ controllers: { loadBalancer: { assignIPs: "RequestedServicesOnly" }, namespace: {} } }),
    );
    expect(config).toMatchObject({ logLevel: "debug", healthEnabled: false, compactionPeriod: 0 });
    expect(config.controllers).toEqual({
      node: {
        syncLabels: false,
        deleteNodes: true,
        leakGracePeriod: 15 * MINUTE,
        hostEndpoints: { autoCreate: true, createDefault: true, templates: [] },
      },
      policy: { reconcilerPeriod: 90_000 },
      loadBalancer: { assignIPs: "RequestedServicesOnly" },
      migration: { policyNameMigrator: "Enabled" },
    });
    const { DATASTORE_TYPE: _d, PATH: _p, ...used } = environment;
    expect(status.environmentVars).toEqual(used);
    expect(status.runningConfig).toMatchObject({
      logSeverityScreen: "Debug",
      healthChecks: "Disabled",
      etcdV3CompactionPeriod: "0s",
      controllers: { policy: { reconcilerPeriod: "1m30s" }, node: { hostEndpoint: { autoCreate: "Enabled" } } },
    });
  });

  test("a controller that the resource leaves out does not run", () => {
    const { config, status } = mergeConfig({}, specOf({ controllers: { node: { syncLabels: "Disabled" } } }));
    expect(Object.keys(config.controllers).sort()).toEqual(["migration", "node"]);
    expect(config.controllers.node).toMatchObject({ syncLabels: false, deleteNodes: true });
    expect(status.runningConfig?.controllers.node).toEqual({ syncLabels: "Disabled", leakGracePeriod: "15m0s" });
  });

  test("templates of host endpoints come from the resource, unless the environment decides", () => {
    const templates = [{ generateName: "eth", interfacePattern: "^eth", labels: { a: "b" } }];
    const spec = specOf({ controllers: { node: { hostEndpoint: { autoCreate: "Enabled", templates } } } });
    const { config, status } = mergeConfig({}, spec);
    expect(config.controllers.node?.hostEndpoints).toEqual({ autoCreate: true, createDefault: true, templates });
    expect(status.runningConfig?.controllers.node?.hostEndpoint?.templates).toEqual(templates);
    for (const [AUTO_HOST_ENDPOINTS, autoCreate] of [
      ["Enabled", true],
      ["disabled", false],
    ] as const)
      expect(mergeConfig({ AUTO_HOST_ENDPOINTS }, spec).config.controllers.node?.hostEndpoints).toEqual({
        autoCreate,
        createDefault: true,
        templates: [],
      });
  });

  test("what of a later version is not known counts as the default, and is told", () => {
    const spec = specOf({
      controllers: { node: { leakGracePeriod: "a while" }, loadBalancer: { assignIPs: "Later" as "AllServices" } },
      logSeverityScreen: "None",
    });
    const { config, warnings } = mergeConfig({}, spec);
    expect(config).toMatchObject({
      logLevel: "info",
      controllers: { node: { leakGracePeriod: 15 * MINUTE }, loadBalancer: { assignIPs: "AllServices" } },
    });
    expect(warnings).toEqual([
      'spec.logSeverityScreen: "None" is not known; Info counts',
      'spec.controllers.loadBalancer.assignIPs: "Later" is not known; AllServices counts',
      'spec.controllers.node.leakGracePeriod: "a while" is not known; 15m0s counts',
    ]);
  });

  test.each<[string, string]>([
    ["LOG_LEVEL", "loud"],
    ["RECONCILER_PERIOD", "5"],
    ["RECONCILER_PERIOD", "-5m"],
    ["ENABLED_CONTROLLERS", "node,flannelmigration"],
    ["ENABLED_CONTROLLERS", ""],
    ["COMPACTION_PERIOD", "ten"],
    ["HEALTH_ENABLED", "yes"],
    ["SYNC_NODE_LABELS", ""],
    ["AUTO_HOST_ENDPOINTS", "true"],
  ])("%s=%j is refused by name", (name, value) => {
    const refused = () => mergeConfig({ [name]: value }, defaults());
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow(`${name}=${JSON.stringify(value)}: must be`);
  });

  test("whatever goes in, the status is one that the kind takes, and merging is a function", () => {
    const maybe = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
    const environment = fc.record({
      LOG_LEVEL: maybe("trace", "fatal", "Warn"),
      RECONCILER_PERIOD: maybe("0", "1500ms", "36h"),
      ENABLED_CONTROLLERS: maybe("node", "profile,loadbalancer", "workloadendpoint,serviceaccount"),
      COMPACTION_PERIOD: maybe("1h", "0.5ms"),
      AUTO_HOST_ENDPOINTS: maybe("enabled", "Disabled"),
      DATASTORE_TYPE: maybe("kubernetes", "etcdv3"),
    });
    const period = fc.record({ reconcilerPeriod: maybe("1m", "90s") });
    const controllers = fc.record(
      {
        node: fc.record({ leakGracePeriod: maybe("0s", "1h"), syncLabels: maybe("Enabled", "Disabled") }),
        policy: period,
        namespace: period,
        loadBalancer: fc.record({ assignIPs: maybe("AllServices", "RequestedServicesOnly") }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(environment, controllers, (variables, given) => {
        const given_ = JSON.parse(JSON.stringify({ variables, given })) as {
          variables: Environment;
          given: KubeControllersConfigurationSpec["controllers"];
        };
        const spec = specOf({ controllers: given_.given });
        const { config, status } = mergeConfig(given_.variables, spec);
        const resource = completeResource(KubeControllersConfiguration, { ...defaultConfiguration(), status });
        expect(checkResource(KubeControllersConfiguration, structuredClone(resource))).toEqual([]);
        expect(resource.status).toEqual(status);
        expect(mergeConfig(given_.variables, spec).config).toEqual(config);
        // What runs is what the status says runs.
        expect(Object.keys(status.runningConfig!.controllers).sort()).toEqual(Object.keys(config.controllers).sort());
      }),
    );
  });
});
