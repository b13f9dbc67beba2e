import { folderOf, readTextFile } from "../sys/index.ts";
import type { Auth, ClusterConfig, ExecAuth, Pem } from "./config.ts";
import { checkedToken } from "./credentials.ts";
import { KubernetesError } from "./errors.ts";

export interface KubeconfigOptions {
  /** One file, or several separated by colons, as in KUBECONFIG: what an earlier one says wins, and files that are absent are skipped. */
  readonly file?: string | undefined;
  /** The text of a kubeconfig, YAML or JSON; wins over `file`. Relative paths in it are taken from the working directory. */
  readonly text?: string | undefined;
  /** The context to use instead of `current-context`. */
  readonly context?: string | undefined;
  /** What replaces the kubeconfig's values; with a `server` no kubeconfig is needed at all. "" counts as absent. */
  readonly overrides?: KubeconfigOverrides | undefined;
}

export interface KubeconfigOverrides {
  readonly server?: string | undefined;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly token?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  readonly qps?: number | undefined;
  readonly burst?: number | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** A part of a kubeconfig, with what messages call it and what its relative paths are relative to. */
interface Entry {
  readonly where: string;
  readonly folder: string;
  readonly fields: Fields;
}

interface Kubeconfig {
  readonly where: string;
  readonly currentContext: string;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
  readonly contexts: ReadonlyMap<string, Entry>;
}

/**
 * The cluster that a kubeconfig's context names. CONFIG, naming file and field, when it is wrong. Reads the kubeconfig itself,
 * synchronously; the files it names are read when they are used.
 */
export function loadKubeconfig(options: KubeconfigOptions): ClusterConfig {
  const overrides = options.overrides ?? {};
  const all = readAllOf(options);
  const contextName = options.context || all.currentContext;
  const nothing: Entry = { where: all.where, folder: "", fields: {} };
  let context: Entry | undefined;
  if (contextName !== "") {
    context = all.contexts.get(contextName);
    if (!context)
      throw refuse(
        all.where,
        options.context ? "context" : "current-context",
        `"${contextName}" is none of its contexts (${names(all.contexts)})`,
      );
  } else if (!overrides.server)
    throw refuse(all.where, "current-context", `missing: must be one of its contexts (${names(all.contexts)})`);
  const cluster = context ? referred(context, "cluster", all.clusters, "clusters") : nothing;
  const user = context && text(context, "user") !== "" ? referred(context, "user", all.users, "users") : nothing;
  const namespace = context ? text(context, "namespace") : "";
  const { qps, burst } = overrides;
  return {
    ...clusterOf(cluster, overrides),
    auth: authOf(user, cluster, overrides),
    ...(namespace === "" ? {} : { namespace }),
    ...(qps === undefined ? {} : { qps }),
    ...(burst === undefined ? {} : { burst }),
  };
}

function clusterOf(cluster: Entry, overrides: KubeconfigOverrides): Omit<ClusterConfig, "auth"> {
  const server = overrides.server || text(cluster, "server");
  const where = overrides.server ? "the API server's address" : `${cluster.where}: server`;
  if (server === "") throw refuse(cluster.where, "server", "missing: must be https://host:port");
  const url = URL.parse(server);
  // The text may hold a password, so it is not repeated.
  if (url && (url.username !== "" || url.password !== ""))
    throw new KubernetesError("CONFIG", `${where}: must not contain a user name or password: use a token`);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.hostname === "" || url.search || url.hash)
    throw new KubernetesError("CONFIG", `${where}: "${server}": must be https://host:port`);
  if (text(cluster, "proxy-url") !== "")
    throw refuse(cluster.where, "proxy-url", "proxies are not supported: the API server must be reachable directly");
  const insecure = overrides.insecureSkipTlsVerify || flag(cluster, "insecure-skip-tls-verify");
  const ca = overrides.caFile ? { file: overrides.caFile } : pem(cluster, "certificate-authority", "CERTIFICATE");
  if (insecure && ca && !overrides.insecureSkipTlsVerify)
    throw refuse(
      cluster.where,
      "insecure-skip-tls-verify",
      "excludes a certificate authority: the certificate is either checked or not",
    );
  const serverName = text(cluster, "tls-server-name");
  return {
    server: server.trim().replace(/\/+$/, ""),
    ...(ca && !insecure ? { ca } : {}),
    ...(insecure ? { insecureSkipTlsVerify: true } : {}),
    ...(serverName === "" ? {} : { serverName }),
  };
}

