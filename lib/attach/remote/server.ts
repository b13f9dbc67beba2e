/**
 * The agent's end: serves ADD, DEL and CHECK of this node's pods, as the plugin would carry them out itself, with what it has warm.
 *
 *   connection → request.ts (what is asked) → mail.ts (CNI_NETNS, and who sent it) → accept.ts (is it ours?) → `taken`
 *     → lib/wait (after those of the same container and pod) → add.ts, delete.ts, check.ts on a Host with an AgentSide → the answer
 *
 * What a call logs goes back with the answer, to where the plugin would have written it; the agent's own log gets a line a call.
 */
import { CniError, errorCode, type Invocation, parseArgs, type Result } from "../../cni/index.ts";
import type { Ipam } from "../../ipam/index.ts";
import { closeFd, currentNamespace } from "../../sys/index.ts";
import { listenUnix, openFdSocket, removeSocket } from "../../sys/unix.ts";
import type { Fields, Level, Logger } from "../../telemetry/index.ts";
import { Turns } from "../../wait/turns.ts";
import { addAttachment } from "../add.ts";
import { checkAttachment } from "../check.ts";
import { deleteAttachment, removeInterface } from "../delete.ts";
import { type AgentSide, type Host, localHost, type WarmObjects } from "../host.ts";
import { pluginOf } from "../serve.ts";
import { type AwaitedEndpoint, canonical } from "../wait.ts";
import { type AgentPlace, declines } from "./accept.ts";
import { Connection, PluginLost } from "./connection.ts";
import { Mailbox } from "./mail.ts";
import type { LogLine, Sockets } from "./protocol.ts";
import { invocationOf, parseRequest } from "./request.ts";

export { type Sockets, socketsIn } from "./protocol.ts";
export { WarmCluster } from "./warm.ts";

/** What is in force for an endpoint, as the policy agent tells it. */
export interface EndpointInForce {
  readonly mac?: string | undefined;
  readonly ipv4Nets: readonly string[];
  readonly ipv6Nets: readonly string[];
}

export interface AttachServerOptions extends AgentPlace {
  readonly sockets: Sockets;
  /** The node's, which many use at the same time. */
  readonly allocator: Ipam;
  /** What need not be read; absent where reading costs nothing. */
  readonly warm?: WarmObjects | undefined;
  /** Resolves when the policy of the endpoint of this name is in the kernel and it is the one; rejects with the signal's reason. */
  readonly whenInForce: (
    id: AwaitedEndpoint["id"],
    isIt: (endpoint: EndpointInForce) => boolean,
    signal: AbortSignal,
  ) => Promise<void>;
  /** How long {@link AttachServer.close} waits, in milliseconds. */
  readonly closeMs?: number;
  readonly log: Logger;
  /** After each request. `seconds` is the time from its arrival to the answer. */
  readonly onRequest?: (verb: string, outcome: "served" | "failed" | "declined", seconds: number) => void;
  /** What differs from this machine, in tests. */
  readonly host?: Partial<Omit<Host, "agent" | "env" | "log">>;
}

export interface AttachServer {
  /**
   * Takes no more requests, and waits for those that it has taken, for some seconds. One that takes longer is answered all the same, as
   * long as the process lives: a plugin whose connection is cut would do the work itself while it is still being done here.
   */
  close(): Promise<void>;
}

const VERBS = {
  add: addAttachment,
  del: deleteAttachment,
  check: checkAttachment,
  gc: notServed,
  status: notServed,
};

async function notServed({ environment }: Invocation): Promise<never> {
  throw new Error(`${environment.command} is not served`);
}

