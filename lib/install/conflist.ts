/** The network configuration that the runtime reads: from upstream's templates and variables to a file. Pure but for the last function. */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathExists, readTextFile } from "../sys/index.ts";
import { InstallError } from "./errors.ts";
import { inFolder, placeText, removeFile, type Step, translated } from "./files.ts";

export type Env = Readonly<Record<string, string | undefined>>;

export const CONFLIST = "10-calico.conflist";
export const KUBECONFIG = "calico-kubeconfig";
export const TLS_FOLDER = "calico-tls";

/** Where things are. On the node paths are other ones than in a container that has the node's folders mounted. */
export interface Places {
  /** The node's folder of network configurations as this process sees it: /host/etc/cni/net.d. */
  readonly netFolder: string;
  /** The same on the node: CNI_NET_DIR, /etc/cni/net.d. What the plugin is told. */
  readonly netFolderOfNode: string;
}

/** The places that the environment and a container's mounts make. `host`: where the node's folders are mounted, /host. */
export const placesOf = (env: Env, host = "/host"): Places => ({
  netFolder: `${host}/etc/cni/net.d`,
  netFolderOfNode: env.CNI_NET_DIR || "/etc/cni/net.d",
});

/** Upstream's own, for who gives none (cni-plugin/pkg/install). */
const DEFAULT_TEMPLATE = `{
  "name": "k8s-pod-network",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "calico",
      "log_level": "__LOG_LEVEL__",
      "log_file_path": "__LOG_FILE_PATH__",
      "datastore_type": "__DATASTORE_TYPE__",
      "nodename": "__KUBERNETES_NODE_NAME__",
      "mtu": __CNI_MTU__,
      "ipam": { "type": "calico-ipam" },
      "policy": { "type": "k8s" },
      "kubernetes": { "kubeconfig": "__KUBECONFIG_FILEPATH__" },
      "require_mtu_file": __REQUIRE_MTU_FILE__,
      "calico_api_group": "__CALICO_API_GROUP__"
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": { "portMappings": true }
    }
  ]
}
`;

/** What the network configuration is made of, beside the variables. */
export interface ConflistFacts {
  /** What Kubernetes calls the node, where KUBERNETES_NODE_NAME does not say. */
  readonly node: string;
  /** The service account's token, for old templates that have `__SERVICEACCOUNT_TOKEN__`. */
  readonly token?: string | undefined;
  /** Which of etcd-ca, etcd-cert and etcd-key are in the folder calico-tls. */
  readonly tls: ReadonlySet<string>;
}

/** Placeholder → what stands for it. Upstream's names and defaults, all of them. */
function valuesOf(env: Env, places: Places, facts: ConflistFacts): Readonly<Record<string, string>> {
  const tls = (name: string): string => (facts.tls.has(name) ? `${places.netFolderOfNode}/${TLS_FOLDER}/${name}` : "");
  const of = (name: string, otherwise: string): string => env[name] ?? otherwise;
  return {
    LOG_LEVEL: of("LOG_LEVEL", "info"),
    LOG_FILE_PATH: of("LOG_FILE_PATH", "/var/log/calico/cni/cni.log"),
    LOG_FILE_MAX_SIZE: of("LOG_FILE_MAX_SIZE", "100"),
    LOG_FILE_MAX_AGE: of("LOG_FILE_MAX_AGE", "30"),
    LOG_FILE_MAX_COUNT: of("LOG_FILE_MAX_COUNT", "10"),
    DATASTORE_TYPE: of("DATASTORE_TYPE", "kubernetes"),
    KUBERNETES_NODE_NAME: of("KUBERNETES_NODE_NAME", facts.node),
    KUBECONFIG_FILEPATH: `${places.netFolderOfNode}/${KUBECONFIG}`,
    CNI_MTU: of("CNI_MTU", "1500"),
    KUBERNETES_SERVICE_HOST: of("KUBERNETES_SERVICE_HOST", ""),
    KUBERNETES_SERVICE_PORT: of("KUBERNETES_SERVICE_PORT", ""),
    SERVICEACCOUNT_TOKEN: facts.token ?? "",
    CALICO_API_GROUP: env.CALICO_API_GROUP || "crd.projectcalico.org/v1",
    ETCD_CERT_FILE: tls("etcd-cert"),
    ETCD_CA_CERT_FILE: tls("etcd-ca"),
    ETCD_KEY_FILE: tls("etcd-key"),
    ETCD_ENDPOINTS: of("ETCD_ENDPOINTS", ""),
    ETCD_DISCOVERY_SRV: of("ETCD_DISCOVERY_SRV", ""),
    REQUIRE_MTU_FILE: of("REQUIRE_MTU_FILE", "false"),
  };
}

