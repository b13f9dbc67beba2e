import { ClusterInformation } from "../api/clusterinformation.ts";
import { FelixConfiguration } from "../api/felixconfiguration.ts";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { type Client, DatastoreError, type Index } from "../datastore/index.ts";
import { pause } from "../wait/index.ts";
import { type ConfigInputs, chooseConfigurations, type ResolvedConfig, resolveConfig } from "./config/index.ts";

export interface ConfigWatchOptions {
  readonly client: Client;
  /** What does not come from the datastore. */
  readonly local: Omit<ConfigInputs, "resources">;
  readonly nodeName: string;
  readonly signal: AbortSignal;
  /** After the first, for each change of what the datastore says, however little it changes. */
  readonly onChange: (resolved: ResolvedConfig) => void;
  /** Why the configuration cannot be read now; undefined: it can. */
  readonly onTrouble: (why: string | undefined) => void;
  /** An object, by its key, is there and makes no sense: what was known of it stays in force, and of a new one nothing is. */
  readonly onProblem: (key: string, why: string) => void;
}

const RETRY = { firstMs: 250, mostMs: 10_000 };

/**
 * The configuration of this node with what the datastore says, now and from now on. Waits for the datastore as long as it takes: nothing can be
 * enforced without it, and what an earlier agent left in the kernel holds. Answers undefined when the signal is aborted meanwhile.
 */
export async function watchConfig(options: ConfigWatchOptions): Promise<ResolvedConfig | undefined> {
  const state: State = { configurations: new Map(), node: undefined, cluster: undefined };
  let changed: (() => void) | undefined;
  const troubles = new Map<string, string>();
  const onTrouble = (plural: string, why: string | undefined): void => {
    if (why === undefined) troubles.delete(plural);
    else troubles.set(plural, why);
    options.onTrouble(troubles.size === 0 ? undefined : [...troubles].map((words) => words.join(": ")).join("; "));
  };
  const resolve = (): ResolvedConfig => {
    const labels = state.node ? (state.node.metadata.labels ?? {}) : undefined;
    const chosen = chooseConfigurations([...state.configurations.values()], { name: options.nodeName, labels });
    return resolveConfig({
      ...options.local,
      resources: {
        ...chosen,
        ...(state.node ? { node: state.node } : {}),
        ...(state.cluster ? { cluster: state.cluster } : {}),
      },
    });
  };
  const watches = [
    follow(FelixConfiguration, options, onTrouble, (name, configuration) => {
      if (configuration) state.configurations.set(name, configuration);
      else state.configurations.delete(name);
      changed?.();
    }),
    // Only the one: policy watches them all, and each would come twice.
    follow(
      Node,
      options,
      onTrouble,
      (_, node) => {
        state.node = node;
        changed?.();
      },
      { node: options.nodeName },
    ),
    follow(ClusterInformation, options, onTrouble, (name, cluster) => {
      if (name !== "default") return;
      state.cluster = cluster;
      changed?.();
    }),
  ];
  await Promise.all(watches);
  if (options.signal.aborted) return undefined;
  let due = false;
  changed = () => {
    // Several changes of one moment are one.
    if (due) return;
    due = true;
    setImmediate(() => {
      due = false;
      if (!options.signal.aborted) options.onChange(resolve());
    });
  };
  return resolve();
}

interface State {
  readonly configurations: Map<string, FelixConfiguration>;
  node: Node | undefined;
  cluster: ClusterInformation | undefined;
}

/** Watches a kind for good; resolves once everything that was there has been told. */
function follow<R extends Resource>(
  kind: Kind<R>,
  { client, signal, onProblem }: Pick<ConfigWatchOptions, "client" | "signal" | "onProblem">,
  onTrouble: (plural: string, why: string | undefined) => void,
  tell: (name: string, resource: R | undefined) => void,
  index?: Index,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const run = async (): Promise<void> => {
    const known = new Set<string>();
    for (let wait = RETRY.firstMs; !signal.aborted; wait = Math.min(wait * 2, RETRY.mostMs)) {
      try {
        // After a break everything is told again; what is not, is gone. But a key does not say everywhere which one it is that cannot be read.
        const missing = new Set(known);
        let isWhole = true;
        for await (const event of client.watch(kind, { signal, shared: true, ...(index ? { index } : {}) })) {
          if (event.type === "synced") {
            for (const name of isWhole ? missing : []) {
              known.delete(name);
              tell(name, undefined);
            }
            missing.clear();
            wait = RETRY.firstMs;
            onTrouble(kind.plural, undefined);
            resolve();
          } else if (event.type === "deleted") {
            known.delete(event.resource.metadata.name);
            tell(event.resource.metadata.name, undefined);
          } else if (event.type === "invalid") {
            isWhole = false;
            onProblem(event.key, event.error.message);
          } else {
            const { name } = event.resource.metadata;
            known.add(name);
            missing.delete(name);
            tell(name, event.resource);
          }
        }
      } catch (error) {
        if (!(error instanceof DatastoreError)) throw error;
        onTrouble(kind.plural, error.message);
      }
      await pause(wait, signal);
    }
  };
  void run().finally(resolve);
  return promise;
}
