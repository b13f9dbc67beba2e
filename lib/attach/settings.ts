import { CniError, errorCode, type Invocation, isName, type NetworkConfig } from "../cni/index.ts";
import { currentNamespace, type Namespace, openNamespace, readTextFile, SysError } from "../sys/index.ts";
import { type Host, netnsOf } from "./host.ts";

/** What the kernel gives a veth of its own accord. */
const DEFAULT_MTU = 1500;

/** The smallest MTU that IPv4 may be carried over (RFC 791). */
const LEAST_MTU = 68;

/**
 * This node's name: `nodename`, the nodename file, the deprecated `hostname`, or the machine's own name, in this order.
 * Unless `nodename_file_optional`, a file that is missing means that calico-node has not started yet. `lenient` (DEL,
 * CHECK, GC) does without the file where the name does not come from it.
 */
export function readNodename(config: NetworkConfig, host: Host, lenient = false): string {
  const file = config.nodenameFile || host.files.nodename;
  const needed = !config.nodenameFileOptional && !(lenient && config.nodename !== "");
  const text = needed || config.nodename === "" ? readOptional(file) : "";
  if (text === undefined && needed) {
    throw new CniError(
      errorCode.tryAgainLater,
      `this node's name is not known: the file ${file} does not exist`,
      'check that calico-node is running and has written it, or set "nodename_file_optional": true',
    );
  }
  const name = config.nodename || text?.trim() || config.hostname || host.hostname();
  if (name.length > 253 || !isSegment(name)) {
    throw new CniError(
      errorCode.invalidConfiguration,
      `${JSON.stringify(name.slice(0, 80))} cannot be a node's name`,
      `it comes from ${config.nodename ? '"nodename"' : text ? file : config.hostname ? '"hostname"' : "the machine's name"}`,
    );
  }
  return name;
}

/** Letters, digits, '.', '_' and '-', with a letter or digit at either end: a part of a name in the datastore. */
export function isSegment(text: string): boolean {
  return isName(text) && isName(text[text.length - 1]!);
}

/** The pod's MTU: `mtu`, the file that calico-node writes, or 1500. */
export function readMtu(config: NetworkConfig, host: Host): number {
  const text = config.mtu > 0 && !config.requireMtuFile ? undefined : readOptional(host.files.mtu);
  if (text === undefined && config.requireMtuFile) {
    throw new CniError(
      errorCode.tryAgainLater,
      `"require_mtu_file" is set, and the file ${host.files.mtu} does not exist`,
      "calico-node writes it when it has found out the MTU",
    );
  }
  const source = config.mtu > 0 ? '"mtu"' : host.files.mtu;
  const mtu = config.mtu > 0 ? config.mtu : text === undefined ? 0 : Number(text.trim() || "x");
  if (mtu === 0) return DEFAULT_MTU;
  if (!Number.isInteger(mtu) || mtu < LEAST_MTU || mtu > 65_535) {
    throw new CniError(
      errorCode.invalidConfiguration,
      `${source} is no MTU`,
      `it is a whole number from ${LEAST_MTU} to 65535`,
    );
  }
  return mtu;
}

/**
 * Refuses a CNI_NETNS that is no network namespace, or is the one this plugin runs in: nothing may ever be made or
 * removed there. Answers false where the path leads nowhere.
 */
export function checkNetns(call: Invocation, host: Host): boolean {
  const { netns, netnsOverride } = call.environment;
  const path = netnsOf(call, host);
  let pod: Namespace | undefined;
  let own: Namespace | undefined;
  try {
    pod = openNamespace(path);
    own = currentNamespace();
    if ((pod.inode === own.inode || pod.inode === host.hostNetns?.inode) && !netnsOverride) {
      throw new CniError(
        errorCode.invalidEnvironment,
        `CNI_NETNS is the plugin's own network namespace: ${netns}`,
        "a pod needs one of its own",
      );
    }
    return true;
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return false;
    if (error instanceof SysError) {
      throw new CniError(errorCode.invalidEnvironment, `CNI_NETNS is no network namespace: ${netns}`, error.message);
    }
    throw error;
  } finally {
    pod?.close();
    own?.close();
  }
}

function readOptional(file: string): string | undefined {
  try {
    return readTextFile(file);
  } catch (error) {
    throw new CniError(errorCode.ioFailure, `the file ${file} cannot be read`, (error as Error).message);
  }
}
