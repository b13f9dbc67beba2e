/** BIRD 2 on a node of bench:bgp: its configuration as text, and its control socket, asked without a process each time. */
import { connect, type Socket } from "node:net";
import type { Daemon, Node } from "../conformance/lab/index.ts";

export const BIRD = "/usr/sbin/bird";

/** What stands at the head of every configuration; no kernel, no devices' routes. */
export const BIRD_HEAD = (routerId: string): string => `log stderr all;
router id ${routerId};
timeformat protocol "%s.%f";
protocol device {}
`;

/** A running BIRD. */
export class Bird {
  readonly daemon: Daemon;
  readonly #socket: Socket;
  #said = "";
  #heard: (() => void) | undefined;
  #asking: Promise<unknown> = Promise.resolve();

  private constructor(daemon: Daemon, socket: Socket) {
    this.daemon = daemon;
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      this.#said += text;
      this.#heard?.();
    });
    socket.on("error", () => {});
  }

  static async start(node: Node, configuration: string): Promise<Bird> {
    await Bun.write(node.path("/tmp/bird.conf"), configuration);
    const daemon = await node.daemon("bird", [BIRD, "-f", "-c", "/tmp/bird.conf", "-s", "/tmp/bird.ctl"]);
    for (
      const deadline = performance.now() + 30_000;
      performance.now() < deadline && daemon.running;
      await Bun.sleep(20)
    ) {
      try {
        const socket = await new Promise<Socket>((resolve, reject) => {
          const one: Socket = connect(node.path("/tmp/bird.ctl"), () => resolve(one));
          one.on("error", reject);
        });
        const bird = new Bird(daemon, socket);
        await bird.#reply();
        return bird;
      } catch {
        // It reads its configuration first.
      }
    }
    throw new Error(`BIRD does not answer: ${daemon.log()}`);
  }

  /** What a command says, without codes. */
  ask(command: string): Promise<string> {
    const asking = this.#asking.then(() => {
      this.#socket.write(`${command}\n`);
      return this.#reply();
    });
    this.#asking = asking.catch(() => {});
    return asking;
  }

  /** State of a protocol, seconds since 1970 at which it was entered, and routes that were taken from the peer. */
  async protocol(name: string): Promise<{ readonly state: string; readonly since: number; readonly imported: number }> {
    const text = await this.ask(`show protocols all ${name}`);
    const [, since, state] = /\S+ +BGP +\S+ +\S+ +([\d.]+) +(\S+)/.exec(text) ?? [];
    return {
      state: state ?? "",
      since: Number(since),
      imported: Number(/Routes: +(\d+) imported/.exec(text)?.[1] ?? 0),
    };
  }

  close(): void {
    this.#socket.destroy();
  }

  /** A reply's last line has a space behind its code, or is empty but for it. */
  async #reply(): Promise<string> {
    for (;;) {
      const end = /^\d{4} .*\n/m.exec(this.#said);
      if (end) {
        const text = this.#said.slice(0, end.index + end[0].length);
        this.#said = this.#said.slice(text.length);
        return text.replaceAll(/^(\d{4}[ -]|[ +])/gm, "");
      }
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }
}
