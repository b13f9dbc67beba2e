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

/** `<orchestrator> <workload> <endpoint>`, each escaped as a part of a URL's path. */
export function endpointStatusFileName({ orchestrator, workload, endpoint }: EndpointStatusId): string {
  return [orchestrator, workload, endpoint].map(pathEscape).join(" ");
}

/** Go's url.PathEscape. */
function pathEscape(text: string): string {
  return encodeURIComponent(text)
    .replace(/%(24|26|2B|3A|3D|40)/g, (code) => decodeURIComponent(code))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
