/**
 * The state machine of RFC 4271 8, of one peer with all its connections: a pure function from a state and an event to the next state and
 * what is to be done. No sockets, no clock, no chance: times are asked for (`arm`), and what is to be spread is marked so.
 *
 * The RFC has a machine for each connection. Here they are one value, because nearly all that is difficult is between them: at most one
 * connection that this side made and one that the other made are on their way up, and beside them at most one is Established.
 *
 *   Idle        after an error that would only be met again: nobody is let in, until the idle timer goes off
 *   Started     connections come and go; the connect timer makes the next one
 *   Closed      for good
 *
 * Where the RFC leaves a choice, or experience asks for another:
 * - Only errors of the protocol (what was sent cannot be read, an OPEN that is not accepted) lead to Idle. After a lost connection, a hold timer or a
 *   Cease of the other, this side goes on listening: refusing the other while it tries to come back would only take longer.
 * - The other opens a new connection while a session is up (RFC 4724 5: it has restarted): the old session goes once an acceptable OPEN
 *   has come on the new one, not when it connects. Anybody on that host can connect. In the first ten seconds of a session, and without graceful
 *   restart, the new one is closed (RFC 4271 6.8), as it comes of both sides having connected at once. The old one is sent a
 *   KEEPALIVE: had the other indeed lost it, its kernel answers with RST.
 * - RFC 4271 6.8 compares router ids when an OPEN comes; with an Established connection the new one goes.
 * - When to try again is in retry.ts: intervals begin anew with each session.
 */
import {
  type Capabilities,
  CEASE,
  ERROR,
  encodeNotification,
  type Family,
  HEADER_LENGTH,
  type Notification,
  type Open,
} from "../wire/index.ts";
import { judgeOpen, keptInitiator, type OwnOpen, type Settled, settle } from "./open.ts";
import { STABLE_AFTER, type Tries, untilConnect, untilStarted } from "./retry.ts";
import type { SessionOptions, SessionTimes, State } from "./types.ts";
import {
  blockedProblem,
  lostProblem,
  malformedProblem,
  type Problem,
  receivedProblem,
  replacedProblem,
  silentProblem,
  unacceptableProblem,
} from "./words.ts";

export type Step = "Connect" | "OpenSent" | "OpenConfirm" | "Established";

export interface ConnectionState {
  readonly id: number;
  readonly initiator: "local" | "remote";
  readonly step: Step;
  /** The other's, and what came of it: from OpenConfirm on. */
  readonly open?: Open;
  readonly settled?: Settled;
}

export interface Machine extends Tries {
  readonly phase: "Idle" | "Started" | "Closed";
  readonly connections: readonly ConnectionState[];
  readonly nextId: number;
  /** The session has been up for a while. */
  readonly stable: boolean;
}

/** What of the options concerns the machine. */
export type Rules = OwnOpen &
  Pick<SessionOptions, "address" | "interface" | "port" | "sourceAddress" | "password" | "ttlSecurity" | "passive"> & {
    readonly times: SessionTimes;
  };

export type Event =
  | { readonly type: "start" }
  | { readonly type: "close"; readonly graceful: boolean; readonly text?: string }
  | { readonly type: "reset"; readonly problem: Problem }
  | { readonly type: "timer"; readonly timer: PeerTimer }
  | { readonly type: "connected"; readonly id: number }
  | { readonly type: "connectFailed"; readonly id: number; readonly problem: Problem }
  /** Somebody connected; `adopt` or `reject` follows. */
  | { readonly type: "accepted" }
  | { readonly type: "open"; readonly id: number; readonly open: Open; readonly offered: Capabilities }
  | { readonly type: "keepalive" | "update" | "refresh"; readonly id: number }
  | { readonly type: "notification"; readonly id: number; readonly notification: Notification }
  | { readonly type: "malformed"; readonly id: number; readonly notification: Notification; readonly words: string }
  | { readonly type: "lost"; readonly id: number; readonly errno?: string }
  /** Nothing came in time: no OPEN, or nothing for the hold time. */
  | { readonly type: "silent"; readonly id: number }
  | { readonly type: "keepaliveDue"; readonly id: number }
  /** Nothing could be sent for that many seconds (RFC 9687). */
  | { readonly type: "blocked"; readonly id: number; readonly time: number };