function authOf(user: Entry, cluster: Entry, overrides: KubeconfigOverrides): Auth {
  // To go on without it would be to act with other rights than was asked for.
  for (const field of ["as", "as-uid", "as-groups", "as-user-extra"])
    refuseField(user, field, "impersonation is not supported: use credentials of that user");
  if (overrides.certFile || overrides.keyFile) {
    if (!overrides.certFile || !overrides.keyFile)
      throw new KubernetesError(
        "CONFIG",
        `only the ${overrides.certFile ? "certificate" : "key"} file is given: a client needs certificate and key`,
      );
    return { type: "certificate", cert: { file: overrides.certFile }, key: { file: overrides.keyFile } };
  }
  if (overrides.token) return { type: "token", token: checkedToken(overrides.token, "the token") };
  // The API server looks at a certificate before it looks at a token.
  const cert = pem(user, "client-certificate", "CERTIFICATE");
  const key = pem(user, "client-key", "PRIVATE KEY");
  if (cert && key) return { type: "certificate", cert, key };
  if (cert || key)
    throw refuse(
      user.where,
      cert ? "client-certificate" : "client-key",
      `is given without ${cert ? "client-key" : "client-certificate"}: a client needs both`,
    );
  const tokenFile = text(user, "tokenFile");
  if (tokenFile !== "") return { type: "tokenFile", file: resolved(user.folder, tokenFile) };
  const token = text(user, "token");
  if (token !== "") return { type: "token", token: checkedToken(token, `${user.where}: token`) };
  const exec = mapping(user, "exec");
  if (exec) return execOf(exec, cluster);
  refuseField(user, "auth-provider", "removed from Kubernetes in 1.26: use exec");
  refuseField(user, "username", "not supported since Kubernetes 1.19: use a certificate, a token or exec");
  return { type: "none" };
}

function refuseField(entry: Entry, field: string, why: string): void {
  const value = entry.fields[field];
  if (value !== undefined && value !== null && value !== "") throw refuse(entry.where, field, why);
}

const EXEC_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] as const;
const INTERACTIVE_MODES = ["Never", "IfAvailable", "Always"] as const;

function execOf(exec: Entry, cluster: Entry): ExecAuth {
  const command = text(exec, "command");
  if (command === "") throw refuse(exec.where, "command", "missing: must be the program that prints credentials");
  const apiVersion = oneOf(exec, "apiVersion", EXEC_VERSIONS);
  const mode = text(exec, "interactiveMode");
  if (mode === "" && apiVersion === "client.authentication.k8s.io/v1")
    throw refuse(exec.where, "interactiveMode", `missing: must be one of ${INTERACTIVE_MODES.join(", ")}`);
  const env: Record<string, string> = {};
  for (const variable of entries(exec, "env")) {
    const name = text(variable, "name");
    if (name === "") throw refuse(variable.where, "name", "missing");
    env[name] = text(variable, "value");
  }
  const installHint = text(exec, "installHint");
  const extension = entries(cluster, "extensions").find(
    (one) => one.fields.name === "client.authentication.k8s.io/exec",
  );
  return {
    type: "exec",
    apiVersion,
    // A name is looked up in PATH; a path is relative to the kubeconfig.
    command: command.includes("/") ? resolved(exec.folder, command) : command,
    args: strings(exec, "args"),
    env,
    provideClusterInfo: flag(exec, "provideClusterInfo"),
    interactiveMode: mode === "" ? "IfAvailable" : oneOf(exec, "interactiveMode", INTERACTIVE_MODES),
    ...(installHint === "" ? {} : { installHint }),
    ...(extension ? { clusterExtension: extension.fields.extension } : {}),
  };
}

function readAllOf({ text: inline, file }: KubeconfigOptions): Kubeconfig {
  if (inline) return parse(inline, "kubeconfig", "");
  const files = [...new Set((file ?? "").split(":").filter((one) => one !== ""))];
  const read: Kubeconfig[] = [];
  for (const path of files) {
    const found = readFile(path);
    if (found !== undefined) read.push(parse(found, `kubeconfig ${path}`, folderOf(path)));
    else if (files.length === 1) throw new KubernetesError("CONFIG", `kubeconfig ${path}: there is no such file`);
  }
  if (files.length > 0 && read.length === 0)
    throw new KubernetesError("CONFIG", `kubeconfig ${files.join(":")}: there is none of these files`);
  const merged = (part: "clusters" | "users" | "contexts") =>
    new Map(read.toReversed().flatMap((one) => [...one[part]]));
  return {
    where: read.length === 0 ? "kubeconfig" : read.map(({ where }) => where).join(", "),
    currentContext: read.find((one) => one.currentContext !== "")?.currentContext ?? "",
    clusters: merged("clusters"),
    users: merged("users"),
    contexts: merged("contexts"),
  };
}

