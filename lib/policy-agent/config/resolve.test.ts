import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { FelixConfiguration, type FelixConfigurationSpec } from "../../api/felixconfiguration.ts";
import { API_VERSION, type ObjectMeta } from "../../api/meta.ts";
import { parseResource } from "../../api/registry.ts";
import {
  type AgentConfig,
  type ConfigInputs,
  type ConfigResources,
  changedParameters,
  chooseConfigurations,
  configurationPage,
  describeConfigProblem,
  findParameter,
  needsRestart,
  type ParameterName,
  type ProtoPort,
  resolveConfig,
  routeTables,
  type Source,
  tableSettings,
} from "./index.ts";
import { BY_FIELD, docOf, GROUPS, PARAMETER_NAMES, parameterOf } from "./parameters.ts";

const configuration = (
  spec: Partial<FelixConfigurationSpec>,
  metadata: Partial<ObjectMeta> = {},
): FelixConfiguration => ({
  apiVersion: API_VERSION,
  kind: "FelixConfiguration",
  metadata: { name: "default", ...metadata },
  spec: spec as FelixConfigurationSpec,
});
const resolve = (inputs: ConfigInputs) => resolveConfig({ hostname: "n1", ...inputs });
const global = (spec: Partial<FelixConfigurationSpec>, metadata?: Partial<ObjectMeta>) =>
  resolve({ resources: { default: configuration(spec, metadata) } });
const messages = ({ problems }: { problems: readonly Parameters<typeof describeConfigProblem>[0][] }) =>
  problems.map((problem) => `${problem.fatal ? "fatal " : ""}${describeConfigProblem(problem)}`);