/** connect: try; idle: let others in again, and try; stable: see {@link Machine}. */
export type PeerTimer = "connect" | "idle" | "stable";

export type Action =
  | { readonly type: "connect"; readonly id: number }
  | { readonly type: "adopt"; readonly id: number }
  | { readonly type: "reject"; readonly notification?: Notification }
  | { readonly type: "sendOpen" | "sendKeepalive"; readonly id: number }
  /** Tells the other, where there is something to tell, and closes. Its timers end. */
  | { readonly type: "drop"; readonly id: number; readonly notification?: Notification }
  /** In milliseconds; `spread`: by up to a quarter less. What is armed already is armed anew. */
  | { readonly type: "arm"; readonly timer: PeerTimer; readonly after: number; readonly spread: boolean }
  | { readonly type: "disarm"; readonly timer: PeerTimer }
  /** How long the connection may be silent, and how often it is to be told of us; milliseconds, 0 for never. */
  | { readonly type: "watch"; readonly id: number; readonly silence: number; readonly keepalive: number }
  | { readonly type: "established"; readonly id: number; readonly open: Open; readonly settled: Settled }
  | { readonly type: "problem"; readonly problem: Problem }
  | { readonly type: "down"; readonly problem: Problem; readonly keep: readonly Family[]; readonly time: number };

const NOTHING = new Uint8Array(0);

export const INITIAL: Machine = {
  phase: "Idle",
  connections: [],
  nextId: 1,
  failures: 0,
  oscillations: 0,
  errors: 0,
  stable: false,
};

/** The state's name in RFC 4271 8.2.2: of the connection that is farthest. */
export function stateOf(machine: Machine): State {
  if (machine.phase !== "Started") return "Idle";
  const steps = machine.connections.map(({ step }) => step);
  for (const step of ["Established", "OpenConfirm", "OpenSent", "Connect"] as const) {
    if (steps.includes(step)) return step;
  }
  return "Active";
}

export function step(machine: Machine, event: Event, rules: Rules): { machine: Machine; actions: readonly Action[] } {
  const run = new Run(machine, rules);
  run.take(event);
  return { machine: run.machine, actions: run.actions };
}

/** What an ended connection leads to: `again` soon, `later` with growing intervals, `idle`. */
type Next = "again" | "later" | "idle";

class Run {
  machine: Machine;
  readonly actions: Action[] = [];
  readonly #rules: Rules;

  constructor(machine: Machine, rules: Rules) {
    this.machine = machine;
    this.#rules = rules;
  }

