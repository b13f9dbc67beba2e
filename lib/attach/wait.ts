import { type EndpointStatus, endpointStatusFileName } from "../api/endpointstatus.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type NetworkConfig } from "../cni/index.ts";
import { formatCidr, tryParseCidr } from "../ip/index.ts";
import { pathExists, readTextFile } from "../sys/index.ts";
import type { Host } from "./host.ts";
import type { Identity } from "./identity.ts";

/** How long all of `readiness_gates` may take each, and one question to one of them; upstream's times. */
const GATE_TIMEOUT_MS = 30_000;
const GATE_QUESTION_MS = 5_000;

export interface WaitTimes {
  readonly gateTimeoutMs: number;
  readonly pauseMs: number;
}

const TIMES: WaitTimes = { gateTimeoutMs: GATE_TIMEOUT_MS, pauseMs: 1_000 };

/** Waits until every URL of `readiness_gates` answers with a status from 200 to 399; CniError 11 when one does not. */
export async function awaitGates(config: NetworkConfig, host: Host, times: WaitTimes = TIMES): Promise<void> {
  for (const gate of config.readinessGates) {
    const deadline = performance.now() + times.gateTimeoutMs;
    for (;;) {
      const problem = await askGate(gate, Math.min(GATE_QUESTION_MS, times.gateTimeoutMs));
      if (problem === undefined) break;
      host.log.info("readiness gate is not ready", { gate, problem });
      if (performance.now() + times.pauseMs > deadline) {
        throw new CniError(
          errorCode.tryAgainLater,
          `the readiness gate ${gate} is not ready: ${problem}`,
          `it is one of "readiness_gates" and was asked for ${times.gateTimeoutMs / 1000} s`,
        );
      }
      await pause(times.pauseMs);
    }
  }
}

/** What is wrong with a gate; undefined when it is ready. */
export async function askGate(gate: string, timeoutMs = GATE_QUESTION_MS): Promise<string | undefined> {
  try {
    // A gate is on the node: the proxy of the runtime's environment is for the world outside.
    const answer = await fetch(gate, { signal: AbortSignal.timeout(timeoutMs), proxy: false } as RequestInit);
    await answer.body?.cancel();
    return answer.status >= 200 && answer.status < 400 ? undefined : `it answers with status ${answer.status}`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** How long an ADD that the agent serves waits for policy, where the configuration does not say. */
const POLICY_TIMEOUT_MS = 10_000;

/**
 * Why a pod that waits for its policy would be open rather than closed meanwhile; undefined: it would not, or does not wait. The folder lies in
 * /var/run, which is empty after a boot, and the agent makes it once its first policy is in the kernel: from then on what is not programmed is dropped.
 */
export function whyOpen(config: NetworkConfig, host: Host): readonly [message: string, details: string] | undefined {
  if (config.policySetupTimeoutSeconds === 0) return undefined;
  const folder = statusFolder(config, host);
  if (pathExists(folder)) return undefined;
  return [
    "network policy is not in force on this node yet",
    `calico-node makes ${folder} with its first policy since the node started; "policy_setup_timeout_seconds" says that pods wait for it`,
  ];
}

/** The endpoint whose policy is waited for: by these three it is found, and by what it has, told from one before it. */
export interface AwaitedEndpoint {
  readonly id: { readonly orchestrator: string; readonly workload: string; readonly endpoint: string };
  /** As the endpoint's record has them. */
  readonly mac: string | undefined;
  readonly ipNetworks: readonly string[];
}

/**
 * `policy_setup_timeout_seconds`: waits until Felix says that the endpoint's policy is in force, by a file in
 * `endpoint_status_dir`. As upstream, a pod whose policy takes too long starts all the same, and the log says so: what is not
 * programmed yet is dropped. The agent knows by itself, and always waits.
 */
export async function awaitPolicy(
  config: NetworkConfig,
  host: Host,
  identity: Identity,
  endpoint: WorkloadEndpoint,
): Promise<void> {
  if (host.agent) {
    const { mac, ipNetworks = [] } = endpoint.spec;
    const patience = config.policySetupTimeoutSeconds * 1000 || POLICY_TIMEOUT_MS;
    try {
      await host.agent.policyInForce({ id: endpointId(identity, endpoint), mac, ipNetworks }, patience);
    } catch (error) {
      host.log.warning("the endpoint's policy is not in force in time; the pod starts without waiting longer", {
        container: identity.containerId,
        reason: (error as Error).message,
      });
    }
    return;
  }
  if (config.policySetupTimeoutSeconds === 0) return;
  const file = `${statusFolder(config, host)}/${statusFileName(identity, endpoint)}`;
  const deadline = performance.now() + config.policySetupTimeoutSeconds * 1000;
  for (let waited = 10; !isInForce(readTextFile(file), endpoint); waited = Math.min(waited * 1.5, 200)) {
    const left = deadline - performance.now();
    if (left <= 0) {
      host.log.warning("the endpoint's policy is not in force in time; the pod starts without waiting longer", {
        file,
      });
      return;
    }
    await pause(Math.min(waited, left));
  }
}

/** Whether the status file speaks of this endpoint, and not of one before it: a pod that is made anew under its name has the same file. */
function isInForce(text: string | undefined, { spec }: WorkloadEndpoint): boolean {
  if (text === undefined) return false;
  let status: EndpointStatus;
  try {
    status = JSON.parse(text) as EndpointStatus;
  } catch {
    return true; // that it is there is what counts
  }
  const { mac, ipv4Nets = [], ipv6Nets = [] } = status ?? {};
  if (mac && spec.mac && mac.toLowerCase() !== spec.mac.toLowerCase()) return false;
  const nets = new Set([...ipv4Nets, ...ipv6Nets].map(canonical));
  return nets.size === 0 || (spec.ipNetworks ?? []).every((net) => nets.has(canonical(net)));
}

export function canonical(net: string): string {
  const cidr = tryParseCidr(net);
  return cidr ? formatCidr(cidr) : net;
}

/** Where the agent says which endpoints' policy is in force. */
export function statusFolder(config: NetworkConfig, host: Host): string {
  return config.endpointStatusDir || host.files.endpointStatus;
}

/** Of the endpoint's status file. */
export function statusFileName(identity: Identity, endpoint: WorkloadEndpoint): string {
  return endpointStatusFileName(endpointId(identity, endpoint));
}

function endpointId(identity: Identity, endpoint: WorkloadEndpoint): AwaitedEndpoint["id"] {
  return {
    orchestrator: identity.orchestrator,
    workload: `${identity.namespace}/${identity.pod || identity.containerId}`,
    endpoint: endpoint.spec.endpoint ?? identity.ifName,
  };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
