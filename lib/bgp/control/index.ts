/**
 * The BGP process' state, asked from outside: a unix socket that speaks HTTP and JSON (`/status`, `/readiness`, `/routes`, `/explain`), the client
 * of it that `calico-node bgp`, `calico-node health` and `calicoctl node status` use, and what is said there.
 */
export { ControlClient, type Health } from "./client.ts";
export { ControlError } from "./error.ts";
export { peerInWords, whatWentWrong, whyNotReady } from "./readiness.ts";
export { type ControlSource, type Routes, serveControl } from "./server.ts";
export type { BgpStatus, Family, PeerError, PeerStatus, RouteText, WhichRoutes } from "./status.ts";

/** Where the process listens. */
export const CONTROL_SOCKET = "/var/run/calico/bgp.sock";
