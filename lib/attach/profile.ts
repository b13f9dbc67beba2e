import { PROFILE_KEY } from "../api/names.ts";
import { CniError, errorCode } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import type { Identity } from "./identity.ts";

/** A label's key, which the network's profile gives its endpoints, is no longer. */
const LONGEST_NAME = 63;

/**
 * Refuses a network whose name cannot be a profile's where endpoints refer to the network's profile. Throws CniError 7, before
 * anything is made.
 */
export function checkProfileName(identity: Identity, policyType: string): void {
  const { network } = identity;
  if (usesKubernetes(identity, policyType)) return;
  let before = ".";
  let isGood = network.length <= LONGEST_NAME;
  for (let i = 0; i < network.length; i++) {
    const c = network[i]!;
    if (c === ".") isGood &&= before !== "." && before !== "-";
    else if (c === "-") isGood &&= before !== ".";
    else isGood &&= (c >= "a" && c <= "z") || (c >= "0" && c <= "9");
    before = c;
  }
  if (isGood && before !== "." && before !== "-") return;
  throw new CniError(
    errorCode.invalidConfiguration,
    `"name" is ${JSON.stringify(network)}, which cannot be the name of the network's profile`,
    `at most ${LONGEST_NAME} lower-case letters, digits, '-' and '.', with a letter or digit at both ends of every part`,
  );
}

/** Whether the pod is looked up in Kubernetes: its endpoint then has the profiles of its namespace and service account (facts 2.5). */
export function usesKubernetes(identity: Identity, policyType: string): boolean {
  return identity.orchestrator === "k8s" && policyType === "k8s";
}

/** Only without a policy type the network's own profile is used, and made. */
export function usesNetworkProfile(policyType: string): boolean {
  return policyType === "";
}

/** Whether the network has its profile already. What is in it is Felix' to read. */
export function hasNetworkProfile(client: Client, network: string): Promise<boolean> {
  return client.exists(PROFILE_KEY, { name: network });
}
