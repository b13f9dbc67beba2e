/**
 * BGP: pods on other nodes are reached because of it, and the rest of the network learns where this node's are.
 *
 * Data flow: resources → `config/` makes a `NodeBgp` of them (`model/`: what BGP shall be on this node) → a back end does it. Ours is
 * `speaker.ts`: sessions (`session/`, one `peering.ts` each, messages in `wire/`), tables (`rib/`) with the filters between (`policy/`), the
 * kernel (`programming.ts`, `kernel/`), and liveness (`bfd/`). The other renders the same for a real BIRD and drives it (`bird/`). `control/` is how the process
 * is asked for its state.
 *
 * RFC 4271 with 1997, 2385, 2545, 2918, 4360, 4456, 4486, 4724, 4760, 5082, 5492, 5880-5883, 6793, 7313, 7606, 7911 (receiving), 8092, 8538, 8654, 8950,
 * 9003, 9072. Known gaps: families other than IPv4 and IPv6 unicast; routes are not sent with add-path; TCP-AO.
 */
export type { Backend } from "./backend.ts";
export { type BirdBackendOptions, openBirdBackend } from "./bird-backend.ts";
export { type Edges, realEdges } from "./edges.ts";
export { openSpeaker, type SpeakerOptions } from "./speaker.ts";
