import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { ANNOTATION } from "./annotations.ts";

/**
 * A strategic merge patch (`application/strategic-merge-patch+json`) of a pod's `status` subresource: annotations are all that is kept
 * of an endpoint, because kubelet undoes what others write to the status itself. Its `JSON.stringify` is upstream's patch to the
 * byte, which has the keys sorted (libcalico-go/lib/backend/k8s/resources/workloadendpoint.go).
 */
export interface PodPatch {
  readonly metadata: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
    readonly uid?: string;
  };
}

/** Which pod the patch is for: both fields of an object are immutable in a patch, so one that differs makes it fail with a conflict. */
export interface PodPatchGuard {
  /** The pod's, so that a new pod of the same name is left alone. */
  readonly uid?: string | undefined;
  /** Given for deletions only: between the ADD and its patch, kubelet may have written the pod. */
  readonly resourceVersion?: string | undefined;
}

/** What ADD writes: the addresses and the container. An endpoint without addresses writes nothing at all. */
export function endpointToPodPatch(endpoint: WorkloadEndpoint, guard: PodPatchGuard = {}): PodPatch {
  const { ipNetworks = [], containerID = "" } = endpoint.spec;
  if (ipNetworks.length === 0) return patchOf(undefined, guard);
  return patchOf(
    {
      ...(containerID === "" ? {} : { [ANNOTATION.containerID]: containerID }),
      [ANNOTATION.podIP]: ipNetworks[0]!,
      [ANNOTATION.podIPs]: ipNetworks.join(","),
    },
    guard,
  );
}

/** What DEL writes: that the pod has lost its addresses. The container stays, so that a repeated DEL can tell whose pod it sees. */
export function deletedEndpointToPodPatch(guard: PodPatchGuard = {}): PodPatch {
  return patchOf({ [ANNOTATION.podIP]: "", [ANNOTATION.podIPs]: "" }, guard);
}

function patchOf(annotations: Record<string, string> | undefined, { uid, resourceVersion }: PodPatchGuard): PodPatch {
  return {
    metadata: {
      ...(annotations === undefined ? {} : { annotations }),
      ...(resourceVersion === undefined || resourceVersion === "" ? {} : { resourceVersion }),
      ...(uid === undefined || uid === "" ? {} : { uid }),
    },
  };
}
