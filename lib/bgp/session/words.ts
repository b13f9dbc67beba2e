/** Errors of a session in words a user acts on: what was seen, and where to look. Pure. */
import { formatAddress } from "../../ip/index.ts";
import { CEASE, describeNotification, ERROR, type Notification, OPEN_ERROR } from "../wire/index.ts";
import type { ConnectFailure, Drops } from "./environment.ts";
import type { SessionError, SessionOptions } from "./types.ts";

/** A SessionError before it happened. */
export type Problem = Pick<SessionError, "code" | "message">;

type Options = Pick<
  SessionOptions,
  "address" | "interface" | "port" | "sourceAddress" | "password" | "ttlSecurity" | "localAsn" | "peerAsn"
>;

/** `10.0.0.2`, `fe80::1%eth0`. */
export function peerText(options: Pick<Options, "address" | "interface">): string {
  return formatAddress(options.address) + (options.interface ? `%${options.interface}` : "");
}

const PLACE_PORT = (options: Options) => `${peerText(options)} port ${options.port}`;
const FROM = (options: Options) => (options.sourceAddress ? ` from ${formatAddress(options.sourceAddress)}` : "");

/** Why there is no connection. `waited` is how long was waited for an answer, `drops` what the kernel dropped in that time. */
export function connectProblem(
  options: Options,
  failure: ConnectFailure,
  waited: number,
  drops: Drops | undefined,
): Problem {
  const there = PLACE_PORT(options);
  const from = FROM(options);
  switch (failure.errno) {
    case "ECONNREFUSED":
      return {
        code: "REFUSED",
        message: `refused: nothing listens on ${there}, or a firewall rejects connections${from}`,
      };
    case "ENETUNREACH":
      return { code: "NO_ROUTE", message: `no route to ${peerText(options)}${from}` };
    case "EHOSTUNREACH":
      return {
        code: "NO_ROUTE",
        message: `${peerText(options)} cannot be reached${from}: it does not answer on its network (ARP or neighbour discovery), or a router knows no way to it`,
      };
    case "EADDRNOTAVAIL":
      return options.sourceAddress && failure.call === "bind"
        ? {
            code: "NO_ROUTE",
            message: `cannot speak from ${formatAddress(options.sourceAddress)}: it is no address of this node`,
          }
        : { code: "NO_ROUTE", message: `no local address to reach ${peerText(options)} from` };
    case "ENODEV":
      return { code: "NO_ROUTE", message: `there is no interface ${options.interface ?? ""} to reach ${there} on` };
    case "EACCES":
    case "EPERM":
      return {
        code: "REFUSED",
        message: `this node's own firewall or routes forbid connections to ${there}${from} (${failure.errno})`,
      };
    case "ECONNRESET":
      return { code: "REFUSED", message: `${there} broke the connection off while it was being made` };
    case "ETIMEDOUT":
      return timeoutProblem(options, waited, drops);
    default:
      return { code: "INTERNAL", message: `cannot connect to ${there}${from}: ${failure.call}: ${failure.errno}` };
  }
}

/** Of what the kernel dropped, the segments that a session with or without a password would explain: its own keys are asked of no other. */
export function foreignSegments({ password }: Pick<Options, "password">, drops: Drops | undefined): number {
  if (!drops) return 0;
  return password === undefined ? drops.unexpectedMd5 : drops.md5 - drops.unexpectedMd5;
}

/** Of a session that only waits, while the kernel drops segments: whose they were is not known. */
export function unheardProblem(options: Options, segments: number): Problem {
  const dropped = `nobody has connected from ${peerText(options)}, but this node dropped ${count(segments, "segment")}`;
  return {
    code: "MD5_SUSPECTED",
    message: options.password
      ? `${dropped} with another signature or none, of it or of another peer: the passwords of both sides seem to differ`
      : `${dropped} whose signature was unexpected, of it or of another peer: the other side seems to have a password for this node`,
  };
}

