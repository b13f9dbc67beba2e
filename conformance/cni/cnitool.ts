import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CHECKOUT, type CniOutcome, cniArgs, type Outcome, type Pod } from "../lab/index.ts";

const CNITOOL = join(CHECKOUT, ".cache/bin/cnitool");

/** Why the real cnitool cannot be used here, or undefined when it can. */
export const missingCnitool = existsSync(CNITOOL)
  ? undefined
  : "no cnitool: scripts/setup builds it where Go and its module are to be had";

export type Verb = "ADD" | "CHECK" | "DEL" | "GC" | "STATUS";

/** Somebody who plays the container runtime for one pod and one list of plugins. */
export interface Runtime {
  readonly name: string;
  /** The container ID it gives this pod. */
  containerId(pod: Pod): string;
  call(
    verb: Verb,
    list: ConfList,
    pod: Pod,
    args?: Readonly<Record<string, string>>,
    capabilities?: object,
  ): Promise<CniOutcome>;
}

export interface ConfList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly Readonly<Record<string, unknown>>[];
}

/** A list of the one plugin of a configuration, and others after it. */
export function confList(
  conf: Readonly<Record<string, unknown>> & { readonly name: string; readonly cniVersion: string },
  ...others: readonly Readonly<Record<string, unknown>>[]
): ConfList {
  const { name, cniVersion, ...plugin } = conf;
  return { cniVersion, name, plugins: [plugin, ...others] };
}

/** containernetworking's own cnitool, which is libcni: what CRI-O and containerd use. */
export const cnitool: Runtime = {
  name: "cnitool",
  containerId: (pod) => `cnitool-${createHash("sha512").update(pod.netns).digest("hex").slice(0, 20)}`,
  async call(verb, list, pod, args, capabilities) {
    const file = pod.node.path(`/etc/cni/net.d/10-${list.name}.conflist`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(list));
    const outcome = await pod.node.exec([CNITOOL, verb.toLowerCase(), list.name, pod.netns], {
      env: {
        CNI_PATH: "/opt/cni/bin",
        ...(args ? { CNI_ARGS: cniArgs(args) } : {}),
        ...(capabilities ? { CAP_ARGS: JSON.stringify(capabilities) } : {}),
      },
    });
    return { ...outcome, json: json(outcome) };
  },
};

/** The same without libcni: one plugin is executed with the environment that the specification describes. */
export function direct(): Runtime {
  const results = new Map<string, unknown>();
  return {
    name: "direct",
    containerId: (pod) => pod.containerId,
    async call(verb, list, pod, args) {
      const [plugin, ...others] = list.plugins;
      if (!plugin || others.length > 0) throw new Error("driven directly, a list has one plugin");
      const { plugins: _, ...network } = list;
      const wantsResult = verb === "CHECK" || (verb === "DEL" && list.cniVersion >= "0.4.0");
      const prevResult = wantsResult ? results.get(pod.netns) : undefined;
      const conf = { ...plugin, ...network, ...(prevResult ? { prevResult } : {}) };
      const outcome = await pod.cni(verb, conf, args ? { args } : {});
      if (verb === "ADD" && outcome.status === 0) results.set(pod.netns, outcome.json);
      return outcome;
    },
  };
}

function json(outcome: Outcome): unknown {
  try {
    return JSON.parse(outcome.stdout);
  } catch {
    return undefined;
  }
}