describe("where values come from", () => {
  /** Each source says another port. */
  const says: Record<Source, (port: string) => ConfigInputs> = {
    override: (port) => ({ overrides: { HealthPort: port } }),
    environment: (port) => ({ environment: { FELIX_HEALTHPORT: port } }),
    file: (port) => ({ file: `[global]\nHealthPort = ${port}\n` }),
    perNode: (port) => ({ resources: { perNode: configuration({ healthPort: Number(port) }) } }),
    selected: (port) => ({ resources: { selected: configuration({ healthPort: Number(port) }) } }),
    global: (port) => ({ resources: { default: configuration({ healthPort: Number(port) }) } }),
  };
  const order = Object.keys(says) as Source[];
  const together = (sources: readonly Source[]): ConfigInputs => {
    const said = sources.map((source) => says[source](String(1 + order.indexOf(source))));
    const resources = Object.assign({}, ...said.map((inputs) => inputs.resources)) as ConfigResources;
    return { ...(Object.assign({}, ...said) as ConfigInputs), resources };
  };

  test("the first of the sources that say something counts, whichever they are", () => {
    fc.assert(
      fc.property(fc.subarray(order, { minLength: 1 }), (sources) => {
        const { config, settings, problems } = resolve(together(sources));
        expect(config.HealthPort).toBe(1 + order.indexOf(sources[0]!));
        expect(settings.HealthPort).toMatchObject({ source: sources[0] });
        expect(settings.HealthPort!.shadowed.map(({ source }) => source)).toEqual(sources.slice(1));
        expect(problems).toEqual([]);
      }),
    );
  });

  test("where none does it is the default", () => {
    const { config, settings, problems, raw } = resolve({});
    expect(config.HealthPort).toBe(9099);
    expect(settings).toEqual({});
    expect(problems).toEqual([]);
    expect(Object.values(raw)).toEqual([{}, {}, {}, {}, {}, {}]);
  });

  test("names are known in any case, and an empty text says nothing", () => {
    const environment = {
      FELIX_LogSeverityScreen: "debug",
      felix_healthport: "1",
      FELIX_INTERFACEPREFIX: "",
      PATH: "x",
      FELIX_X: undefined,
    };
    const { config, raw, problems } = resolve({ environment });
    expect(config).toMatchObject({ LogSeverityScreen: "DEBUG", HealthPort: 1, InterfacePrefix: ["cali"] });
    expect(raw.environment).toEqual({ LogSeverityScreen: "debug", HealthPort: "1" });
    expect(problems).toEqual([]);
  });

  test("none stands for nothing, where that is possible", () => {
    const environment = {
      FELIX_FAILSAFEINBOUNDHOSTPORTS: "none",
      FELIX_LOGFILEPATH: "None",
      FELIX_LOGPREFIX: "None",
      FELIX_LOGSEVERITYSYS: "NONE",
      FELIX_HEALTHPORT: "none",
      FELIX_FLOWLOGSPOLICYEVALUATIONMODE: "none",
      FELIX_MTUIFACEPATTERN: "none",
      FELIX_IPINIPENABLED: "none",
    };
    const { config, problems } = resolve({ environment });
    expect(config).toMatchObject({
      FailsafeInboundHostPorts: [],
      LogFilePath: "",
      LogPrefix: "",
      LogSeveritySys: "",
      HealthPort: 0,
      FlowLogsPolicyEvaluationMode: "None",
      MTUIfacePattern: undefined,
      IpInIpEnabled: undefined,
    });
    expect(problems).toEqual([]);
    expect(messages(resolve({ environment: { FELIX_BPFENFORCERPF: "none" } }))).toEqual([
      'fatal CONFIG_INVALID_VALUE: BPFEnforceRPF: "none" in the environment: must be one of Disabled, Strict, Loose; there is no none; correct it; nothing is enforced by a guess',
    ]);
  });

  test("a value that cannot be read is replaced by the default, or keeps the agent from enforcing", () => {
    const environment = { FELIX_HEALTHPORT: "many", FELIX_CHAININSERTMODE: "top" };
    const resources = { default: configuration({ healthPort: 5 }) };
    const result = resolve({ environment, resources });
    expect(result.config).toMatchObject({ HealthPort: 9099, ChainInsertMode: "insert" });
    expect(messages(result)).toEqual([
      'CONFIG_INVALID_VALUE: HealthPort: "many" in the environment: must be an integer from 0 to 65535; its default 9099 is used instead',
      'fatal CONFIG_INVALID_VALUE: ChainInsertMode: "top" in the environment: must be one of insert, append; correct it; nothing is enforced by a guess',
    ]);
  });

  test("a value that does not count is reported and does no harm", () => {
    const result = resolve({
      environment: { FELIX_CHAININSERTMODE: "append" },
      resources: { default: configuration({ chainInsertMode: "top" }) },
    });
    expect(result.config.ChainInsertMode).toBe("append");
    expect(messages(result)).toEqual([
      'CONFIG_INVALID_VALUE: ChainInsertMode: "top" in the FelixConfiguration default: must be one of insert, append; it does not count, as another source goes before',
    ]);
  });

  test("names that nobody knows, and parameters that come too late", () => {
    const { problems } = resolve({
      environment: { FELIX_HEALTHPROT: "1" },
      resources: {
        default: configuration({}, { annotations: { "config.projectcalico.org/EtcdAddr": "a:1", other: "x" } }),
      },
    });
    expect(problems).toMatchObject([
      { code: "CONFIG_UNKNOWN_PARAMETER", parameter: "HEALTHPROT", source: "environment", fatal: false },
      { code: "CONFIG_LOCAL_ONLY", parameter: "EtcdAddr", source: "global", fatal: false },
    ]);
  });

  test("what is set twice has the last value", () => {
    const result = resolve({ environment: { FELIX_HEALTHPORT: "1", FELIX_HealthPort: "2" } });
    expect(result.config.HealthPort).toBe(2);
    expect(messages(result)).toEqual([
      "CONFIG_DUPLICATE: HealthPort: is set more than once in the environment; the last one counts",
    ]);
  });

  test("no input makes it throw, and the configuration is whole", () => {
    const name = fc.oneof(fc.constantFrom(...PARAMETER_NAMES), fc.string());
    const texts = fc.dictionary(name, fc.oneof(fc.string(), fc.constantFrom("none", "1", "true")));
    const spec = fc.dictionary(fc.oneof(fc.constantFrom(...BY_FIELD.keys()), fc.string()), fc.jsonValue());
    fc.assert(
      fc.property(texts, fc.string(), spec, (overrides, file, odd) => {
        const environment = Object.fromEntries(Object.entries(overrides).map(([key, text]) => [`FELIX_${key}`, text]));
        const { config } = resolve({
          overrides,
          environment,
          file,
          resources: { perNode: configuration(odd as never) },
        });
        expect(Object.keys(config).sort()).toEqual([...PARAMETER_NAMES].sort());
      }),
    );
  });
});

