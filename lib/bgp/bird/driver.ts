/** A BIRD that is kept as its configuration says: started or taken over, configured anew, asked for its state. */
import { join } from "node:path";
import { formatCidr, parseCidr } from "../../ip/index.ts";
import { pause } from "../../wait/index.ts";
import { type Control, connectControl, type Reply, streamReply } from "./control.ts";
import { BirdError } from "./errors.ts";
import {
  type BirdFiles,
  checkNames,
  currentFiles,
  refusal,
  removeLeftovers,
  replaceFiles,
  runParser,
  withCopy,
} from "./files.ts";
import { type BirdChild, type BirdEnd, startChild } from "./process.ts";
import {
  type BirdPeer,
  type BirdProtocol,
  type BirdRoutes,
  type BirdStatus,
  isPeer,
  parseProtocols,
  parseRouteCount,
  parseStatus,
} from "./replies.ts";
import { type BirdRoute, RouteParser } from "./routes.ts";

export type { BirdEnd, BirdFiles };

export interface BirdOptions {
  /** Where the configuration is kept; made when absent. */
  readonly folder: string;
  /** The file among them that the daemon reads. Default `bird.cfg`; `bird6.cfg` for the IPv6 daemon of BIRD 1.6. */
  readonly main?: string;
  /** Control socket. Default `bird.ctl` in the folder. Upstream's are /var/run/calico/bird.ctl and bird6.ctl. */
  readonly socket?: string;
  /** Default `bird`, found by PATH. */
  readonly executable?: string;
  /**
   * `child`: started by the first `apply`, unless one answers at the socket already, which is then taken over (the agent was restarted, BIRD was not).
   * `running`: somebody else starts and ends it; without an executable here, it checks configurations itself.
   */
  readonly runs: "child" | "running";
  readonly environment?: NodeJS.ProcessEnv;
  /** Permissions of the files. Default 0o600: passwords are in them. */
  readonly mode?: number;
  /** Longest wait for the parser, for BIRD to come up and for each of its answers, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /**
   * Asked before BIRD is started: whether one before it left routes in the kernel, so that it has a restart to recover from (RFC 4724; `-R`). It then
   * programs nothing, and removes nothing, until all peers have told their tables: a node that has just come up would wait for whichever is dead, for
   * BIRD's 240 seconds. Default: never. What throws counts as yes: nothing is lost by waiting.
   */
  recovers?(): boolean;
  /** Lines of BIRD's log. */
  log?(line: string): void;
}

export interface Applied {
  /** False: BIRD has that configuration already. */
  readonly changed: boolean;
  /** BIRD was started by this. */
  readonly started: boolean;
  /** `Reconfigured`, `Reconfiguration in progress`… in BIRD's words; empty where it was not told. */
  readonly message: string;
}

export interface BirdState {
  readonly status: BirdStatus;
  readonly peers: readonly BirdPeer[];
  readonly protocols: readonly BirdProtocol[];
  readonly routes: readonly BirdRoutes[];
}

/** Which of BIRD's routes: the best of all, the ones that a peer told or is sent, by its protocol's name, or all of one prefix. */
export type WhichBirdRoutes =
  | { readonly which: "best" }
  | { readonly which: "accepted" | "sent"; readonly protocol: string }
  | { readonly which: "prefix"; readonly cidr: string };

export interface Bird {
  /**
   * Makes these the configuration: checked by BIRD's own parser, written, and taken over by the daemon. One after the other.
   *
   * Throws a {@link BirdError}: `BIRD_REFUSED` (files and daemon are as before; where and of which resource), `BIRD_NOT_RUNNING`, `BIRD_CONTROL`.
   */
  apply(files: BirdFiles): Promise<Applied>;
  /** Throws a {@link BirdError} `BIRD_CONTROL`. */
  state(): Promise<BirdState>;
  /**
   * As they come: BIRD waits for whoever reads, so that no table is too large. What was accepted is as the import filters left it; what is sent is as
   * the export filters left it, before BIRD puts in what the session asks for (next hop, own AS). Throws as {@link state} does.
   */
  routes(which: WhichBirdRoutes): AsyncGenerator<BirdRoute>;
  /** Resolves once, when the BIRD that was started or taken over is gone, whoever ended it. Then open another. */
  readonly ended: Promise<BirdEnd>;
  /**
   * `stop`: ends sessions and daemon; learned routes stay in the kernel (`persist`). `restart`: ends it so that peers keep its routes for their restart
   * time (RFC 4724). `leave`: it stays as it is. A BIRD of somebody else's is always left.
   */
  close(how: "stop" | "restart" | "leave"): Promise<void>;
}

