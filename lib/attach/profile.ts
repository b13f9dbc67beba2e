import { API_VERSION } from "../api/meta.ts";
import { Profile } from "../api/profile.ts";
import { CniError, errorCode } from "../cni/index.ts";
import { type Client, DatastoreError } from "../datastore/index.ts";
import type { Identity } from "./identity.ts";

/** A label's key, which the network's profile gives its endpoints, is no longer. */
const LONGEST_NAME = 63;

/**
 * Refuses a network whose name cannot be a profile's where endpoints refer to the network's profile. Throws CniError 7, before
 * anything is made.
 */
export function checkProfileName(identity: Identity, policyType: string): void {
  const { network } = identity;
  if (identity.orchestrator === "k8s" && policyType === "k8s") return;
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

/** The profiles a new endpoint refers to: the network's, or with `policy.type` k8s the pod's namespace's (facts 2.5). */
export function profilesOf(identity: Identity, policyType: string): string[] {
  // The service account's (`ksa.…`) needs the pod, which only the Kubernetes API knows.
  if (identity.orchestrator === "k8s" && policyType === "k8s") return [`kns.${identity.namespace}`];
  return [identity.network];
}

/** Only without a policy type the network's own profile is used, and made. */
export function usesNetworkProfile(policyType: string): boolean {
  return policyType === "";
}

export function readNetworkProfile(client: Client, network: string): Promise<Profile | undefined> {
  return client.get(Profile, { name: network });
}

/**
 * The network's profile as upstream makes it: everything may go out, and in may come what has the profile too; under
 * Kubernetes everything. An existing one is never changed.
 */
export function networkProfile(identity: Identity): Profile {
  const { network } = identity;
  const ingress =
    identity.orchestrator === "k8s"
      ? [{ action: "Allow", source: {}, destination: {} }]
      : [{ action: "Allow", source: { selector: `has(${network})` }, destination: {} }];
  return {
    apiVersion: API_VERSION,
    kind: "Profile",
    metadata: { name: network },
    spec: {
      ingress,
      egress: [{ action: "Allow", source: {}, destination: {} }],
      labelsToApply: { [network]: "" },
    },
  } as Profile;
}

/** Makes the profile; another ADD of the same network may be quicker. */
export async function ensureNetworkProfile(client: Client, identity: Identity): Promise<void> {
  try {
    await client.create(Profile, networkProfile(identity));
  } catch (error) {
    if (!(error instanceof DatastoreError) || error.code !== "EXISTS") throw error;
  }
}
