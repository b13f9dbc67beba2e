import { readFileSync, readlinkSync } from "node:fs";
import type { Daemon, Node } from "../lab/index.ts";

const START_TIMEOUT = 30_000;

/** `calico-node felix` on a node, where it serves the plugin. */
export class Agent {
  readonly #node: Node;
  readonly #env: Readonly<Record<string, string>>;
  readonly #daemons: Daemon[] = [];

  constructor(node: Node, env: Readonly<Record<string, string>>) {
    this.#node = node;
    this.#env = env;
  }

  get daemon(): Daemon {
    const daemon = this.#daemons.at(-1);
    if (!daemon) throw new Error("the agent was not started");
    return daemon;
  }

  /** All that it and those before it have logged. */
  log(): string {
    return this.#daemons.map((daemon) => daemon.log()).join("");
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT;
    await this.#begin();
    while (!this.daemon.log().includes("serves the CNI plugin")) {
      // It ends by itself when its configuration changed and it wants a new start.
      if (!this.daemon.running) await this.#begin();
      if (performance.now() > deadline) throw new Error(`the agent does not serve the plugin: ${this.daemon.log()}`);
      await Bun.sleep(10);
    }
  }

  /** Whether the process itself lives: that it was killed is known of its starter a moment later. */
  get alive(): boolean {
    try {
      readlinkSync(`/proc/${this.daemon.pid}/exe`);
      return true;
    } catch {
      return false;
    }
  }

  stop(): void {
    this.daemon.signal("SIGSTOP");
  }

  /** After {@link stop}. What started it in the node's namespaces, nsenter, stops when it does, and has to go on as well. */
  resume(): void {
    const status = readFileSync(`/proc/${this.daemon.pid}/status`, "utf8");
    process.kill(Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]), "SIGCONT");
    this.daemon.signal("SIGCONT");
  }

  async #begin(): Promise<void> {
    const daemon = await this.#node.daemon(`felix-${this.#daemons.length}`, ["calico-node", "felix"], {
      FELIX_FELIXHOSTNAME: this.#node.name,
      NODENAME: this.#node.name,
      // As start-up has it on a node: pods reach it.
      FELIX_DEFAULTENDPOINTTOHOSTACTION: "ACCEPT",
      FELIX_HEALTHENABLED: "true",
      FELIX_LOGSEVERITYSCREEN: "Info",
      ...this.#env,
    });
    this.#daemons.push(daemon);
  }
}
