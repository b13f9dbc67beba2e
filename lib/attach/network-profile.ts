import { API_VERSION } from "../api/meta.ts";
import { Profile } from "../api/profile.ts";
import { type Client, DatastoreError } from "../datastore/index.ts";
import type { Identity } from "./identity.ts";

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