describe("the file", () => {
  test("is read as its users write it", () => {
    const file = [
      "\ufeff# a comment",
      "; another",
      "[global]",
      "HealthPort=1",
      "  LogFilePath : /var/log/felix.log  ; why",
      'LogPrefix = "calico: # "',
      "InterfacePrefix = cali,\\",
      "  tap",
      "MetadataAddr =",
      "[other]  # also counts",
      "chaininsertmode = Append",
      "",
    ].join("\r\n");
    const { config, raw, problems } = resolve({ file });
    expect(config).toMatchObject({
      HealthPort: 1,
      LogFilePath: "/var/log/felix.log",
      LogPrefix: "calico: # ",
      InterfacePrefix: ["cali", "tap"],
      MetadataAddr: "127.0.0.1",
      ChainInsertMode: "append",
    });
    expect(raw.file).not.toHaveProperty("MetadataAddr");
    expect(problems).toEqual([]);
  });

  test("that is none is not taken for one", () => {
    expect(messages(resolve({ file: "[global]\nHealthPort\n" }))).toEqual([
      'fatal CONFIG_FILE: line 2 must be "name = value", "[section]", or a comment after # or ;',
    ]);
  });
});

describe("a FelixConfiguration", () => {
  test.each<[Partial<FelixConfigurationSpec>, Partial<AgentConfig>]>([
    [{ routeRefreshInterval: "1m30s" }, { RouteRefreshInterval: 90_000 }],
    [{ iptablesLockProbeInterval: "50.5ms" }, { IptablesLockProbeIntervalMillis: 50.5 }],
    [{ iptablesPostWriteCheckInterval: "0s" }, { IptablesPostWriteCheckIntervalSecs: 0 }],
    [{ wireguardKeepAlive: "25s" }, { WireguardPersistentKeepAlive: 25_000 }],
    [
      { ipipEnabled: false, ipipMTU: 1440 },
      { IpInIpEnabled: false, IpInIpMtu: 1440 },
    ],
    [{ ipv6Support: false }, { Ipv6Support: false }],
    [{ failsafeInboundHostPorts: [] }, { FailsafeInboundHostPorts: [] }],
    [
      {
        failsafeOutboundHostPorts: [
          { protocol: "SCTP", port: 1, net: "fd00::/8" },
          { protocol: "UDP", port: 2, net: "10.0.0.1" },
        ],
      },
      {
        FailsafeOutboundHostPorts: [
          { protocol: 132, port: 1, net: "fd00::/8" },
          { protocol: 17, port: 2, net: "10.0.0.1/32" },
        ],
      },
    ],
    [
      { kubeNodePortRanges: [80, "1:5"] },
      {
        KubeNodePortRanges: [
          { first: 80, last: 80 },
          { first: 1, last: 5 },
        ],
      },
    ],
    [{ kubeNodePortRanges: [] }, { KubeNodePortRanges: [{ first: 30000, last: 32767 }] }],
    [{ natPortRange: "5:9" }, { NATPortRange: { first: 5, last: 9 } }],
    [{ routeTableRange: { min: 5, max: 9 } }, { RouteTableRange: { min: 5, max: 9 } }],
    [{ routeTableRanges: [{ min: 5, max: 900 }] }, { RouteTableRanges: [{ min: 5, max: 900 }] }],
    [{ healthTimeoutOverrides: [{ name: "a", timeout: "1m30s" }] }, { HealthTimeoutOverrides: { a: 90_000 } }],
    [{ bpfConntrackMode: "Userspace" }, { BPFConntrackCleanupMode: "Userspace" }],
    [
      { bpfConntrackTimeouts: { tcpSynSent: "1s", udpTimeout: "Auto", creationGracePeriod: "2s", icmpTimeout: "3s" } },
      { BPFConntrackTimeouts: { TCPSynSent: "1s", UDPTimeout: "Auto", CreationGracePeriod: "2s", ICMPTimeout: "3s" } },
    ],
    [{ bpfLogFilters: { all: "tcp port 80" } }, { BPFLogFilters: { all: "tcp port 80" } }],
    [{ externalNodesList: ["10.0.0.1", "10.1.0.0/16"] }, { ExternalNodesCIDRList: ["10.0.0.1/32", "10.1.0.0/16"] }],
    [{ iptablesMarkMask: 0xff000000 }, { IptablesMarkMask: 0xff000000 }],
    [{ istioDSCPMark: "EF" }, { IstioDSCPMark: 46 }],
    [
      { logSeverityScreen: "Warning", defaultEndpointToHostAction: "Accept" },
      { LogSeverityScreen: "WARNING", DefaultEndpointToHostAction: "ACCEPT" },
    ],
    [{ featureDetectOverride: "A=true,B=" }, { FeatureDetectOverride: { A: "true", B: "" } }],
    [
      { bpfLogLevel: "", logPrefix: "" },
      { BPFLogLevel: "off", LogPrefix: "calico-packet" },
    ],
    [{ nodeSelector: "all()" }, {}],
  ])("%j", (spec, expected) => {
    const { config, problems } = global(spec);
    expect(config).toMatchObject(expected);
    expect(problems).toEqual([]);
  });

  test("sets every parameter that has a field, by a value of the field's schema", () => {
    const { spec } = FelixConfiguration;
    if (spec.type !== "object") throw new Error("not an object");
    expect([...BY_FIELD.keys(), "nodeSelector"].sort()).toEqual(Object.keys(spec.fields).sort());
    for (const [field, name] of BY_FIELD) {
      const node = spec.fields[field]!;
      // Of what the field can say, all that is simple.
      const samples: unknown[] =
        node.type === "boolean"
          ? [true, false]
          : node.type === "integer"
            ? [Math.max(node.min ?? 1, 3)]
            : node.type === "string" && node.enum
              ? [...node.enum]
              : [];
      for (const sample of samples) {
        const given = { [field]: sample };
        expect(parseResource(configuration(given as never, { name: "x" })).problems, field).toEqual([]);
        const { settings, problems } = global(given as never);
        const unread = problems.filter(({ code }) => code !== "CONFIG_INCONSISTENT");
        expect(unread.map(describeConfigProblem), field).toEqual([]);
        expect(settings[name]?.source, field).toBe("global");
      }
    }
  });

  test("an annotation goes before the field, also where the field could not say so", () => {
    const { config, problems } = global(
      { healthPort: 1 },
      { annotations: { "config.projectcalico.org/HealthPort": "2", "config.projectcalico.org/DebugPanicAfter": "3" } },
    );
    expect(config).toMatchObject({ HealthPort: 2, DebugPanicAfter: 3000 });
    expect(problems).toEqual([]);
  });

  test("node and cluster say what they are", () => {
    const { config, settings, problems } = resolve({
      resources: {
        node: {
          apiVersion: API_VERSION,
          kind: "Node",
          metadata: { name: "n1" },
          spec: {
            bgp: { ipv4IPIPTunnelAddr: "10.0.0.1" } as never,
            ipv6VXLANTunnelAddr: "fd00::1",
            vxlanTunnelMACAddr: "ee:ee:ee:ee:ee:ee",
          },
        },
        cluster: {
          apiVersion: API_VERSION,
          kind: "ClusterInformation",
          metadata: { name: "default" },
          spec: { clusterGUID: "abc", clusterType: "k8s,bgp" },
        },
      },
    });
    expect(config).toMatchObject({
      IpInIpTunnelAddr: "10.0.0.1",
      IPv6VXLANTunnelAddr: "fd00::1",
      VXLANTunnelMACAddr: "ee:ee:ee:ee:ee:ee",
      ClusterGUID: "abc",
      ClusterType: "k8s,bgp",
    });
    expect([settings.IpInIpTunnelAddr?.source, settings.ClusterGUID?.source]).toEqual(["perNode", "global"]);
    expect(problems).toEqual([]);
  });

  test("is for a node by its name, or by its labels: the oldest of several", () => {
    const of = (name: string, nodeSelector?: string, creationTimestamp?: string) =>
      configuration(nodeSelector === undefined ? {} : { nodeSelector }, {
        name,
        ...(creationTimestamp ? { creationTimestamp } : {}),
      });
    const all = [
      of("young", 'rack == "a"', "2026-02-01T00:00:00Z"),
      of("old", "has(rack)", "2026-01-01T00:00:00Z"),
      of("also-old", "has(rack)", "2026-01-01T00:00:00Z"),
      of("elsewhere", 'rack == "b"', "2025-01-01T00:00:00Z"),
      of("everywhere"),
      of("broken", "((", "2024-01-01T00:00:00Z"),
      of("node.n1", "all()"),
      of("node.n2"),
      of("default"),
    ];
    const names = (node: { name: string; labels: Record<string, string> | undefined }) => {
      const { perNode, selected, default: fallback, others } = chooseConfigurations(all, node);
      return [perNode, selected, fallback, ...others].map((found) => found?.metadata.name);
    };
    expect(names({ name: "n1", labels: { rack: "a" } })).toEqual(["node.n1", "also-old", "default", "old", "young"]);
    expect(names({ name: "n3", labels: {} })).toEqual([undefined, undefined, "default"]);
    expect(names({ name: "n3", labels: undefined })).toEqual([undefined, undefined, "default"]);
    expect(messages(resolve({ resources: chooseConfigurations(all, { name: "n1", labels: { rack: "a" } }) }))).toEqual([
      "CONFIG_AMBIGUOUS: the FelixConfiguration also-old selects the node, and so do old, young; the oldest counts",
    ]);
  });
});

