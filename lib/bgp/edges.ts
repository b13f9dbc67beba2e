/** What a speaker needs of the world around it; tests put in worlds of their own. */
import type { Logger } from "../telemetry/index.ts";
import { type Bfd, openBfd } from "./bfd/index.ts";
import { type KernelOptions, type KernelTable, openKernelTable } from "./kernel/index.ts";
import { Listeners } from "./listeners.ts";
import type { Listen } from "./model/index.ts";
import { openSession, type Session, type SessionHandler, type SessionOptions } from "./session/index.ts";

export interface Edges {
  openSession(options: SessionOptions, handler: SessionHandler): Session;
  /** Where sessions are taken, of the node's addresses. Called again when that changes; sessions that are up stay. What did not work, in words. */
  listen(listen: Listen, addresses: readonly string[]): readonly string[];
  openKernel(options: KernelOptions): Promise<KernelTable>;
  openBfd(): Bfd;
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back once; answers how to call it off. */
  after(milliseconds: number, callback: () => void): () => void;
  close(): void;
}

/** The real ones, of the network namespace that the process is in. */
export function realEdges(log: Logger): Edges {
  const listeners = new Listeners(log);
  return {
    openSession: (options, handler) =>
      openSession(options, handler, { listener: listeners.for(options.address.version) }),
    listen: (listen, addresses) => listeners.move(listen, addresses),
    openKernel: openKernelTable,
    openBfd: () => openBfd(),
    now: Date.now,
    after: (milliseconds, callback) => {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
    close: () => listeners.close(),
  };
}