/** Whether the environment says what the configuration shall be, rather than leaving it to the default. */
export const namesTemplate = (env: Env): boolean => Boolean(env.CNI_NETWORK_CONFIG_FILE || env.CNI_NETWORK_CONFIG);

/** The file wins over the text, and both over the default, as upstream has it. */
export function templateOf(env: Env): string {
  const { CNI_NETWORK_CONFIG_FILE: file, CNI_NETWORK_CONFIG: text } = env;
  if (!file) return text || DEFAULT_TEMPLATE;
  const read = translated(`read ${file}`, () => readTextFile(file));
  if (read === undefined)
    throw new InstallError(
      "SETTINGS",
      `CNI_NETWORK_CONFIG_FILE: there is no file ${file}; mount it, or unset the variable`,
    );
  return read;
}

export interface Conflist {
  readonly text: string;
  /** The executables that it names, the first plugin's first. */
  readonly types: readonly string[];
  /** Files of the node that the plugin needs. */
  readonly files: readonly string[];
  /** Placeholders that nobody fills in. */
  readonly unknown: readonly string[];
}

/** Fills in a template. CONFIGURATION when what comes out is no network configuration; its text, which may hold secrets, is not repeated. */
export function renderConflist(template: string, env: Env, places: Places, facts: ConflistFacts): Conflist {
  const values = valuesOf(env, places, facts);
  const unknown = new Set<string>();
  const text = template.replace(/__([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__/g, (all, name: string) => {
    const value = values[name];
    if (value === undefined) unknown.add(all);
    // What stands in a text stays one, whatever is in it; of numbers and words this changes nothing.
    return value === undefined ? all : JSON.stringify(value).slice(1, -1);
  });
  const { plugins, kubeconfig } = read(text);
  const types = plugins.flatMap(({ type, ipam }) => [type, ...(ipam?.type ? [ipam.type] : [])]);
  const files = kubeconfig === `${places.netFolderOfNode}/${KUBECONFIG}` ? [KUBECONFIG] : [];
  return { text, types: [...new Set(types)], files, unknown: [...unknown] };
}

interface PluginConfiguration {
  readonly type: string;
  readonly ipam?: { readonly type?: string };
  readonly kubernetes?: { readonly kubeconfig?: string };
}

function read(text: string): { plugins: readonly PluginConfiguration[]; kubeconfig: string | undefined } {
  const refuse = (why: string): never => {
    throw new InstallError("CONFIGURATION", `the CNI network configuration ${why}; see CNI_NETWORK_CONFIG`);
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return refuse("is not JSON once its placeholders are filled in (a number such as __CNI_MTU__ must not be empty)");
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(parsed)) return refuse("is not an object");
  if (typeof parsed.name !== "string" || parsed.name === "") return refuse("has no name");
  const list = parsed.plugins ?? [parsed];
  if (!Array.isArray(list) || list.length === 0) return refuse("has no plugins");
  const plugins = list.map((plugin: unknown) =>
    isObject(plugin) && typeof plugin.type === "string" && plugin.type !== "" && !plugin.type.includes("/")
      ? (plugin as unknown as PluginConfiguration)
      : refuse("has a plugin without a type"),
  );
  return { plugins, kubeconfig: plugins.find(({ type }) => type === "calico")?.kubernetes?.kubeconfig };
}

/** The names of the file now and of an older one. SETTINGS when no runtime would read it. */
export function confNames(env: Env): { readonly name: string; readonly old: string } {
  const name = env.CNI_CONF_NAME || CONFLIST;
  const old = env.CNI_OLD_CONF_NAME || CONFLIST;
  for (const [variable, value] of [
    ["CNI_CONF_NAME", name],
    ["CNI_OLD_CONF_NAME", old],
  ] as const)
    if (!/^[^/.][^/]*\.(conf|conflist|json)$/.test(value))
      throw new InstallError(
        "SETTINGS",
        `${variable}=${value}: must be the name of a file that ends in .conflist, .conf or .json; runtimes read no other`,
      );
  return { name, old };
}

export interface PlaceOptions {
  /** Folder of executables, as this process sees it; not looked at when absent. */
  readonly binFolder?: string | undefined;
  readonly dryRun?: boolean;
  /** Files that are not there only because a dry run has not written them. */
  readonly expected?: ReadonlySet<string>;
  /** Hears of what is not in order and no reason to stop. */
  readonly warn: (message: string) => void;
}

/**
 * Writes the network configuration, once all that it names is there, and removes the one of the older name. FOREIGN when a file of one of these
 * names is another network's; INCOMPLETE when something is missing.
 */
export function placeConflist(env: Env, places: Places, facts: ConflistFacts, options: PlaceOptions): Step[] {
  const { netFolder } = places;
  const { binFolder, dryRun = false, expected, warn } = options;
  const isExpected = (file: string): boolean => expected?.has(file) === true;
  const has = (folder: string, type: string): boolean => isNamed(join(folder, type)) || isExpected(join(folder, type));
  const { name, old } = confNames(env);
  const conflist = renderConflist(templateOf(env), env, places, facts);
  for (const placeholder of conflist.unknown) warn(`nothing stands for ${placeholder} of the network configuration`);
  const path = join(netFolder, name);
  const present = ownerOf(path);
  if (present !== undefined && present !== "ours")
    throw new InstallError(
      "FOREIGN",
      `${path} is not Calico's: it is left alone; set another CNI_CONF_NAME, or remove it`,
    );
  const lacking = [
    ...(binFolder === undefined ? [] : conflist.types.filter((type) => !has(binFolder, type))),
    ...conflist.files.map((file) => join(netFolder, file)).filter((file) => !pathExists(file) && !isExpected(file)),
  ];
  if (lacking.length > 0)
    throw new InstallError(
      "INCOMPLETE",
      `${path} is not written, because what it names is not there: ${lacking.join(", ")}` +
        (binFolder === undefined ? "" : `; executables belong into ${binFolder}, or out of the network configuration`),
    );
  if (binFolder !== undefined && !has(binFolder, LOOPBACK))
    warn(
      `there is no ${LOOPBACK} in ${binFolder}: containerd starts no pod without it, though the network configuration need not name it`,
    );
  return translated(`write ${path}`, () => {
    for (const shadow of shadowsOf(env, places)) warn(shadow);
    const write = (dry: boolean): Step[] => {
      const chained = isChained(conflist.text, readTextFile(path));
      const steps: Step[] = [
        chained ? { path, action: "left alone", why: chained } : placeText(netFolder, name, conflist.text, 0o600, dry),
      ];
      const stale = join(netFolder, old);
      const owner = old === name ? undefined : ownerOf(stale);
      if (owner === "ours") steps.push(removeFile(stale, dry));
      else if (owner !== undefined) steps.push({ path: stale, action: "left alone", why: "it is not Calico's" });
      return steps;
    };
    const planned = write(true);
    if (dryRun || planned.every(({ action }) => action === "unchanged" || action === "left alone")) return planned;
    return inFolder(netFolder, () => write(false));
  });
}

/** What containerd calls for every sandbox, beside the network configuration; CRI-O does without. */
const LOOPBACK = "loopback";

/** Plugins that call other networks' configurations, of this folder or not: they are meant to come first. */
const CALLERS = ["multus", "multus-shim", "genie", "danm"];

/** Which other networks' files runtimes take rather than ours, in words. FILES when the folder cannot be read. */
export function shadowsOf(env: Env, { netFolder }: Places): string[] {
  const { name } = confNames(env);
  const before = translated(`read ${netFolder}`, () => readdirSync(netFolder)).filter(
    (file) => /\.(conf|conflist|json)$/.test(file) && file < name,
  );
  return before
    .sort()
    .map((file) => join(netFolder, file))
    .filter((path) => translated(`read ${path}`, () => ownerOf(path)) === "foreign")
    .map((path) => `${path} is another network's, and comes before ${name}: runtimes take the first by name`);
}

/** A link counts whatever it leads to: nodes link plugins to folders that a container does not see. */
const isNamed = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

/** Service meshes add a plugin of theirs to the list that they find, and would have to do so again. Undefined: it is not ours with more at its end. */
function isChained(ours: string, found: string | undefined): string | undefined {
  if (found === undefined) return undefined;
  const parse = (text: string): { plugins?: unknown } | undefined => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const [wanted, present] = [parse(ours), parse(found)];
  if (!wanted || !present || !Array.isArray(wanted.plugins) || !Array.isArray(present.plugins)) return undefined;
  const more = present.plugins.slice(wanted.plugins.length);
  if (more.length === 0) return undefined;
  const same = Bun.deepEquals(wanted, { ...present, plugins: present.plugins.slice(0, wanted.plugins.length) });
  return same
    ? `it is as it should be, and others are chained to it: ${more.map(({ type }) => type).join(", ")}`
    : undefined;
}

/** Whose a network configuration is: ours when it calls the plugin `calico`, also one that upstream's installer wrote. */
export function ownerOf(path: string): "ours" | "caller" | "foreign" | undefined {
  const text = readTextFile(path);
  if (text === undefined) return undefined;
  try {
    const types = read(text).plugins.map(({ type }) => type);
    if (types.includes("calico")) return "ours";
    return types.some((type) => CALLERS.includes(type)) ? "caller" : "foreign";
  } catch {
    // Nobody can work with it; an installer that was killed in the middle, as upstream's can be, leaves such a one.
    return text.includes('"calico"') || text.trim() === "" ? "ours" : "foreign";
  }
}