describe("parameters that depend on each other", () => {
  test.each<[string, Record<string, string>, string[]]>([
    [
      "TLS to Typha",
      { TYPHACN: "typha" },
      [
        "fatal CONFIG_INCONSISTENT: TyphaCAFile: must be set where another parameter of TLS to Typha is",
        "fatal CONFIG_INCONSISTENT: TyphaCertFile: must be set where another parameter of TLS to Typha is",
        "fatal CONFIG_INCONSISTENT: TyphaKeyFile: must be set where another parameter of TLS to Typha is",
      ],
    ],
    [
      "a name for Typha",
      { TYPHACAFILE: "/a", TYPHACERTFILE: "/a", TYPHAKEYFILE: "/a" },
      ["fatal CONFIG_INCONSISTENT: TyphaCN: or TyphaURISAN must be set where another parameter of TLS to Typha is"],
    ],
    [
      "etcd",
      { ETCDADDR: "none" },
      ["fatal CONFIG_INCONSISTENT: EtcdAddr: must not be none where EtcdEndpoints is not set"],
    ],
    ["etcd by its endpoints", { ETCDADDR: "none", ETCDENDPOINTS: "http://a:1" }, []],
    ["another datastore", { ETCDADDR: "none", DATASTORETYPE: "kubernetes" }, []],
    [
      "tables",
      { ROUTETABLERANGE: "1-2", ROUTETABLERANGES: "5-6" },
      ["CONFIG_INCONSISTENT: RouteTableRange: does not count where RouteTableRanges is set; remove it"],
    ],
    [
      "metrics of routes",
      { IPV6ELEVATEDROUTEPRIORITY: "1024" },
      [
        "CONFIG_INCONSISTENT: IPv6ElevatedRoutePriority: 1024 must be less than IPv6NormalRoutePriority, 1024, to go before it",
      ],
    ],
  ])("%s", (_, variables, expected) => {
    const environment = Object.fromEntries(Object.entries(variables).map(([name, text]) => [`FELIX_${name}`, text]));
    expect(messages(resolve({ environment }))).toEqual(expected);
  });

  test("the node has a name", () => {
    expect(resolve({}).config.FelixHostname).toBe("n1");
    expect(resolve({ environment: { FELIX_FELIXHOSTNAME: "n2" } }).config.FelixHostname).toBe("n2");
    expect(messages(resolveConfig({}))).toEqual([
      "fatal CONFIG_INCONSISTENT: FelixHostname: is not set, and the host's name is not known; set FELIX_FELIXHOSTNAME",
    ]);
  });

  test("files that must be there are looked for where somebody can", () => {
    const environment = { FELIX_ETCDCAFILE: "/ca", FELIX_ETCDKEYFILE: "/key" };
    const { config, problems } = resolve({ environment, exists: (path) => path === "/ca" });
    expect(config).toMatchObject({ EtcdCaFile: "/ca", EtcdKeyFile: "" });
    expect(problems.map(({ parameter }) => parameter)).toEqual(["EtcdKeyFile"]);
    expect(resolve({ environment }).problems).toEqual([]);
  });

  test("addresses of etcd, which may hold a password, are in no message", () => {
    const [problem] = resolve({ environment: { FELIX_ETCDENDPOINTS: "http://user:secret@a" } }).problems;
    expect(problem).toMatchObject({ code: "CONFIG_INVALID_VALUE", parameter: "EtcdEndpoints" });
    expect(problem!.message).not.toContain("secret");
  });

  test("tables, and what iptables and nftables have each", () => {
    const of = (environment: Record<string, string>) => resolve({ environment }).config;
    expect(routeTables(of({}))).toEqual([{ min: 1, max: 250 }]);
    expect(routeTables(of({ FELIX_ROUTETABLERANGE: "5-6" }))).toEqual([{ min: 5, max: 6 }]);
    expect(routeTables(of({ FELIX_ROUTETABLERANGE: "5-6", FELIX_ROUTETABLERANGES: "7-8" }))).toEqual([
      { min: 7, max: 8 },
    ]);
    const config = of({ FELIX_NFTABLESMARKMASK: "0xff00", FELIX_IPTABLESFILTERDENYACTION: "reject" });
    expect(tableSettings(config, "nftables")).toMatchObject({
      markMask: 0xff00,
      filterDenyAction: "DROP",
      refreshInterval: 180_000,
    });
    expect(tableSettings(config, "iptables")).toMatchObject({ markMask: 0xffff0000, filterDenyAction: "REJECT" });
  });
});

