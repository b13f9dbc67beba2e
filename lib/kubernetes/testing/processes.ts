/** The two processes of a server: started, watched until they serve, ended; and what is left of runs that were killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FOLDER = /^calico-apiserver-(\d+)-/;

/** A new folder for a server, once those of dead processes are removed. */
export function claimFolder(): string {
  for (const name of readdirSync(tmpdir())) {
    const owner = FOLDER.exec(name)?.[1];
    if (owner && !alive(Number(owner))) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return mkdtempSync(join(tmpdir(), `calico-apiserver-${process.pid}-`));
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A server process with its output in a file. It dies with this process, however that ends. */
export class ServerProcess {
  #child: ChildProcess | undefined;
  readonly #log: string;

  constructor(
    readonly name: string,
    readonly command: readonly string[],
    readonly folder: string,
    readonly prefix: readonly string[] = [],
  ) {
    this.#log = join(folder, `${name}.log`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  start(): void {
    const output = openSync(this.#log, "a");
    // nsenter and setpriv execute what comes after them: the child's pid is the server's.
    const [file, ...args] = [...this.prefix, "setpriv", "--pdeathsig=KILL", "--", ...this.command];
    this.#child = spawn(file!, args, {
      cwd: this.folder,
      stdio: ["ignore", output, output],
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: this.folder },
    });
    this.#child.on("error", () => {}); // `running` tells
    closeSync(output);
    live.add(this);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(signal);
  }

  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    live.delete(this);
    if (!child || !this.running) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    await exited;
  }

  /** The last lines of its output. */
  said(lines = 8): string {
    try {
      return readFileSync(this.#log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "";
    }
  }
}

/** Waits until `serves` answers true; fails when the process ends, or after a minute. */
export async function untilServing(server: ServerProcess, serves: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    if (await serves().catch(() => false)) return;
    if (!server.running) throw new Error(`${server.name} ended:\n${server.said()}`);
    if (performance.now() > deadline) throw new Error(`${server.name} does not serve:\n${server.said()}`);
    await Bun.sleep(20);
  }
}

const live = new Set<ServerProcess>();
const folders = new Set<string>();
let watching = false;

/** Ends processes and removes folders also when this process exits, or is told to, before the test's own clean-up. */
export function removeAtExit(folder: string): void {
  folders.add(folder);
  if (watching) return;
  watching = true;
  const cleanUp = (): void => {
    for (const server of live) server.signal("SIGKILL");
    for (const one of folders) rmSync(one, { recursive: true, force: true });
  };
  process.on("exit", cleanUp);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const onSignal = (): void => {
      cleanUp();
      process.off(signal, onSignal);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

export function forget(folder: string): void {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true });
}

/**
 * A loopback port to listen on, below the range the kernel hands out by itself (32768 and up): so no connection of
 * another test can have it, also while the server is down between a kill and its restart.
 */
export async function quietPort(host: string): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!(await answers(host, port))) return port;
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
}
