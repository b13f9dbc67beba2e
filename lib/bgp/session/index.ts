/**
 * Sessions with peers: from options to messages that come and go, and to words about why nothing does.
 *
 * {@link openListener} takes connections, one socket for all peers of a family; {@link openSession} is one session with one peer, for good: it
 * connects and is connected to, and begins anew after errors, until it is closed.
 *
 *   socket ── transport.ts, listener.ts ──> Connection ── link.ts ──> messages ──┐
 *                                                                               ├─ machine.ts: (state, event) -> (state, actions)
 *   clock, chance ── session.ts ──> timers ─────────────────────────────────────┘          │
 *   handler <── session.ts carries the actions out ────────────────────────────────────────┘
 *
 * The machine (machine.ts, open.ts, retry.ts, words.ts) is pure: no sockets, no time. An Established session's UPDATEs do not pass through it. All sessions of
 * the process take turns in working off what came (turns.ts): a slice of two milliseconds each, eight before the event loop goes round.
 * What is sent goes into one buffer a connection (outbox.ts), which takes 256 KiB before `send` answers false; reading stops 128 KiB ahead
 * of what was worked off, and then the other's kernel has to wait.
 *
 * Timers look when they go off whether they are due: a message costs no timer. A hold timer that finds bytes unread gives them a second, because
 * then it was this process that was slow.
 *
 * RFC 4271 (8: state machine, 6.8: collisions, 10: timers), 2385 (TCP-MD5), 4486 and 9384 (subcodes of Cease), 4724 and 8538 (which
 * routes are kept), 5082 (TTL security), 5492, 6286 (router ids), 6608 (state machine errors), 8654, 9003 (words), 9687 (send hold timer).
 *
 * Known gaps: DelayOpen (RFC 4271 8.1.1) and the old dance of retrying without capabilities are not there. TCP-AO is not. The
 * kernel has one TCP-MD5 key an address, so two link-local peers of the same address on two interfaces share it. What the kernel drops is
 * counted for the whole namespace: whose wrong key it was is not known, and passive sessions suspect what may be another's.
 */
export type * from "./environment.ts";
export { type ListenerOptions, openListener } from "./listener.ts";
export { DEFAULT_TIMES, openSession } from "./session.ts";
export { openTransport } from "./transport.ts";
export type * from "./types.ts";
