/**
 * Bidirectional forwarding detection: a session with a neighbour that notices within a fraction of a second when packets do not pass.
 *
 * `packet.ts` is the codec, `machine.ts` the state machine of one session: given packets and the time, it says what to send and when it wants to be
 * asked again; neither has a socket or a timer. `engine.ts` has both: one receiving socket a local address, one sending socket a session, and one timer for
 * all of them. What the engine needs of the outside is a `Transport` (`udp.ts` for the kernel), so that two engines can be run against
 * each other on a clock of a test's own. The kernel checks the TTL of single-hop packets, by a socket filter: what fails never wakes us.
 *
 * Detection holds when this process is late: before a session is declared dead, the receiving sockets are read empty.
 *
 * RFC 5880: asynchronous mode, 4.1 (format), 6.1-6.8.7, 6.8.16-6.8.17; the other's demand mode is honoured (6.6). RFC 5881: single hop, UDP
 * 3784. RFC 5882 4.2: a session that is shut down by intent says so. RFC 5883: multihop, UDP 4784. Known gaps: echo, demand mode of our own, authentication,
 * the passive role; a single-hop packet's interface is checked for link-local addresses only.
 */
export { openBfd } from "./engine.ts";
export type {
  Bfd,
  BfdClock,
  BfdEngineOptions,
  BfdOptions,
  BfdSession,
  BfdState,
  BfdStatus,
  BfdTimes,
} from "./types.ts";
