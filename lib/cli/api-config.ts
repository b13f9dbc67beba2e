import { CliError } from "./errors.ts";
import { didYouMean } from "./suggest.ts";

/** The `spec` of a CalicoAPIConfig file. */
export interface ApiConfig {
  /** Settings of the datastore, by their keys in the file: etcdEndpoints. Numbers and booleans as their texts. */
  readonly settings: Readonly<Record<string, string>>;
  /** Keys that nothing is done with. */
  readonly unused: readonly string[];
}

/** libcalico-go/lib/apiconfig; `datastoreFile` is ours, for sqlite. */
const SETTINGS: readonly string[] = [
  "datastoreType",
  "datastoreFile",
  "etcdEndpoints",
  "etcdDiscoverySrv",
  "etcdUsername",
  "etcdPassword",
  "etcdKeyFile",
  "etcdCertFile",
  "etcdCACertFile",
  "etcdKey",
  "etcdCert",
  "etcdCACert",
  "kubeconfig",
  "kubeconfigInline",
  "k8sAPIEndpoint",
  "k8sKeyFile",
  "k8sCertFile",
  "k8sCAFile",
  "k8sAPIToken",
  "k8sInsecureSkipTLSVerify",
  "usePodCIDR",
  "k8sClientQPS",
  "k8sClientBurst",
  "k8sCurrentContext",
  "calicoAPIGroup",
];

/** Those that are not text. */
const NUMBERS: readonly string[] = ["k8sClientQPS", "k8sClientBurst"];
const BOOLEANS: readonly string[] = ["k8sInsecureSkipTLSVerify", "usePodCIDR"];
const UNUSED: readonly string[] = ["k8sDisableNodePoll"];

/** Reads the file of `-c`: YAML or JSON. Throws CliError CONFIG that names the file and the key, never a value. */
export async function parseApiConfig(text: string, path: string): Promise<ApiConfig> {
  const fail = (message: string, cause?: unknown) =>
    new CliError("CONFIG", `${path}: ${message}`, cause === undefined ? undefined : { cause });
  const { parse } = await import("yaml");
  let file: unknown;
  try {
    file = parse(text, { prettyErrors: true });
  } catch (cause) {
    throw fail(`is neither YAML nor JSON: ${((cause as Error).message.split("\n")[0] ?? "").replace(/:$/, "")}`, cause);
  }
  if (!isObject(file)) throw fail("must be an object with apiVersion, kind and spec");
  if (file.apiVersion !== "projectcalico.org/v3") {
    throw fail(`apiVersion: must be projectcalico.org/v3, not ${JSON.stringify(file.apiVersion ?? null)}`);
  }
  if (file.kind !== "CalicoAPIConfig") {
    throw fail(`kind: must be CalicoAPIConfig, not ${JSON.stringify(file.kind ?? null)}`);
  }
  if (file.spec !== undefined && file.spec !== null && !isObject(file.spec)) throw fail("spec: must be an object");
  const settings: Record<string, string> = {};
  const unused: string[] = [];
  for (const [key, value] of Object.entries(file.spec ?? {})) {
    if (UNUSED.includes(key)) {
      unused.push(key);
      continue;
    }
    if (!SETTINGS.includes(key)) throw fail(`spec.${key}: there is no such setting${didYouMean(key, SETTINGS)}`);
    const type = NUMBERS.includes(key) ? "number" : BOOLEANS.includes(key) ? "boolean" : "string";
    if (typeof value === type) settings[key] = String(value);
    else if (value !== null) throw fail(`spec.${key}: must be ${type === "string" ? "text" : `a ${type}`}`);
  }
  return { settings, unused };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