/** Silence has many causes, and TCP-MD5 is one that leaves traces: who has the wrong key gets no answer, and the kernel counts what it drops. */
function timeoutProblem(options: Options, waited: number, drops: Drops | undefined): Problem {
  const to = options.sourceAddress ? ` to ${formatAddress(options.sourceAddress)}` : "";
  const silence = `no answer from ${PLACE_PORT(options)}${to} for ${seconds(waited)} s`;
  const md5 = foreignSegments(options, drops);
  const ttl = drops?.ttl ?? 0;
  if (md5 > 0) {
    const dropped = `meanwhile this node dropped ${count(md5, "segment")}`;
    return {
      code: "MD5_SUSPECTED",
      message: options.password
        ? `${silence}; a password is set, and ${dropped} with another signature or none: the passwords of both sides seem to differ`
        : `${silence}; no password is set, but ${dropped} whose signature was unexpected or wrong: the other side seems to have a password for this node`,
    };
  }
  if (ttl > 0 && options.ttlSecurity !== undefined) {
    return {
      code: "TIMED_OUT",
      message: `${silence}; meanwhile this node dropped ${count(ttl, "segment")} with too low a TTL: ttlSecurity ${options.ttlSecurity} wants the other at most so many hops away, sending with TTL 255 (is TTL security on there, too?)`,
    };
  }
  if (options.password) {
    return {
      code: "MD5_SUSPECTED",
      message: `${silence}; a password is set, and a peer with another password, or without one, does not answer at all; a firewall that drops would look the same`,
    };
  }
  return {
    code: "TIMED_OUT",
    message: `${silence}: it is down, a firewall drops the packets, ${
      options.ttlSecurity === undefined ? "" : `it is more than ${count(options.ttlSecurity, "hop")} away, `
    }or it has a password for this node`,
  };
}

/** Of a connection that ended without NOTIFICATION. */
export function lostProblem(
  options: Options,
  step: "OpenSent" | "OpenConfirm" | "Established",
  errno?: string,
): Problem {
  const peer = peerText(options);
  const how = errno === undefined ? "closed the connection" : `broke the connection (${errno})`;
  if (step === "OpenSent") {
    const here = options.sourceAddress ? formatAddress(options.sourceAddress) : "this node's address";
    return {
      code: "CONNECTION_LOST",
      message: `${peer} took the connection and ${how} without a word: it may not have ${here} as a peer, or it is not ready`,
    };
  }
  const when = step === "OpenConfirm" ? " right after the OPENs" : "";
  return { code: "CONNECTION_LOST", message: `${peer} ${how}${when}, without a NOTIFICATION` };
}

export function silentProblem(
  options: Options,
  step: "OpenSent" | "OpenConfirm" | "Established",
  time: number,
): Problem {
  const peer = peerText(options);
  if (step === "OpenSent") {
    const security =
      options.ttlSecurity === undefined
        ? ""
        : `; ttlSecurity ${options.ttlSecurity} drops what comes from farther away, and from a peer without TTL security`;
    return { code: "TIMED_OUT", message: `connected to ${peer}, but no OPEN came for ${time} s${security}` };
  }
  return { code: "HOLD_TIMER", message: `hold timer expired: nothing heard from ${peer} for ${time} s` };
}

export function blockedProblem(options: Options, time: number): Problem {
  return {
    code: "HOLD_TIMER",
    message: `send hold timer expired: ${peerText(options)} has taken nothing of what is sent for ${time} s (RFC 9687)`,
  };
}

export function receivedProblem(options: Options, notification: Notification): Problem {
  const peer = peerText(options);
  const words = describeNotification(notification);
  if (notification.code === ERROR.OPEN) {
    return {
      code: "OPEN_REJECTED",
      message: `${words.replace("OPEN rejected", `OPEN rejected by ${peer}`)}${hint(options, notification)}`,
    };
  }
  return {
    code: "NOTIFICATION_RECEIVED",
    message: `${peer} ended the session: ${words}${hint(options, notification)}`,
  };
}

function hint(options: Options, { code, subcode }: Notification): string {
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.BAD_PEER_AS) {
    return `: it expects another AS than ${options.localAsn}`;
  }
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.BAD_BGP_IDENTIFIER) {
    return ": it has the same router id as this node, or does not take ours";
  }
  if (code === ERROR.CEASE && subcode === CEASE.CONNECTION_REJECTED) {
    return ": it knows this node, and does not want a session now";
  }
  if (code === ERROR.CEASE && subcode === CEASE.PEER_DECONFIGURED) return ": it has this node as a peer no more";
  return "";
}

/** An OPEN that was read, but is none of the peer that is configured, or of one that is no use. */
export function unacceptableProblem(options: Options, why: string): Problem {
  return { code: "OPEN_UNACCEPTABLE", message: `OPEN of ${peerText(options)} not accepted: ${why}` };
}

/** What came cannot be read, or not at that point. */
export function malformedProblem(options: Options, notification: Notification, why: string): Problem {
  const code = notification.code === ERROR.OPEN ? "OPEN_UNACCEPTABLE" : "NOTIFICATION_SENT";
  return {
    code,
    message: `${peerText(options)} sent ${why}; told it: ${describeNotification(notification)}`,
  };
}

export function replacedProblem(options: Options): Problem {
  return {
    code: "CONNECTION_LOST",
    message: `${peerText(options)} opened a new session while the old one was up: it has restarted (RFC 4724 5)`,
  };
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 100) / 10;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