describe("changes", () => {
  const of = (environment: Record<string, string>) => resolve({ environment }).config;

  test("nothing changes between equal configurations, also with lists and expressions", () => {
    const environment = {
      FELIX_MTUIFACEPATTERN: "(?i)eth",
      FELIX_INTERFACEEXCLUDE: "/a/,b",
      FELIX_FEATUREGATES: "a=b",
    };
    expect(changedParameters(of(environment), of(environment))).toEqual([]);
    expect(changedParameters(of({}), of(environment))).toEqual(["FeatureGates", "InterfaceExclude", "MTUIfacePattern"]);
  });

  test.each<[Record<string, string>, string[], string[]]>([
    [{ FELIX_HEALTHTIMEOUTOVERRIDES: "a=1s" }, ["HealthTimeoutOverrides"], []],
    [{ FELIX_CLUSTERTYPE: "k8s", FELIX_HEALTHPORT: "1" }, ["ClusterType", "HealthPort"], ["HealthPort"]],
    [{ FELIX_GOMAXPROCS: "2" }, ["GoMaxProcs"], []],
    [{ FELIX_FAILSAFEINBOUNDHOSTPORTS: "none" }, ["FailsafeInboundHostPorts"], ["FailsafeInboundHostPorts"]],
    [{ FELIX_HEALTHPORT: "0x238b" }, [], []],
  ])("%j", (environment, changed, restart) => {
    expect(changedParameters(of({}), of(environment))).toEqual(changed);
    expect(needsRestart(of({}), of(environment))).toEqual(restart);
    expect(needsRestart(of(environment), of({}))).toEqual(restart);
  });
});

