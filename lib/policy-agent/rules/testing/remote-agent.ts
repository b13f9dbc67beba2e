/** An {@link Agent} in a process of its own. */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Applied, DataplaneCounts } from "../dataplane.ts";
import { type Asked, type Edit, read, recorder, type Said, toError, write } from "./protocol.ts";
import type { Agent, Edits } from "./testbed.ts";

const DRIVER = fileURLToPath(new URL("./driver.ts", import.meta.url));
const DRIFT_TIMEOUT = 5000;

type Request = Asked extends infer One ? (One extends Asked ? Omit<One, "id"> : never) : never;
interface Waiting {
  resolve(result: Applied | DataplaneCounts | undefined): void;
  reject(error: Error): void;
}

/** Starts `open` of a module inside the network namespace at `netns`; resolves when the dataplane is open. */
export async function startAgent(netns: string, module: string, options: unknown): Promise<RemoteAgent> {
  const agent = new RemoteAgent(netns, module, options);
  await agent.ready;
  return agent;
}

export class RemoteAgent implements Agent {
  readonly ready: Promise<void>;
  readonly #child;
  readonly #waiting = new Map<number, Waiting>();
  #drift: string[] = [];
  #onDrift: () => void = () => {};
  #next = 1;
  #exited: Error | undefined;

  constructor(netns: string, module: string, options: unknown) {
    const command = [
      "nsenter",
      `--net=${netns}`,
      "--",
      process.execPath,
      DRIVER,
      module,
      JSON.stringify(options ?? null),
    ];
    this.#child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    this.ready = new Promise((resolve, reject) => {
      void this.#listen(resolve).then(reject, reject);
    });
  }

  async edit(change: (v4: Edits, v6: Edits) => void): Promise<void> {
    const edits: Edit[] = [];
    change(recorder(4, edits), recorder(6, edits));
    await this.#ask({ do: "edit", edits });
  }
  async apply(): Promise<Applied> {
    return (await this.#ask({ do: "apply" })) as Applied;
  }
  async recheck(): Promise<void> {
    await this.#ask({ do: "recheck" });
  }
  async counts(): Promise<DataplaneCounts> {
    return (await this.#ask({ do: "counts" })) as DataplaneCounts;
  }
  async remove(): Promise<void> {
    await this.#ask({ do: "remove" });
  }
  async close(): Promise<void> {
    await this.#ask({ do: "close" });
    await this.#child.exited;
  }
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async drift(): Promise<readonly string[]> {
    if (this.#drift.length === 0) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(
          () => reject(new Error(`nobody said within ${DRIFT_TIMEOUT} ms that the kernel was changed by others`)),
          DRIFT_TIMEOUT,
        );
        this.#onDrift = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
    const said = this.#drift;
    this.#drift = [];
    return said;
  }
  async forgetDrift(): Promise<void> {
    this.#drift = [];
  }

  #ask(request: Request): Promise<Applied | DataplaneCounts | undefined> {
    if (this.#exited) return Promise.reject(this.#exited);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin.write(write({ ...request, id } as Asked));
      this.#child.stdin.flush();
    });
  }

  /** Returns why it ended, when it ends. */
  async #listen(ready: () => void): Promise<Error> {
    const complaints = new Response(this.#child.stderr).text();
    const lines = createInterface({ input: Readable.fromWeb(this.#child.stdout as never) });
    for await (const line of lines) this.#hear(read(line) as Said, ready);
    this.#exited = new Error(`the dataplane's process ended: ${(await complaints).trim() || "it said nothing"}`);
    for (const { reject } of this.#waiting.values()) reject(this.#exited);
    this.#waiting.clear();
    return this.#exited;
  }

  #hear(said: Said, ready: () => void): void {
    if ("ready" in said) {
      ready();
      return;
    }
    if ("drift" in said) {
      this.#drift.push(said.drift);
      this.#onDrift();
      return;
    }
    const waiting = this.#waiting.get(said.id);
    this.#waiting.delete(said.id);
    if ("error" in said) waiting?.reject(toError(said.error));
    else waiting?.resolve(said.result);
  }
}
