/** A session: the state machine with sockets and timers around it. */
import {
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  decodeUpdate,
  encodeKeepalive,
  encodeOpen,
  encodeRouteRefresh,
  type Family,
  MESSAGE,
  type Message,
  type Notification,
} from "../wire/index.ts";
import { attempt, watchForSegments } from "./attempt.ts";
import type { Clock, Connection, Environment, Listener, Timer, Transport } from "./environment.ts";
import { Link, type LinkContext, type LinkEvents } from "./link.ts";
import {
  type Action,
  type ConnectionState,
  type Event,
  INITIAL,
  type Machine,
  type PeerTimer,
  type Rules,
  stateOf,
  step,
} from "./machine.ts";
import { openTransport } from "./transport.ts";
import { sharedTurns } from "./turns.ts";
import type { Session, SessionError, SessionHandler, SessionOptions, SessionStatus, SessionTimes } from "./types.ts";
import type { Problem } from "./words.ts";

/** connectDelay, connectRetry and errorWait are what upstream's BIRD configuration asks for. */
export const DEFAULT_TIMES: SessionTimes = {
  connectDelay: 2_000,
  connectRetry: 5_000,
  connectRetryMost: 30_000,
  connectTimeout: 10_000,
  errorWait: 5_000,
  errorWaitMost: 30_000,
  openWait: 60_000,
};