  take(event: Event): void {
    if (this.machine.phase === "Closed") {
      if (event.type === "accepted") this.#do({ type: "reject" });
      return;
    }
    switch (event.type) {
      case "start":
        this.#set({ phase: "Started" });
        if (!this.#rules.passive) this.#arm("connect", this.#rules.times.connectDelay);
        return;
      case "close":
        this.#close(event);
        return;
      case "reset":
        this.#reset(event.problem);
        return;
      case "timer":
        this.#timer(event.timer);
        return;
      case "accepted":
        this.#accepted();
        return;
      default: {
        const connection = this.machine.connections.find(({ id }) => id === event.id);
        // It was dropped while this was on its way.
        if (connection) this.#onConnection(connection, event);
      }
    }
  }

  #onConnection(connection: ConnectionState, event: Extract<Event, { readonly id: number }>): void {
    const { id, step: at } = connection;
    switch (event.type) {
      case "connected":
        if (at === "Connect") this.#opening(id);
        return;
      case "connectFailed":
        if (at === "Connect") this.#end(connection, event.problem, "later", undefined);
        return;
      case "open":
        if (at === "OpenSent") {
          this.#open(connection, event.open, event.offered);
          return;
        }
        this.#unexpected(connection, "an OPEN");
        return;
      case "keepalive":
        if (at === "OpenConfirm") {
          this.#establish(connection);
          return;
        }
        if (at === "OpenSent") {
          this.#unexpected(connection, "a KEEPALIVE");
          return;
        }
        return;
      case "update":
        if (at !== "Established") this.#unexpected(connection, "an UPDATE");
        return;
      case "refresh":
        if (at !== "Established") this.#unexpected(connection, "a ROUTE-REFRESH");
        return;
      case "notification":
        this.#notification(connection, event.notification);
        return;
      case "malformed": {
        const problem = malformedProblem(this.#rules, event.notification, event.words);
        this.#end(connection, problem, "idle", event.notification);
        return;
      }
      case "lost":
        if (at === "Connect") return;
        // RFC 4724 4.2: the one case that graceful restart was made for.
        this.#end(connection, lostProblem(this.#rules, at, event.errno), "again", undefined, "lost");
        return;
      case "silent": {
        if (at === "Connect") return;
        const holdTime = connection.settled?.holdTime || this.#rules.times.openWait / 1000;
        const time = at === "OpenSent" ? this.#rules.times.openWait / 1000 : holdTime;
        const notification = notificationOf(ERROR.HOLD_TIMER, 0);
        this.#end(connection, silentProblem(this.#rules, at, time), "again", notification);
        return;
      }
      case "keepaliveDue":
        if (at === "OpenConfirm" || at === "Established") this.#do({ type: "sendKeepalive", id });
        return;
      case "blocked":
        // RFC 9687 4: told as well as can be, with code 8.
        this.#end(connection, blockedProblem(this.#rules, event.time), "again", notificationOf(8, 0));
        return;
    }
  }

  #timer(timer: PeerTimer): void {
    if (timer === "stable") {
      if (this.#established()) this.#set({ stable: true, oscillations: 0, errors: 0 });
      return;
    }
    if (timer === "idle") {
      if (this.machine.phase !== "Idle") return;
      this.#set({ phase: "Started" });
    }
    const { phase, connections, nextId } = this.machine;
    if (phase !== "Started" || this.#rules.passive) return;
    if (connections.some(({ initiator, step: at }) => initiator === "local" || at === "OpenConfirm" || isUp(at)))
      return;
    this.#add({ id: nextId, initiator: "local", step: "Connect" });
    this.#do({ type: "connect", id: nextId });
  }

  #accepted(): void {
    const { phase, connections, nextId, stable } = this.machine;
    if (phase === "Idle") {
      this.#do({ type: "reject", notification: notificationOf(ERROR.CEASE, CEASE.CONNECTION_REJECTED) });
      return;
    }
    const up = this.#established();
    if (up) this.#do({ type: "sendKeepalive", id: up.id });
    const before = connections.find(({ initiator, step: at }) => initiator === "remote" && !isUp(at));
    if ((up && !(stable && up.settled?.restart)) || before?.step === "OpenConfirm") {
      this.#do({ type: "reject", notification: notificationOf(ERROR.CEASE, CEASE.COLLISION) });
      return;
    }
    // The other has one at a time: it has given up the one before, and only the news of that are not here yet.
    if (before) this.#drop(before, notificationOf(ERROR.CEASE, CEASE.COLLISION));
    this.#add({ id: nextId, initiator: "remote", step: "OpenSent" });
    this.#do({ type: "adopt", id: nextId });
    this.#opening(nextId);
  }

  #opening(id: number): void {
    this.#patch(id, { step: "OpenSent" });
    this.#do({ type: "sendOpen", id });
    this.#do({ type: "watch", id, silence: this.#rules.times.openWait, keepalive: 0 });
  }

