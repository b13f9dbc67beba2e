/**
 * After a boot the network configuration is there and the runtime gives pods their networks, before the agent runs that enforces policy. Where pods
 * wait for their policy, such an ADD waits for the agent, for as long: a kubelet whose ADD is refused tries it again after 10 to 15 s, with the
 * agent there all the while.
 */
import type { Invocation } from "../../cni/index.ts";
import { localHost } from "../host.ts";
import { attachLogger } from "../log.ts";
import { whyOpen } from "../wait.ts";
import type { Served } from "./client.ts";

/** Between two looks. */
const POLL_MS = 100;
/** What an agent that enforces policy may take until it serves plugins as well. */
const SERVE_MS = 1_000;

export interface BootPatience {
  /** How long policy is waited for. */
  readonly forceMs: number;
  /** How long, once that is there, the agent is. */
  readonly serveMs: number;
}

/** The world, for an ADD that waits. */
export interface BootWait {
  /** Has the agent do it. */
  ask(): Promise<Served>;
  /** No policy has been in force since the node started. */
  isOpen(): boolean;
  /** Says what is waited for, once. */
  tell(): void;
  pause(milliseconds: number): Promise<void>;
  /** Milliseconds, of any clock. */
  now(): number;
}

/** An ADD that the agent did not serve. Not served this time either: whoever asks is to do it, or refuse it, himself. */
export function attachAfterBoot(call: Invocation, ask: BootWait["ask"]): Promise<Served> {
  const log = attachLogger(call.config);
  const host = localHost(call.env, log);
  const seconds = call.config.policySetupTimeoutSeconds;
  // Where another plugin assigns the addresses, no agent would serve it.
  const serveMs = call.config.ipam.type === "calico-ipam" ? SERVE_MS : 0;
  return askUntilServed(
    { forceMs: seconds * 1000, serveMs },
    {
      ask,
      isOpen: () => whyOpen(call.config, host) !== undefined,
      tell: () =>
        log.info("waits for calico-node to bring network policy into force on this node", {
          container: call.environment.containerId,
          seconds,
        }),
      pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
      now: () => performance.now(),
    },
  );
}

export async function askUntilServed(
  { forceMs, serveMs }: BootPatience,
  { ask, isOpen, tell, pause, now }: BootWait,
): Promise<Served> {
  let served: Served = { served: false, why: "the agent serves nobody" };
  if (!isOpen()) return served;
  tell();
  let deadline = now() + forceMs;
  let wasOpen = true;
  do {
    await pause(Math.max(0, Math.min(POLL_MS, deadline - now())));
    if (wasOpen && !isOpen()) {
      wasOpen = false;
      deadline = Math.min(deadline, now() + serveMs);
    }
    served = await ask();
  } while (!served.served && now() < deadline);
  return served;
}