describe("the table", () => {
  test("what takes effect in a running process: what upstream's does, and how much is logged", () => {
    expect(PARAMETER_NAMES.filter((name) => parameterOf(name).live).sort()).toEqual([
      ...["CalicoVersion", "ClusterGUID", "ClusterType", "HealthTimeoutOverrides"],
      ...["LogFilePath", "LogSeverityFile", "LogSeverityScreen"],
    ]);
  });

  test("has every parameter once, with its documentation", () => {
    const grouped = GROUPS.flatMap(({ parameters }) => Object.keys(parameters));
    expect(grouped.sort()).toEqual([...PARAMETER_NAMES].sort());
    expect(grouped).toHaveLength(218);
    for (const name of PARAMETER_NAMES) {
      expect(docOf(parameterOf(name)), name).not.toBe("");
      expect(findParameter(name.toUpperCase())).toBe(name);
    }
    expect(PARAMETER_NAMES.filter((name) => parameterOf(name).field)).toHaveLength(187);
  });

  test("gives values their types", () => {
    expectTypeOf<AgentConfig["FailsafeInboundHostPorts"]>().toEqualTypeOf<readonly ProtoPort[]>();
    expectTypeOf<AgentConfig["ChainInsertMode"]>().toEqualTypeOf<"insert" | "append">();
    expectTypeOf<AgentConfig["LogSeveritySys"]>().toEqualTypeOf<
      "TRACE" | "DEBUG" | "INFO" | "WARNING" | "ERROR" | "FATAL" | ""
    >();
    expectTypeOf<AgentConfig["IpInIpEnabled"]>().toEqualTypeOf<boolean | undefined>();
    expectTypeOf<AgentConfig["RouteRefreshInterval"]>().toEqualTypeOf<number>();
    expectTypeOf<"HealthPort">().toExtend<ParameterName>();
  });

  test("is the reference page", async () => {
    await expect(configurationPage()).toMatchFileSnapshot("../../../docs/felix-configuration.md");
  });
});