  #open(connection: ConnectionState, open: Open, offered: Capabilities): void {
    const { id } = connection;
    const refused = judgeOpen(this.#rules, offered, open);
    if (refused) {
      this.#end(connection, unacceptableProblem(this.#rules, refused.why), "idle", refused.notification);
      return;
    }
    const collision = notificationOf(ERROR.CEASE, CEASE.COLLISION);
    const up = this.#established();
    if (up) {
      // With another router id it is not the one that has restarted, but a second speaker behind the same address.
      if (!this.machine.stable || !up.settled?.restart || up.open?.routerId !== open.routerId) {
        this.#drop(connection, collision);
        return;
      }
      const { families, time } = up.settled.restart;
      this.#drop(up, undefined);
      this.#down(replacedProblem(this.#rules), families, time);
    }
    const rival = this.machine.connections.find(({ step: at }) => at === "OpenConfirm");
    if (rival) {
      const kept = keptInitiator(this.#rules, open);
      this.#drop(connection.initiator === kept ? rival : connection, collision);
      if (connection.initiator !== kept) return;
    }
    const settled = settle(this.#rules, offered, open);
    this.#patch(id, { step: "OpenConfirm", open, settled });
    this.#do({ type: "sendKeepalive", id });
    this.#do({
      type: "watch",
      id,
      silence: settled.holdTime * 1000 || this.#rules.times.openWait,
      keepalive: settled.keepaliveTime * 1000,
    });
  }

