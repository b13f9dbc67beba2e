import { createHash } from "node:crypto";
import type { Node } from "./node.ts";
import { type ExecOptions, expectSuccess, type Outcome, type Running } from "./process.ts";

export type CniVerb = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** What a runtime says of one attachment beside the network configuration; what is left out is the pod's own. */
export interface Attachment {
  /** Empty or absent value: the variable is not set. */
  readonly containerId?: string;
  readonly netns?: string;
  readonly ifName?: string;
  /** CNI_ARGS, as pairs. */
  readonly args?: Readonly<Record<string, string>>;
  /** Which plugin in /opt/cni/bin. Default: calico. */
  readonly plugin?: string;
  /** More environment, which wins over all of the above. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory of the plugin. */
  readonly cwd?: string;
  /** In front of the plugin: a tracer, for example. */
  readonly prefix?: readonly string[];
  readonly timeout?: number;
}

/** How a plugin's run ended. */
export interface CniOutcome extends Outcome {
  /** Its standard output as JSON; undefined when that is empty or no JSON. */
  readonly json: unknown;
}

/** One pod of a node: a network namespace, and what a container runtime knows of it. */
export class Pod {
  /** 64 hexadecimal digits, as container runtimes make them; the same for the same node and pod. */
  readonly containerId: string;
  /** Its path on the node. */
  readonly netns: string;

  constructor(
    readonly node: Node,
    readonly name: string,
  ) {
    this.containerId = createHash("sha256").update(`${node.name}/${name}`).digest("hex");
    this.netns = `/run/netns/${name}`;
  }

  /** Runs a command in the pod's network, to whatever end. */
  exec(command: readonly string[], options?: ExecOptions): Promise<Outcome> {
    return this.node.start(command, options, this.name).outcome;
  }

  /** What a command printed; throws, with all that it said, when it did not exit with 0. */
  async run(command: readonly string[], options?: ExecOptions): Promise<string> {
    return expectSuccess(`${this.node.name}/${this.name}`, command, await this.exec(command, options));
  }

  /** Calls the built plugin as a runtime does. `conf` is the network configuration, as an object or as the very bytes. */
  async cni(verb: CniVerb, conf: object | string, attachment: Attachment = {}): Promise<CniOutcome> {
    const outcome = await this.startCni(verb, conf, attachment).outcome;
    return { ...outcome, json: parse(outcome.stdout) };
  }

  /** The same, not waited for. */
  startCni(verb: CniVerb, conf: object | string, attachment: Attachment = {}): Running {
    const { containerId = this.containerId, netns = this.netns, ifName = "eth0", args } = attachment;
    const variables = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: ifName,
      CNI_ARGS: args === undefined ? "" : cniArgs(args),
      CNI_PATH: "/opt/cni/bin",
      ...attachment.env,
    };
    const env = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ""));
    return this.node.start([...(attachment.prefix ?? []), `/opt/cni/bin/${attachment.plugin ?? "calico"}`], {
      env,
      stdin: typeof conf === "string" ? conf : JSON.stringify(conf),
      ...(attachment.cwd === undefined ? {} : { cwd: attachment.cwd }),
      ...(attachment.timeout === undefined ? {} : { timeout: attachment.timeout }),
    });
  }

  /** ADD that has to succeed: the result object. */
  async add(conf: object, attachment?: Attachment): Promise<Record<string, unknown>> {
    const outcome = await this.cni("ADD", conf, attachment);
    expectSuccess(`${this.node.name}/${this.name}`, ["ADD"], outcome);
    return outcome.json as Record<string, unknown>;
  }

  /** DEL that has to succeed. */
  async del(conf: object, attachment?: Attachment): Promise<void> {
    expectSuccess(`${this.node.name}/${this.name}`, ["DEL"], await this.cni("DEL", conf, attachment));
  }

  /** Removes the network namespace, and with it whatever is in it. */
  async remove(): Promise<void> {
    await this.node.run(["ip", "netns", "delete", this.name]);
  }
}

/** CNI_ARGS as a kubelet's runtime gives it: `IgnoreUnknown=1;K8S_POD_NAMESPACE=…`. */
export function cniArgs(pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .join(";");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
