/**
 * The file by which the agent says that an endpoint's policy is in force, and for which the plugin waits
 * (libcalico-go/lib/names/workloadendpointstatus.go, lib/epstatusfile).
 */

/** What an endpoint is called in the file's name. */
export interface EndpointStatusId {
  readonly orchestrator: string;
  /** `<namespace>/<pod>` on Kubernetes. */
  readonly workload: string;
  readonly endpoint: string;
}

/** What the file says, as JSON; what is empty is left out. */
export interface EndpointStatus {
  readonly ifaceName?: string;
  readonly mac?: string;
  readonly ipv4Nets?: readonly string[];
  readonly ipv6Nets?: readonly string[];
  readonly bgpPeerName?: string;
}

/** NAME_MAX, less the dot before the name of a file that is not finished. */
const MAX_NAME = 254;

/**
 * `<orchestrator> <workload> <endpoint>`, each escaped as a part of a URL's path. A name that no file can have, of which a pod with a long name needs
 * one, ends in its hash instead.
 */
export function endpointStatusFileName({ orchestrator, workload, endpoint }: EndpointStatusId): string {
  const name = [orchestrator, workload, endpoint].map(pathEscape).join(" ");
  if (name.length <= MAX_NAME) return name;
  const hash = new Bun.CryptoHasher("sha256").update(name).digest("base64url");
  return `${name.slice(0, MAX_NAME - 1 - hash.length)} ${hash}`;
}

/** Go's url.PathEscape. */
function pathEscape(text: string): string {
  return encodeURIComponent(text)
    .replace(/%(24|26|2B|3A|3D|40)/g, (code) => decodeURIComponent(code))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
