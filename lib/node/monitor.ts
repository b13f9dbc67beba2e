/** Keeps the Node's addresses those of the machine. */
import type { Client } from "../datastore/index.ts";
import { formatAddress } from "../ip/index.ts";
import { openMonitor } from "../netlink/index.ts";
import type { Namespace } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { parseDuration } from "../wait/duration.ts";
import { pause } from "../wait/index.ts";
import { isPolicyOnly } from "./environment.ts";
import { describeNode } from "./prepare.ts";
import { settleNode } from "./settle.ts";
import type { Env, HostFacts, KubernetesFacts, PreparedNode } from "./types.ts";

const POLL_MS = 60_000;
/** How long changes are gathered: an interface that comes up does so in steps. */
const SETTLE_MS = 500;
/** Changes of workloads' own interfaces come with every pod. */
const WORKLOADS = /^(cali|veth|lxc)/;

export interface MonitorAddressesOptions {
  readonly name: string;
  readonly facts: HostFacts;
  /** Asked before each look, as Kubernetes' addresses change too. */
  readonly kubernetes?: () => Promise<KubernetesFacts | undefined>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Warnings that start-up has said already. */
  readonly said?: readonly string[];
  /** Hears of each change that was written. */
  readonly onChange?: (node: PreparedNode) => void;
  /** Where addresses are watched. Absent: the namespace that the process is in. */
  readonly namespace?: Namespace;
}

/**
 * Looks again when an address or a link of the machine changes, and every AUTODETECT_POLL_INTERVAL (60s; 0 turns that off), and writes what came of it to the Node.
 * Goes on through errors, which it logs, until the signal is aborted.
 */
export async function monitorAddresses(client: Client, env: Env, options: MonitorAddressesOptions): Promise<void> {
  const { facts, log, signal } = options;
  const interval = pollInterval(env, log);
  let wake = (): void => {};
  using _monitor = openMonitor({
    watch: ["addresses", "links"],
    onChange: () => wake(),
    onError: (error) =>
      log.warning("changes of addresses are not heard any more, only polled", { error: error.message }),
    ...(options.namespace && { namespace: options.namespace }),
  });
  // Only now, as a change before the monitor listens would be missed; and start-up may have been a while ago.
  let seen: string | undefined;
  let complaint: string | undefined;
  const warned = new Set(options.said);
  while (!signal.aborted) {
    const heard = new AbortController();
    wake = () => heard.abort();
    await look();
    if (signal.aborted) return;
    await pause(interval || 2 ** 31 - 1, AbortSignal.any([heard.signal, signal]));
    if (heard.signal.aborted) await pause(SETTLE_MS, signal);
    else seen = undefined;
  }

  async function look(): Promise<void> {
    if (isPolicyOnly(env)) return;
    try {
      const now = fingerprint(facts);
      if (now === seen) return;
      const settled = await settleNode(client, options.name, env, facts, await options.kubernetes?.());
      seen = now;
      complaint = undefined;
      for (const warning of settled.warnings) {
        if (!warned.has(warning)) log.warning(warning, { node: options.name });
        warned.add(warning);
      }
      if (!settled.changed) return;
      for (const note of settled.notes) log.info(note, { node: options.name });
      options.onChange?.(await describeNode(client, options.name, settled));
    } catch (error) {
      const { message } = error as Error;
      if (message !== complaint)
        log.error("the node's addresses are not up to date", { node: options.name, error: message });
      complaint = message;
    }
  }
}

/** Milliseconds; 0: never. */
export function pollInterval(env: Env, log: Logger): number {
  const text = env.AUTODETECT_POLL_INTERVAL;
  if (!text) return POLL_MS;
  const interval = parseDuration(text);
  if (interval !== undefined && interval >= 0) return interval;
  log.error(`AUTODETECT_POLL_INTERVAL=${text}: is not a duration such as 60s or 1m30s; 60s is used`);
  return POLL_MS;
}

/** What a look depends on, and does not change with every pod. */
export function fingerprint(facts: HostFacts): string {
  const lines = facts
    .interfaces()
    .filter(({ name }) => !WORKLOADS.test(name))
    .map(({ index, name, up, addresses }) => {
      const texts = addresses.map(({ address, length, flags }) => `${formatAddress(address)}/${length} ${flags}`);
      return `${index} ${name} ${up} ${texts.join()}`;
    });
  return lines.join("\n");
}
