/**
 * Automatic host endpoints: one of all interfaces for every node, `<node>-auto-hep`, and those of the templates of the
 * KubeControllersConfiguration (kube-controllers/pkg/controllers/node/hostendpoints.go). They carry their node's labels, so that policies
 * select nodes, and a profile that allows what no policy decides.
 *
 *     Nodes, HostEndpoints, configuration -> decide.ts (pure), one node at a time -> create, update, delete
 *
 * Its own are those with the label projectcalico.org/created-by: calico-kube-controllers; all others are left alone, also when one has
 * taken a name that it wants. They go when their node goes and when they are turned off. A node that is there but cannot be read keeps
 * what it has, and so does one for which a template cannot be understood.
 */
import { HostEndpoint } from "../../api/hostendpoint.ts";
import { Node } from "../../api/node.ts";
import { DatastoreError } from "../../datastore/index.ts";
import type { HostEndpointsConfig } from "../config/index.ts";
import type { Controller, ControllerContext, Live } from "../controller.ts";
import { mirror } from "../mirror.ts";
import { WorkQueue } from "../queue.ts";
import { decideEndpoints, isAutomatic } from "./decide.ts";

export type { HostEndpointsConfig } from "../config/index.ts";
export { CREATED_BY, isAutomatic, nodeAddresses } from "./decide.ts";

/** All nodes are looked at this often, in milliseconds: what somebody else changed wrongly is found even if no event told of it. */
const EVERYTHING = 300_000;
/** Until what the mirror is behind of is looked at again. */
const BEHIND = 1_000;
/** Until a node that cannot be read is looked at again. */
const UNREADABLE = 30_000;

/** The controller of automatic host endpoints. Also to be run when they are turned off: it removes what there is then. */
export function hostEndpointsController(context: ControllerContext, config: Live<HostEndpointsConfig>): Controller {
  return { name: "hostendpoints", run: (signal) => run(context, config, signal) };
}

async function run(context: ControllerContext, config: Live<HostEndpointsConfig>, ended: AbortSignal): Promise<void> {
  const { client, log, time } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([ended, stop.signal]);
  const troubles = new Map<string, string>();
  const report = () => context.report(troubles.size === 0, [...troubles.values()].join("; "));
  const onTrouble = (kind: string) => (why: string | undefined) => {
    if (why === undefined) troubles.delete(kind);
    else troubles.set(kind, why);
    report();
  };
  /** What was said of a node, so that it is said once. */
  const said = new Map<string, string>();
  const queue = new WorkQueue({
    time,
    work: (name) => sync(name),
    onFailure: (node, error, attempt) => {
      log.warning("host endpoints of a node are not as they should be; tried again", {
        node,
        attempt,
        error: (error as Error).message,
      });
    },
  });

  const nodes = mirror({
    client,
    kind: Node,
    signal,
    time,
    onChange: (name) => queue.add(name),
    onTrouble: onTrouble("nodes"),
  });
  /** Names of automatic host endpoints, by their node. */
  const mine = new Map<string, Set<string>>();
  const endpoints = mirror({
    client,
    kind: HostEndpoint,
    signal,
    time,
    onChange: (name, now, before) => {
      if (before) mine.get(before.spec.node ?? "")?.delete(name);
      if (now && isAutomatic(now)) {
        const node = now.spec.node ?? "";
        mine.set(node, (mine.get(node) ?? new Set()).add(name));
      }
      for (const one of [now, before]) if (one?.spec.node) queue.add(one.spec.node);
      // Whose name it has taken, or has given back.
      const owner = name.replace(/-auto-hep$/, "");
      if (nodes.items.has(owner)) queue.add(owner);
    },
    onTrouble: onTrouble("hostendpoints"),
  });

  function addAll(): void {
    for (const name of nodes.items.keys()) queue.add(name);
    for (const [node, names] of mine) {
      if (names.size > 0) queue.add(node);
      else mine.delete(node);
    }
  }

  async function sync(name: string): Promise<number | undefined> {
    const node = nodes.items.get(name);
    // It may be one of those.
    if (!node && nodes.unreadable.size > 0 && config.value.autoCreate) return UNREADABLE;
    const own = [...(mine.get(name) ?? [])].flatMap((one) => endpoints.items.get(one) ?? []);
    const changes = decideEndpoints(node, config.value, own, (endpoint) => endpoints.items.get(endpoint));
    const problems = changes.problems.join("; ");
    if (problems !== (said.get(name) ?? "")) {
      if (problems === "") said.delete(name);
      else said.set(name, problems);
      if (problems !== "") log.warning("host endpoints of a node cannot all be made", { node: name, why: problems });
    }
    const failures: unknown[] = [];
    let isBehind = false;
    const attempt = async (what: string, endpoint: HostEndpoint, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write();
        log.info(`host endpoint ${what}`, { name: endpoint.metadata.name, node: name });
      } catch (error) {
        // Somebody was quicker, or the mirror has not heard of our own write yet; unless what cannot be read has the name.
        if (isRace(error) && endpoints.unreadable.size === 0) isBehind = true;
        else failures.push(error);
      }
    };
    for (const one of changes.create) await attempt("created", one, () => client.create(HostEndpoint, one));
    for (const one of changes.update) await attempt("updated", one, () => client.update(HostEndpoint, one));
    for (const one of changes.delete) {
      const { uid, resourceVersion } = one.metadata;
      const exactly = { ...(uid !== undefined && { uid }), ...(resourceVersion !== undefined && { resourceVersion }) };
      await attempt("deleted", one, () => client.delete(HostEndpoint, { name: one.metadata.name }, exactly));
    }
    if (failures.length > 0) throw failures[0];
    return isBehind ? BEHIND : undefined;
  }

  const forget = config.onChange(addAll);
  try {
    await Promise.race([Promise.all([nodes.whenSynced(), endpoints.whenSynced()]), nodes.done, endpoints.done]);
    if (signal.aborted) return;
    report();
    addAll();
    await Promise.all([
      queue.run(signal),
      (async () => {
        while (!signal.aborted) {
          await time.sleep(EVERYTHING, signal);
          addAll();
        }
      })(),
    ]);
  } finally {
    forget();
    stop.abort();
    await Promise.all([nodes.done, endpoints.done]);
  }
}

const isRace = (error: unknown): boolean =>
  error instanceof DatastoreError && ["EXISTS", "CONFLICT", "NOT_FOUND"].includes(error.code);