/** BIRD's answers to `configure`: done, in progress, queued behind another. */
const CONFIGURED = new Set([3, 4, 5]);

/** Reads and changes nothing yet, but for what an earlier run left half done in the folder. */
export async function openBird(options: BirdOptions): Promise<Bird> {
  await removeLeftovers(options.folder);
  const driver = new Driver(options);
  return {
    apply: (files) => driver.apply(files),
    state: () => driver.state(),
    routes: (which) => driver.routes(which),
    ended: driver.ended,
    close: (how) => driver.close(how),
  };
}

class Driver {
  readonly #options: Required<Omit<BirdOptions, "log" | "recovers">>;
  readonly #log: (line: string) => void;
  readonly #recovers: () => boolean;
  readonly #end = Promise.withResolvers<BirdEnd>();
  #child: BirdChild | undefined;
  /** Stays open for as long as BIRD lives: its end is BIRD's. */
  #lifeline: Control | undefined;
  #gone = false;
  /** It goes on without us: nobody is watching its end. */
  #left = false;
  /** The daemon has what is in the folder. */
  #current = false;
  #queue: Promise<unknown> = Promise.resolve();
  readonly ended: Promise<BirdEnd> = this.#end.promise;

  constructor(options: BirdOptions) {
    this.#options = {
      main: "bird.cfg",
      socket: join(options.folder, "bird.ctl"),
      executable: "bird",
      environment: process.env,
      mode: 0o600,
      timeoutMs: 10_000,
      ...options,
    };
    this.#log = (line) => options.log?.(line);
    this.#recovers = () => {
      try {
        return options.recovers?.() ?? false;
      } catch (error) {
        options.log?.(`whether there is a restart to recover from is not known: ${(error as Error).message}`);
        return true;
      }
    };
  }

  apply(files: BirdFiles): Promise<Applied> {
    const result = this.#queue.then(() => this.#apply(files));
    this.#queue = result.catch(() => {});
    return result;
  }

  async state(): Promise<BirdState> {
    await using control = await this.#connect();
    const status = parseStatus(await control.ask("show status"));
    const protocols = parseProtocols(await control.ask("show protocols all"));
    const routes = parseRouteCount(await control.ask("show route count"));
    return { status, protocols, peers: protocols.filter(isPeer), routes };
  }

  async *routes(which: WhichBirdRoutes): AsyncGenerator<BirdRoute> {
    const { socket, timeoutMs } = this.#options;
    const parser = new RouteParser();
    for await (const line of streamReply(socket, questionOf(which), { timeoutMs })) {
      if (line.code >= 8000) {
        // Said where a session has no channel that is up, and of a prefix that has no route.
        if (/^(No valid tables|Network not found)/i.test(line.text)) return;
        throw new BirdError("BIRD_CONTROL", `BIRD answered "${questionOf(which)}" by ${line.code} ${line.text}`);
      }
      const route = parser.push(line);
      if (route) yield route;
    }
    const last = parser.end();
    if (last) yield last;
  }

  async close(how: "stop" | "restart" | "leave"): Promise<void> {
    await this.#queue;
    if (how !== "leave" && this.#options.runs === "child" && this.#lifeline && !this.#gone) await this.#shutDown(how);
    this.#left = !this.#gone;
    this.#lifeline?.close();
  }

  async #apply(files: BirdFiles): Promise<Applied> {
    const { folder, main, mode } = this.#options;
    checkNames(files, main);
    if (this.#gone) throw new BirdError("BIRD_NOT_RUNNING", "BIRD has ended; it has to be opened again");
    const before = await currentFiles(folder, Object.keys(files));
    const same = Object.entries(files).every(([name, text]) => before.get(name) === text);
    if (same && this.#current) return { changed: false, started: false, message: "" };
    await this.#check(files);
    if (!same) await replaceFiles(folder, new Map(Object.entries(files)), main, mode);
    try {
      const started = await this.#ensureRunning();
      const message = started ? "" : await this.#configure(files);
      this.#current = true;
      return { changed: !same, started, message };
    } catch (error) {
      // What BIRD did not take must not be there when it starts anew. Without an answer nobody knows what it has: the next `apply` tells it again.
      this.#current = false;
      if (error instanceof BirdError && error.code === "BIRD_REFUSED") await replaceFiles(folder, before, main, mode);
      throw error;
    }
  }

  async #check(files: BirdFiles): Promise<void> {
    const { folder, main, mode, executable, environment, timeoutMs } = this.#options;
    await withCopy(folder, files, main, mode, async (path) => {
      const run = await runParser(executable, path, environment, timeoutMs);
      if (run?.status === 0) return;
      if (run) throw refusal(run.output, files);
      if (this.#options.runs === "child") {
        throw new BirdError("BIRD_NOT_RUNNING", `there is no ${executable}; is BIRD installed?`);
      }
      await using control = await this.#connect();
      const reply = await control.ask(`configure check "${path}"`);
      if (reply.code >= 8000) throw refusal(reply.text, files);
    });
  }

  async #configure(files: BirdFiles): Promise<string> {
    await using control = await this.#connect();
    const reply: Reply = await control.ask("configure");
    if (reply.code >= 8000) throw refusal(reply.text, files);
    if (!CONFIGURED.has(reply.code))
      throw new BirdError("BIRD_CONTROL", `BIRD answered "configure" by ${reply.code} ${reply.text}`);
    return reply.text;
  }

  /** Whether it was started by this. */
  async #ensureRunning(): Promise<boolean> {
    if (this.#lifeline) return false;
    const { socket, runs, timeoutMs } = this.#options;
    const running = await connectControl(socket, { timeoutMs }).catch((error: unknown) => {
      if (runs === "running") throw error;
    });
    if (running) {
      this.#watch(running);
      return false;
    }
    await this.#start();
    return true;
  }

  async #start(): Promise<void> {
    const { executable, environment, folder, main, socket, timeoutMs } = this.#options;
    const child = await startChild(
      executable,
      [...(this.#recovers() ? ["-R"] : []), "-f", "-c", join(folder, main), "-s", socket],
      environment,
      this.#log,
    );
    this.#child = child;
    let end: BirdEnd | undefined;
    const gaveUp = new AbortController();
    child.ended.then((how) => {
      end = how;
      gaveUp.abort();
    });
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const control = await connectControl(socket, { timeoutMs }).catch(() => undefined);
      if (control) return this.#watch(control);
      if (end) {
        this.#child = undefined;
        throw new BirdError("BIRD_NOT_RUNNING", `BIRD ended as soon as it was started: ${describeEnd(end)}`);
      }
      if (Date.now() >= deadline) {
        child.kill("SIGKILL");
        this.#child = undefined;
        throw new BirdError("BIRD_NOT_RUNNING", `BIRD did not open ${socket} within ${timeoutMs} ms`);
      }
      await pause(20, gaveUp.signal);
    }
  }

  #watch(control: Control): void {
    this.#lifeline = control;
    const child = this.#child;
    control.closed.then(async () => {
      this.#gone = true;
      if (!this.#left) this.#end.resolve(child ? await child.ended : { lastLines: [] });
    });
  }

  async #shutDown(how: "stop" | "restart"): Promise<void> {
    const { timeoutMs } = this.#options;
    await using control = await this.#connect();
    const reply = await control.ask(how === "stop" ? "down" : "graceful restart").catch(() => undefined);
    const ended = this.ended.then(() => true);
    const gaveUp = new AbortController();
    // BIRD 1.6 has no such command: a sudden end is one that peers keep routes over, too.
    const patience = reply && reply.code < 8000 ? timeoutMs : 0;
    if (!(await Promise.race([ended, pause(patience, gaveUp.signal).then(() => false)]))) {
      this.#child?.kill("SIGKILL");
      if (this.#child) await ended;
    }
    gaveUp.abort();
  }

  #connect(): Promise<Control> {
    const { socket, timeoutMs } = this.#options;
    return connectControl(socket, { timeoutMs });
  }
}

/** Names and prefixes are checked: what is asked is part of a command line. */
function questionOf(which: WhichBirdRoutes): string {
  switch (which.which) {
    case "best":
      return "show route primary all";
    case "prefix":
      return `show route ${formatCidr(parseCidr(which.cidr))} all`;
  }
  if (!/^\w+$/.test(which.protocol)) throw new RangeError(`"${which.protocol}" is no name of a protocol`);
  return `show route ${which.which === "sent" ? "export" : "protocol"} ${which.protocol} all`;
}

function describeEnd(end: BirdEnd): string {
  const how = end.signal === undefined ? `exit status ${end.exitCode ?? "unknown"}` : `signal ${end.signal}`;
  return [how, ...end.lastLines.slice(-3)].join("; ");
}