function readFile(path: string): string | undefined {
  try {
    return readTextFile(path);
  } catch (error) {
    throw new KubernetesError("CONFIG", `kubeconfig ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function parse(content: string, where: string, folder: string): Kubeconfig {
  let value: unknown;
  try {
    value = Bun.YAML.parse(content);
  } catch {
    // Why is not told: the parser's message may quote the text, and that holds credentials.
    throw new KubernetesError("CONFIG", `${where}: is neither YAML nor JSON`);
  }
  if (!isMapping(value))
    throw new KubernetesError("CONFIG", `${where}: must be a mapping with clusters, users and contexts`);
  const file: Entry = { where, folder, fields: value };
  const kind = text(file, "kind");
  if (kind !== "" && kind !== "Config") throw refuse(where, "kind", `"${kind}": must be "Config"`);
  const version = text(file, "apiVersion");
  if (version !== "" && version !== "v1") throw refuse(where, "apiVersion", `"${version}": must be "v1"`);
  const named = (list: string, field: string): Map<string, Entry> => {
    const found = new Map<string, Entry>();
    for (const item of entries(file, list)) {
      const name = text(item, "name");
      if (name === "") throw refuse(item.where, "name", "missing");
      const label = `${where}: ${field} "${name}"`;
      // As in kubectl, of two with the same name the first one counts.
      if (!found.has(name))
        found.set(name, { where: label, folder, fields: mapping({ ...item, where: label }, field)?.fields ?? {} });
    }
    return found;
  };
  return {
    where,
    currentContext: text(file, "current-context"),
    clusters: named("clusters", "cluster"),
    users: named("users", "user"),
    contexts: named("contexts", "context"),
  };
}

function referred(context: Entry, field: string, among: ReadonlyMap<string, Entry>, list: string): Entry {
  const name = text(context, field);
  if (name === "") throw refuse(context.where, field, `missing: must be one of ${list} (${names(among)})`);
  const found = among.get(name);
  if (!found) throw refuse(context.where, field, `"${name}" is none of ${list} (${names(among)})`);
  return found;
}

/** `<field>-data` as text, or the file that `<field>` names; the data win, as in kubectl. */
function pem(entry: Entry, field: string, label: string): Pem | undefined {
  const data = text(entry, `${field}-data`);
  if (data !== "") {
    const decoded = /^[\sA-Za-z0-9+/]+[=\s]*$/.test(data) ? Buffer.from(data, "base64").toString("latin1") : "";
    if (!decoded.includes("-----BEGIN ") || !decoded.includes(`${label}-----`))
      throw refuse(entry.where, `${field}-data`, `must be a ${label} in PEM, encoded in base64`);
    return decoded;
  }
  const file = text(entry, field);
  return file === "" ? undefined : { file: resolved(entry.folder, file) };
}

const resolved = (folder: string, path: string): string =>
  path.startsWith("/") || folder === "" ? path : `${folder === "/" ? "" : folder}/${path}`;

const names = (of: ReadonlyMap<string, Entry>): string => [...of.keys()].join(", ") || "it has none";

function text(entry: Entry, field: string): string {
  const value = entry.fields[field];
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw refuse(entry.where, field, "must be a string");
  return value;
}

function flag(entry: Entry, field: string): boolean {
  const value = entry.fields[field] ?? false;
  if (typeof value !== "boolean") throw refuse(entry.where, field, "must be true or false");
  return value;
}

function oneOf<T extends string>(entry: Entry, field: string, allowed: readonly T[]): T {
  const value = text(entry, field);
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw refuse(entry.where, field, `"${value}": must be one of ${allowed.join(", ")}`);
  return found;
}

function strings(entry: Entry, field: string): string[] {
  const value = entry.fields[field] ?? [];
  if (!Array.isArray(value) || !value.every((one) => typeof one === "string"))
    throw refuse(entry.where, field, "must be a list of strings");
  return value as string[];
}

function mapping(entry: Entry, field: string): Entry | undefined {
  const value = entry.fields[field];
  if (value === undefined || value === null) return undefined;
  if (!isMapping(value)) throw refuse(entry.where, field, "must be a mapping");
  return { where: `${entry.where}: ${field}`, folder: entry.folder, fields: value };
}

function entries(entry: Entry, field: string): Entry[] {
  const value = entry.fields[field] ?? [];
  if (!Array.isArray(value)) throw refuse(entry.where, field, "must be a list");
  return value.map((one: unknown, index) => {
    const where = `${entry.where}: ${field}[${index}]`;
    if (!isMapping(one)) throw new KubernetesError("CONFIG", `${where}: must be a mapping`);
    return { where, folder: entry.folder, fields: one };
  });
}

const isMapping = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const refuse = (where: string, field: string, what: string): KubernetesError =>
  new KubernetesError("CONFIG", `${where}: ${field}: ${what}`);