  #establish(connection: ConnectionState): void {
    const { id, open, settled } = connection;
    if (!open || !settled) return;
    for (const other of this.machine.connections) {
      if (other.id !== id) this.#drop(other, notificationOf(ERROR.CEASE, CEASE.COLLISION));
    }
    this.#patch(id, { step: "Established" });
    this.#set({ stable: false, failures: 0 });
    this.#do({ type: "disarm", timer: "connect" });
    this.#arm("stable", STABLE_AFTER, false);
    if (settled.holdTime === 0) this.#do({ type: "watch", id, silence: 0, keepalive: 0 });
    this.#do({ type: "established", id, open, settled });
  }

  #notification(connection: ConnectionState, notification: Notification): void {
    const { code, subcode } = notification;
    const problem = receivedProblem(this.#rules, notification);
    const cease = code === ERROR.CEASE;
    if (cease && subcode === CEASE.COLLISION && !isUp(connection.step)) {
      // Not an error: the other connection is the one that counts. Where there is none, the other has one that it takes for good.
      this.#drop(connection, undefined);
      this.#goOn("later", undefined);
      return;
    }
    // RFC 8538 4: only where both said so, and not after a hard reset.
    const kept = cease && subcode === CEASE.HARD_RESET ? undefined : "notification";
    this.#end(connection, problem, cease || code === ERROR.HOLD_TIMER ? "later" : "idle", undefined, kept);
  }

  #unexpected(connection: ConnectionState, what: string): void {
    const { step: at } = connection;
    // RFC 6608 3.
    const subcode = at === "OpenSent" ? 1 : at === "OpenConfirm" ? 2 : 3;
    const notification = notificationOf(ERROR.FSM, subcode);
    this.#end(connection, malformedProblem(this.#rules, notification, `${what} in ${at}`), "idle", notification);
  }

  #close({ graceful, text }: Extract<Event, { readonly type: "close" }>): void {
    const problem: Problem = { code: "SHUTDOWN", message: text ? `shut down here: ${text}` : "shut down here" };
    const up = this.#established();
    for (const connection of this.machine.connections) {
      const cease: Notification = {
        ...notificationOf(ERROR.CEASE, CEASE.ADMINISTRATIVE_SHUTDOWN),
        ...(text && { text }),
      };
      this.#drop(connection, graceful ? this.#hard(connection, cease) : undefined);
    }
    for (const timer of ["connect", "idle", "stable"] as const) this.#do({ type: "disarm", timer });
    this.#set({ phase: "Closed" });
    // Silently: the process goes away, and what was learned is to stay where it is.
    if (up) this.#down(problem, graceful ? [] : (up.settled?.negotiated.families ?? []), 0);
    else this.#do({ type: "problem", problem });
  }

  #reset(problem: Problem): void {
    const up = this.#established();
    const subcode =
      problem.code === "BFD_DOWN"
        ? CEASE.BFD_DOWN
        : problem.code === "CONFIGURATION_CHANGED"
          ? CEASE.OTHER_CONFIGURATION_CHANGE
          : CEASE.ADMINISTRATIVE_RESET;
    const cease = notificationOf(ERROR.CEASE, subcode);
    // RFC 9384 and 8538: the way to the other is broken, so nothing that leads there is to be kept.
    const broken = problem.code === "BFD_DOWN";
    for (const connection of this.machine.connections) {
      this.#drop(connection, broken ? this.#hard(connection, cease) : cease);
    }
    if (up) {
      const restart = !broken && up.settled?.restart?.notification ? up.settled.restart : undefined;
      this.#down(problem, restart?.families ?? [], restart?.time ?? 0);
    } else {
      this.#do({ type: "problem", problem });
    }
    this.#do({ type: "disarm", timer: "idle" });
    this.#set({ phase: "Started", failures: 0, errors: 0 });
    if (!this.#rules.passive) this.#arm("connect", untilConnect(this.#rules.times, this.machine, true));
  }

  /** The NOTIFICATION as a hard reset, where the other would keep routes otherwise (RFC 8538 3). */
  #hard(connection: ConnectionState, inner: Notification): Notification {
    if (!isUp(connection.step) || !connection.settled?.restart?.notification) return inner;
    const data = encodeNotification(inner).slice(HEADER_LENGTH);
    return { code: ERROR.CEASE, subcode: CEASE.HARD_RESET, data };
  }

  /** A connection has come to its end; `kept`: by which rule the routes of a session may be kept. */
  #end(
    connection: ConnectionState,
    problem: Problem,
    next: Next,
    notification: Notification | undefined,
    kept: "lost" | "notification" | undefined = notification ? "notification" : undefined,
  ): void {
    this.#drop(connection, notification);
    if (isUp(connection.step)) {
      const restart = connection.settled?.restart;
      const keep = restart && (kept === "lost" || (kept === "notification" && restart.notification));
      this.#down(problem, keep ? restart.families : [], keep ? restart.time : 0);
    } else {
      this.#do({ type: "problem", problem });
    }
    this.#goOn(next, connection);
  }

  /** What comes after the end of a connection. Where others are on their way they go on, and whatever is wrong they will meet, too. */
  #goOn(next: Next, ended: ConnectionState | undefined): void {
    const { times, passive } = this.#rules;
    const { machine } = this;
    if (machine.connections.length > 0) return;
    if (next === "idle") {
      this.#set({ phase: "Idle", errors: machine.errors + 1 });
      this.#do({ type: "disarm", timer: "connect" });
      this.#arm("idle", untilStarted(times, machine));
      return;
    }
    const after = untilConnect(times, machine, next === "again" && ended !== undefined && isUp(ended.step));
    this.#set({ failures: machine.failures + 1 });
    if (!passive) this.#arm("connect", after);
  }

  #established(): ConnectionState | undefined {
    return this.machine.connections.find(({ step: at }) => isUp(at));
  }

  #down(problem: Problem, keep: readonly Family[], time: number): void {
    const { stable, oscillations } = this.machine;
    this.#set({ stable: false, oscillations: stable ? 0 : oscillations + 1 });
    this.#do({ type: "disarm", timer: "stable" });
    this.#do({ type: "down", problem, keep, time: keep.length > 0 ? time : 0 });
  }

  #drop(connection: ConnectionState, notification: Notification | undefined): void {
    this.#set({ connections: this.machine.connections.filter(({ id }) => id !== connection.id) });
    const tell = notification && connection.step !== "Connect";
    this.#do({ type: "drop", id: connection.id, ...(tell && { notification }) });
  }

  #add(connection: ConnectionState): void {
    this.#set({ connections: [...this.machine.connections, connection], nextId: this.machine.nextId + 1 });
  }

  #patch(id: number, patch: Partial<ConnectionState>): void {
    const connections = this.machine.connections.map((one) => (one.id === id ? { ...one, ...patch } : one));
    this.#set({ connections });
  }

  #set(patch: Partial<Machine>): void {
    this.machine = { ...this.machine, ...patch };
  }

  #arm(timer: PeerTimer, after: number, spread = true): void {
    this.#do({ type: "arm", timer, after, spread });
  }

  #do(action: Action): void {
    this.actions.push(action);
  }
}

function isUp(at: Step): boolean {
  return at === "Established";
}

function notificationOf(code: number, subcode: number): Notification {
  return { code, subcode, data: NOTHING };
}
