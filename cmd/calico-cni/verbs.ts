import { attachAfterBoot, attachByAgent } from "../../lib/attach/remote/client.ts";
import type { Invocation, Plugin, Result } from "../../lib/cni/index.ts";

const direct = async (): Promise<Plugin> => (await import("./direct.ts")).plugin;

/**
 * What the CNI plugin does for each verb: has the node's agent do it, and does it itself where there is none, or it is not the agent's to do. A file of its
 * own, so that VERSION does not load it.
 */
export const plugin: Plugin = {
  async add(call) {
    const answer = (await ask(call)) ?? (await askAfterBoot(call));
    return answer ? answer.result! : (await direct()).add(call);
  },
  async del(call) {
    if (!(await ask(call))) await (await direct()).del(call);
  },
  async check(call) {
    if (!(await ask(call))) await (await direct()).check(call);
  },
  gc: async (call) => (await direct()).gc(call),
  status: async (call) => (await direct()).status(call),
};

/** Once more, for as long as pods wait for their policy, where there is none on the node yet. Undefined: not served. */
async function askAfterBoot(call: Invocation): Promise<{ readonly result?: Result } | undefined> {
  if (call.config.policySetupTimeoutSeconds === 0) return undefined;
  const answer = await attachAfterBoot(call);
  return answer.served ? answer : undefined;
}

/** Undefined: not served. */
async function ask(call: Invocation): Promise<{ readonly result?: Result } | undefined> {
  const answer = await attachByAgent(call);
  if (answer.served) return answer;
  if (call.config.log.level === "debug") {
    const { attachLogger } = await import("../../lib/attach/index.ts");
    attachLogger(call.config).debug("does the work itself", { why: answer.why });
  }
  return undefined;
}