const REAL_CLOCK: Clock = {
  now: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Connections that have ended and are still being told why; beyond that there is no answer. */
const MOST_LINGERING = 8;

/** Begins at once. Never throws, whatever the other does; a password that the kernel does not take is the session's last error. */
export function openSession(options: SessionOptions, handler: SessionHandler, environment: Environment): Session {
  return new RunningSession(options, handler, environment);
}

class RunningSession implements Session, LinkEvents {
  readonly #options: SessionOptions;
  readonly #rules: Rules;
  readonly #handler: SessionHandler;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #outside: { readonly clock: Clock; readonly transport: Transport };
  readonly #context: LinkContext;

  #machine: Machine = INITIAL;
  readonly #events: Event[] = [];
  #stepping = false;
  /** Connections by the machine's number; those of step Connect are attempts. */
  readonly #links = new Map<number, Link>();
  readonly #attempts = new Map<number, Timer>();
  readonly #lingering = new Set<Link>();
  readonly #timers = new Map<PeerTimer, Timer>();
  #registration: { close(): void } | undefined;
  /** What was just accepted, until the machine has decided. */
  #arrival: Connection | undefined;
  #up: { readonly link: Link; readonly state: ConnectionState } | undefined;

  #status: Pick<SessionStatus, "state" | "since">;
  #lastError: SessionError | undefined;
  #endedBy: SessionError | undefined;
  #stepError: SessionError | undefined;
  #sent = 0;
  #received = 0;
  #flaps = 0;
  #suspended = false;
  /** While nobody connects to a passive session. */
  #unheard: Timer | undefined;
  #closing: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(options: SessionOptions, handler: SessionHandler, environment: Environment) {
    this.#options = options;
    this.#rules = { ...options, times: { ...DEFAULT_TIMES, ...options.times } };
    this.#handler = handler;
    this.#clock = environment.clock ?? REAL_CLOCK;
    this.#random = environment.random ?? Math.random;
    this.#outside = { clock: this.#clock, transport: environment.transport ?? openTransport() };
    this.#context = { clock: this.#clock, random: this.#random, turns: sharedTurns, events: this };
    this.#status = { state: "Idle", since: this.#clock.now() };
    if (environment.listener) this.#register(environment.listener);
    this.#later({ type: "start" });
  }

  get status(): SessionStatus {
    const best = this.#up?.state ?? this.#machine.connections.find(({ open }) => open);
    const link = best && this.#links.get(best.id);
    return {
      ...this.#status,
      ...(this.#lastError && { lastError: this.#lastError }),
      ...(this.#endedBy && { endedBy: this.#endedBy }),
      ...(best?.open && { peer: best.open }),
      ...(best?.settled && { negotiated: best.settled.negotiated, holdTime: best.settled.holdTime }),
      ...(link && { localAddress: link.connection.local }),
      messages: this.#counts(),
      flaps: this.#flaps,
    };
  }

  send(message: Uint8Array): boolean {
    const link = this.#up?.link;
    if (!link) return true;
    const room = link.send(message);
    if (!room && link.overflown) {
      this.#later({ type: "reset", problem: internal("far more was sent than there is room for") });
    }
    return room;
  }

  requestRefresh(family: Family): boolean {
    const { link, state } = this.#up ?? {};
    if (!link?.offered?.routeRefresh || !state?.open?.capabilities.routeRefresh) return false;
    if (!state.settled?.negotiated.families.includes(family)) return false;
    this.send(encodeRouteRefresh({ family, kind: "request" }));
    return true;
  }

  pause(): void {
    this.#suspended = true;
    this.#up?.link.suspend(true);
  }

  resume(): void {
    this.#suspended = false;
    this.#up?.link.suspend(false);
  }

  reset(error: Pick<SessionError, "code" | "message">): void {
    this.#later({ type: "reset", problem: { code: error.code, message: error.message } });
  }

  close(how: { readonly graceful: boolean; readonly text?: string }): Promise<void> {
    if (this.#closing) return this.#closing.promise;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closing = { promise, resolve };
    this.#later({ type: "close", ...how });
    return promise;
  }

  // --- The machine -------------------------------------------------------------------------------------------------

  /** For calls from outside: nothing is told from within them. */
  #later(event: Event): void {
    queueMicrotask(() => this.#post(event));
  }

  /** One event after the other, also those that come of carrying one out. */
  #post(event: Event): void {
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) this.#step(next);
    } finally {
      this.#stepping = false;
    }
  }

  #step(event: Event): void {
    const { machine, actions } = step(this.#machine, event, this.#rules);
    this.#machine = machine;
    this.#stepError = undefined;
    const state = stateOf(machine);
    const changed = state !== this.#status.state;
    if (changed) this.#status = { state, since: this.#clock.now() };
    for (const action of actions) this.#do(action);
    const error: SessionError | undefined = this.#stepError;
    if (changed || error) this.#tell(() => this.#handler.stateChanged(state, error), false);
    if (machine.phase === "Closed") this.#finish();
    else this.#watchWhileUnheard();
  }

  #do(action: Action): void {
    switch (action.type) {
      case "connect":
        this.#connect(action.id);
        return;
      case "adopt": {
        const arrival = this.#arrival;
        this.#arrival = undefined;
        if (arrival) this.#links.set(action.id, new Link(action.id, arrival, this.#context));
        return;
      }
      case "reject":
        this.#reject(action.notification);
        return;
      case "sendOpen":
        this.#sendOpen(action.id);
        return;
      case "sendKeepalive":
        this.#links.get(action.id)?.sendKeepalive(encodeKeepalive());
        return;
      case "watch":
        this.#links.get(action.id)?.watch(action.silence, action.keepalive);
        return;
      case "drop":
        this.#drop(action.id, action.notification);
        return;
      case "arm":
        this.#arm(action.timer, action.spread ? action.after * (0.75 + 0.25 * this.#random()) : action.after);
        return;
      case "disarm":
        this.#timers.get(action.timer)?.cancel();
        this.#timers.delete(action.timer);
        return;
      case "established": {
        const link = this.#links.get(action.id);
        const state = this.#machine.connections.find(({ id }) => id === action.id);
        if (!link || !state) return;
        this.#up = { link, state };
        link.suspend(this.#suspended);
        const { open, settled } = action;
        this.#tell(() => this.#handler.established(open, settled.negotiated, link.connection.local));
        return;
      }
      case "problem":
        this.#note(action.problem);
        return;
      case "down": {
        const error = this.#note(action.problem);
        this.#up = undefined;
        this.#endedBy = error;
        this.#flaps++;
        this.#tell(() => this.#handler.down(error, action.keep, action.time), false);
        return;
      }
    }
  }

  #note(problem: Problem): SessionError {
    const error: SessionError = { ...problem, at: this.#clock.now() };
    this.#lastError = error;
    this.#stepError = error;
    return error;
  }

  /** What is seen of an attempt before it is over; once, where it is the same as before. */
  #hint(problem: Problem): void {
    if (this.#lastError?.code === problem.code) {
      if (problem.code === "MD5_SUSPECTED") this.#lastError = { ...problem, at: this.#clock.now() };
      return;
    }
    const error = this.#note(problem);
    this.#tell(() => this.#handler.stateChanged(this.#status.state, error), false);
  }

  #watchWhileUnheard(): void {
    const unheard = this.#options.passive && this.#status.state === "Active";
    if (unheard) this.#unheard ??= watchForSegments(this.#options, this.#outside, (problem) => this.#hint(problem));
    else this.#hearAgain();
  }

  #hearAgain(): void {
    this.#unheard?.cancel();
    this.#unheard = undefined;
  }

  /** What the handler throws is its own mistake. The session says so, and begins anew; not where it was only told of the end, which would never end. */
  #tell(call: () => void, begins = true): void {
    try {
      call();
    } catch (error) {
      const problem = internal(`an error in what is done with its routes: ${String(error)}`);
      if (begins) this.reset(problem);
      else this.#lastError = { ...problem, at: this.#clock.now() };
    }
  }

  #arm(timer: PeerTimer, after: number): void {
    this.#timers.get(timer)?.cancel();
    const armed = this.#clock.after(after, () => {
      this.#timers.delete(timer);
      this.#post({ type: "timer", timer });
    });
    this.#timers.set(timer, armed);
  }

  // --- Connections -------------------------------------------------------------------------------------------------

  #register(listener: Listener): void {
    const { address, password, ttlSecurity } = this.#options;
    const on = this.#options.interface;
    try {
      this.#registration = listener.register({
        address,
        ...(on !== undefined && { interface: on }),
        ...(password !== undefined && { password }),
        ...(ttlSecurity !== undefined && { ttlSecurity }),
        accept: (connection) => {
          this.#arrival = connection;
          this.#post({ type: "accepted" });
        },
      });
    } catch (error) {
      this.#note(internal(`nobody can connect to this session: ${error instanceof Error ? error.message : error}`));
    }
  }

  #connect(id: number): void {
    const pending = attempt(this.#options, this.#outside, this.#rules.times.connectTimeout, {
      connected: (connection) => {
        this.#attempts.delete(id);
        this.#links.set(id, new Link(id, connection, this.#context));
        this.#post({ type: "connected", id });
      },
      failed: (problem) => {
        this.#attempts.delete(id);
        this.#post({ type: "connectFailed", id, problem });
      },
      hint: (problem) => this.#hint(problem),
    });
    this.#attempts.set(id, pending);
  }

  #reject(notification: Notification | undefined): void {
    const arrival = this.#arrival;
    this.#arrival = undefined;
    if (!arrival) return;
    if (!notification || this.#lingering.size >= MOST_LINGERING) {
      arrival.close();
      return;
    }
    const link = new Link(0, arrival, this.#context);
    this.#lingering.add(link);
    link.end(notification);
  }

  #sendOpen(id: number): void {
    const link = this.#links.get(id);
    if (!link) return;
    const { localAsn, holdTime, routerId } = this.#options;
    try {
      const capabilities = this.#options.capabilities();
      link.offered = capabilities;
      link.send(encodeOpen({ asn: localAsn, holdTime, routerId, capabilities }));
    } catch (error) {
      this.reset(internal(`cannot make an OPEN: ${String(error)}`));
    }
  }

  #drop(id: number, notification: Notification | undefined): void {
    const attempt = this.#attempts.get(id);
    if (attempt) {
      this.#attempts.delete(id);
      attempt.cancel();
    }
    const link = this.#links.get(id);
    if (!link) return;
    this.#links.delete(id);
    const lingers = this.#lingering.size < MOST_LINGERING;
    this.#lingering.add(link);
    link.end(lingers ? notification : undefined);
  }

  #counts(): SessionStatus["messages"] {
    let sent = this.#sent;
    let received = this.#received;
    for (const link of [...this.#links.values(), ...this.#lingering]) {
      sent += link.sent;
      received += link.received;
    }
    return { sent, received };
  }

  #finish(): void {
    this.#registration?.close();
    this.#registration = undefined;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#hearAgain();
    if (this.#lingering.size === 0) this.#closing?.resolve();
  }

  // --- What connections tell ---------------------------------------------------------------------------------------

  message(link: Link, message: Message): void {
    const { id } = link;
    const { type, body } = message;
    const up = this.#up?.link === link ? this.#up.state.settled : undefined;
    switch (type) {
      case MESSAGE.UPDATE: {
        if (!up) {
          this.#post({ type: "update", id });
          return;
        }
        const peer = this.#options.localAsn === this.#options.peerAsn ? "ibgp" : "ebgp";
        for (const update of decodeUpdate(body, up.negotiated, { peer })) {
          this.#tell(() => this.#handler.update(update));
        }
        return;
      }
      case MESSAGE.KEEPALIVE:
        if (!up) this.#post({ type: "keepalive", id });
        return;
      case MESSAGE.OPEN: {
        this.#post({ type: "open", id, open: decodeOpen(body), offered: link.offered ?? NOTHING_OFFERED });
        const settled = this.#machine.connections.find((one) => one.id === id)?.settled;
        if (settled?.negotiated.extendedMessages) link.allowExtended();
        return;
      }
      case MESSAGE.NOTIFICATION:
        this.#post({ type: "notification", id, notification: decodeNotification(body) });
        return;
      case MESSAGE.ROUTE_REFRESH: {
        if (!up) {
          this.#post({ type: "refresh", id });
          return;
        }
        const refresh = decodeRouteRefresh(body);
        if (refresh && up.negotiated.families.includes(refresh.family)) {
          this.#tell(() => this.#handler.refresh(refresh));
        }
        return;
      }
    }
  }

  malformed(link: Link, error: { readonly notification: Notification; readonly message: string }): void {
    this.#post({ type: "malformed", id: link.id, notification: error.notification, words: error.message });
  }

  failed(_link: Link, error: unknown): void {
    this.#post({ type: "reset", problem: internal(`an error while a message was read: ${String(error)}`) });
  }

  lost(link: Link, errno: string | undefined): void {
    this.#post({ type: "lost", id: link.id, ...(errno !== undefined && { errno }) });
  }

  silent(link: Link): void {
    this.#post({ type: "silent", id: link.id });
  }

  keepaliveDue(link: Link): void {
    this.#post({ type: "keepaliveDue", id: link.id });
  }

  blocked(link: Link, time: number): void {
    this.#post({ type: "blocked", id: link.id, time });
  }

  drained(link: Link): void {
    if (this.#up?.link === link) this.#tell(() => this.#handler.drained());
  }

  ended(link: Link): void {
    this.#lingering.delete(link);
    this.#sent += link.sent;
    this.#received += link.received;
    if (this.#machine.phase === "Closed" && this.#lingering.size === 0) this.#closing?.resolve();
  }
}

const NOTHING_OFFERED = {
  families: [],
  routeRefresh: false,
  enhancedRouteRefresh: false,
  extendedMessages: false,
  fourOctetAsn: false,
  addPath: [],
  extendedNextHop: false,
  others: [],
} as const;

function internal(message: string): Problem {
  return { code: "INTERNAL", message };
}
