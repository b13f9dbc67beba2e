/** The built calico-kube-controllers as a process of the machine, with nothing but an environment. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { DIST, type Outcome, run } from "../lab/index.ts";

const PROGRAM = join(process.env.CALICO_DIST ?? DIST, "calico-kube-controllers");

export interface ControllersOptions {
  readonly kubeconfig: string;
  /** A folder of the test's own; the status file is in it. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class Controllers {
  /** All that it has written so far. */
  log = "";
  readonly statusFile: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  constructor({ kubeconfig, folder, env }: ControllersOptions) {
    this.statusFile = join(folder, "status.json");
    this.#child = spawn(PROGRAM, [], {
      cwd: "/",
      env: {
        ...{ PATH: "/usr/sbin:/usr/bin:/sbin:/bin", DATASTORE_TYPE: "kubernetes" },
        ...{ KUBECONFIG: kubeconfig, STATUS_FILE: this.statusFile, ...env },
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on("data", (data: Buffer) => {
        this.log += data;
      });
    this.#ended = new Promise((resolve) => this.#child.once("exit", resolve));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The exit status; null when a signal ended it. */
  get ended(): Promise<number | null> {
    return this.#ended;
  }

  /** What it says of itself, by part. */
  status(): Readonly<Record<string, { readonly Ready: boolean; readonly Reason: string }>> {
    return (JSON.parse(readFileSync(this.statusFile, "utf8")) as { Readiness: ReturnType<Controllers["status"]> })
      .Readiness;
  }

  /** Whether a part of it says that it is ready. */
  isReady(part: string): boolean {
    return this.status()[part]?.Ready === true;
  }

  /** The probe, as a pod's kubelet runs it. */
  probe(...args: readonly string[]): Promise<Outcome> {
    return run([PROGRAM, ...args, "-f", this.statusFile]);
  }

  /** Ends it as a crash does, or as asked for. Answers the exit status. */
  end(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    return this.#ended;
  }
}

/** The program with arguments, to its end. */
export function kubeControllers(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return run([PROGRAM, ...args], { env, timeout: 20_000 });
}

/** A port that was free just now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  return await new Promise((resolve) =>
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    }),
  );
}