/** When what had happened by now was seen by the event loop: it looks for new events between two rounds of immediates. */
async function afterEvents(): Promise<void> {
  for (let round = 0; round < 2; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** How often what has come for no request is looked at while there is anything, in milliseconds. */
const SWEEP_MS = 1_000;
const CLOSE_MS = 5_000;

/** Opens the sockets; throws SysError when they cannot be. */
export function serveAttachments(options: AttachServerOptions): AttachServer {
  return new Server(options);
}

class Server implements AttachServer {
  readonly #options: AttachServerOptions;
  readonly #mail: Mailbox;
  readonly #mailSocket: number;
  readonly #listener: { stop(force?: boolean): void };
  readonly #turns = new Turns();
  readonly #work = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #namespace: number;
  #connections = 0;
  #lastTurn: Promise<void> = Promise.resolve();
  #sweep: ReturnType<typeof setTimeout> | undefined;

  constructor(options: AttachServerOptions) {
    this.#options = options;
    const { sockets } = options;
    using own = currentNamespace();
    this.#namespace = own.inode;
    // First, because a plugin that can connect will send there.
    this.#mailSocket = openFdSocket(sockets.descriptors);
    this.#mail = new Mailbox(this.#mailSocket);
    this.#listener = this.#listen();
  }

  #listen(): { stop(force?: boolean): void } {
    const onRequest = (line: string, connection: Connection): void => this.#onRequest(line, connection);
    // Bun adopts a descriptor, but its types do not say so yet.
    const listenOptions: Bun.TCPSocketListenOptions<Connection | undefined> & { fd: number } = {
      fd: listenUnix(this.#options.sockets.stream),
      hostname: "",
      port: 0,
      data: undefined,
      socket: {
        open: (socket) => {
          socket.data = new Connection(socket, onRequest);
          this.#connections++;
          this.#mail.drain();
          this.#sweepLater();
        },
        data: (socket, bytes) => socket.data?.onData(bytes),
        drain: (socket) => socket.data?.onDrain(),
        close: (socket) => {
          this.#connections--;
          socket.data?.onClose();
        },
        error: (socket) => socket.data?.onClose(),
      },
    };
    return Bun.listen(listenOptions);
  }

  /** Plugins that ended between datagram and request leave descriptors, and take up room that others wait for. */
  #sweepLater(): void {
    this.#sweep ??= setTimeout(() => {
      this.#sweep = undefined;
      this.#mail.drain();
      if (this.#connections > 0 || this.#mail.size > 0) this.#sweepLater();
    }, SWEEP_MS);
  }

  #onRequest(line: string, connection: Connection): void {
    const began = performance.now();
    const work = this.#serve(line, connection, began)
      .catch((error: Error) => {
        this.#options.log.error("a request of the plugin broke", { error: error.stack ?? error.message });
        connection.end({ type: "failed", log: [], message: error.message });
      })
      .finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  async #serve(line: string, connection: Connection, began: number): Promise<void> {
    const { log, onRequest } = this.#options;
    const decline = (why: string, verb = ""): void => {
      log.debug("left to the plugin", { verb, why });
      connection.end({ type: "declined", why });
      onRequest?.(verb, "declined", (performance.now() - began) / 1000);
    };
    const request = parseRequest(line);
    if (typeof request === "string") return decline(request);
    const mail = this.#mail.take(request.cookie);
    if (!mail) return decline("the kernel does not say who asks");
    const { netns } = mail;
    try {
      const call = invocationOf(request);
      if (typeof call === "string") return decline(call);
      const { command } = call.environment;
      if (request.namespace !== this.#namespace)
        return decline("the plugin runs in another network namespace", command);
      if (netns === undefined && command !== "DEL") return decline("CNI_NETNS did not come with it", command);
      const lines: LogLine[] = [];
      const host = this.#hostOf(call, netns, lines, connection);
      const why = this.#closing.signal.aborted ? "the agent ends" : declines(call, host, this.#options);
      if (why !== undefined) return decline(why, command);
      // A plugin that has given up by now does the work itself.
      if (!connection.send({ type: "taken" })) return;
      await this.#turns.run(turnsOf(call), () => this.#carryOut(call, host, lines, connection, began));
    } finally {
      if (netns !== undefined) closeFd(netns);
    }
  }

  async #carryOut(
    call: Invocation,
    host: Host,
    lines: LogLine[],
    connection: Connection,
    began: number,
  ): Promise<void> {
    const { log, onRequest } = this.#options;
    const { command, containerId } = call.environment;
    // It was killed while others had their turn, and nothing is begun: what the runtime does next is a DEL.
    if (connection.closed) return;
    const said = (): Fields => ({
      pod: podOf(call),
      container: containerId,
      ms: Math.round((performance.now() - began) * 10) / 10,
    });
    const plugin = pluginOf(VERBS, "cni-plugin", () => host);
    const readable = (text: string): string => withNetns(text, call, host);
    const logged = (): LogLine[] =>
      lines.map(([level, message, fields]) => [level, readable(message), readFields(fields, readable)]);
    let failure: unknown;
    let result: Result | undefined;
    try {
      if (command === "ADD") result = await plugin.add(call);
      else if (command === "DEL") await plugin.del(call);
      else await plugin.check(call);
    } catch (error) {
      failure = error;
    }
    if (failure === undefined) {
      log.info(DONE[command] ?? command, { ...said(), addresses: result?.ips.map(({ address }) => address).join(",") });
      connection.end({ type: "done", log: logged(), ...(result ? { result } : {}) });
    } else {
      const { message } = failure as Error;
      const error = failure instanceof CniError ? { code: failure.code, details: readable(failure.details) } : {};
      log.warning(`${command} failed`, { ...said(), error: readable(message) });
      connection.end({ type: "failed", log: logged(), message: readable(message), ...error });
    }
    onRequest?.(command, failure === undefined ? "served" : "failed", (performance.now() - began) / 1000);
  }

  #hostOf(call: Invocation, netns: number | undefined, lines: LogLine[], connection: Connection): Host {
    const { client, allocator, warm, whenInForce } = this.#options;
    const log = collector(call.config.log.level, lines);
    const host: Host = { ...localHost(call.env, log), ...this.#options.host };
    const agent: AgentSide = {
      netns: netns === undefined ? "" : `/proc/self/fd/${netns}`,
      client,
      allocator,
      warm,
      policyInForce: (endpoint, milliseconds) =>
        whenInForce(
          endpoint.id,
          (found) => isTheOne(found, endpoint),
          AbortSignal.any([AbortSignal.timeout(milliseconds), this.#closing.signal]),
        ),
      turn: () => this.#nextTurn(),
      stillWanted: async () => {
        await afterEvents();
        if (connection.closed)
          throw new CniError(errorCode.tryAgainLater, "the plugin was ended before it had its answer");
      },
      removeInterface: async (plan) => {
        try {
          return await connection.remove({ ...plan, lockFile: host.files.deleteLock });
        } catch (error) {
          if (error instanceof PluginLost) return removeInterface(host, plan);
          throw error;
        }
      },
    };
    return { ...host, agent };
  }

  /** The interfaces of a burst of pods take a millisecond or two each: what else the agent does comes in between. */
  #nextTurn(): Promise<void> {
    this.#lastTurn = this.#lastTurn.then(() => new Promise((resolve) => setImmediate(resolve)));
    return this.#lastTurn;
  }

  async close(): Promise<void> {
    const { sockets } = this.#options;
    this.#closing.abort(new Error("the agent ends"));
    // What is in the way of a new agent is the path, not the socket.
    for (const path of [sockets.stream, sockets.descriptors]) removeSocket(path);
    this.#listener.stop();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, this.#options.closeMs ?? CLOSE_MS);
    });
    await Promise.race([Promise.allSettled([...this.#work]), late]);
    clearTimeout(timer);
    clearTimeout(this.#sweep);
    this.#mail.close();
    closeFd(this.#mailSocket);
  }
}

const DONE: Readonly<Record<string, string>> = { ADD: "attached", DEL: "detached", CHECK: "checked" };

/** Of one pod and one container there is one thing after the other; a pod's sandboxes share its interface's name. */
function turnsOf(call: Invocation): string[] {
  const pod = podOf(call);
  return [`container ${call.environment.containerId}`, ...(pod === undefined ? [] : [`pod ${pod}`])];
}

function podOf({ environment }: Invocation): string | undefined {
  try {
    const { K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name } = parseArgs(environment.args);
    return namespace && name ? `${namespace}/${name}` : undefined;
  } catch {
    return undefined; // the verb will say what is wrong with it
  }
}

function isTheOne({ mac, ipv4Nets, ipv6Nets }: EndpointInForce, wanted: AwaitedEndpoint): boolean {
  if (mac && wanted.mac && mac.toLowerCase() !== wanted.mac.toLowerCase()) return false;
  const nets = new Set([...ipv4Nets, ...ipv6Nets].map(canonical));
  return wanted.ipNetworks.every((net) => nets.has(canonical(net)));
}

/** What people read names the namespace as the runtime does, not by the agent's descriptor. */
function withNetns(text: string, call: Invocation, host: Host): string {
  const netns = host.agent?.netns;
  if (!netns || !text.includes(netns)) return text;
  return text.replaceAll(new RegExp(`${netns}(?!\\d)`, "g"), () => call.environment.netns);
}

function readFields(fields: LogLine[2], readable: (text: string) => string): LogLine[2] {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, typeof value === "string" ? readable(value) : value]),
  );
}

const SEVERITY: Readonly<Record<Level, number>> = { debug: 0, info: 1, warning: 2, error: 3, none: 4 };

/** Keeps what a log of this level takes, for the plugin to write. */
function collector(level: Level, lines: LogLine[]): Logger {
  const keep =
    (at: LogLine[0]) =>
    (message: string, fields: Fields = {}): void => {
      if (SEVERITY[at] < SEVERITY[level]) return;
      const kept: Record<string, string | number | boolean> = {};
      for (const [key, value] of Object.entries(fields)) {
        if (value !== undefined) kept[key] = typeof value === "bigint" ? String(value) : value;
      }
      lines.push([at, message, kept]);
    };
  return { level, debug: keep("debug"), info: keep("info"), warning: keep("warning"), error: keep("error") };
}
