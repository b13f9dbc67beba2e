import { ClusterInformation } from "../../api/clusterinformation.ts";
import type { Kind } from "../../api/kind.ts";
import { Namespace } from "../../api/kubernetes/namespace.ts";
import { Pod } from "../../api/kubernetes/pod.ts";
import type { Resource } from "../../api/meta.ts";
import { type Client, DatastoreError, type Index } from "../../datastore/index.ts";
import { ANNOTATION } from "../../kubernetes/conversion/index.ts";
import type { Logger } from "../../telemetry/index.ts";
import { pause } from "../../wait/index.ts";
import type { WarmObjects } from "../host.ts";

/** Waits until a kind that could not be watched is tried again, in milliseconds. */
const RETRY = { first: 500, most: 30_000 };

/**
 * What an ADD would read of Kubernetes, from watches: pods of this node that nothing was attached to yet, namespaces, the gate. What is
 * not here is to be read. What is here may be as old as a watch is late (a broken one is noticed within three minutes), which
 * a pod's uid guards: it is asked for, and the write of the endpoint is refused to another one.
 */
export class WarmCluster implements WarmObjects {
  /** Resolves when everything is known, or it is closed. */
  readonly inSync: Promise<unknown>;
  readonly #pods = new Map<string, Pod>();
  /** Uids of pods that were handed out: what is attached next to such a one depends on what became of the first. */
  readonly #attached = new Map<string, string>();
  readonly #namespaces = new Map<string, Namespace>();
  readonly #information = new Map<string, ClusterInformation>();
  readonly #client: Client;
  readonly #log: Logger;
  readonly #stop = new AbortController();

  constructor(client: Client, node: string, log: Logger) {
    this.#client = client;
    this.#log = log;
    const pods = {
      set: (key: string, pod: Pod) => this.#keepPod(key, pod),
      delete: (key: string) => {
        this.#pods.delete(key);
        this.#attached.delete(key);
      },
      clear: () => this.#pods.clear(),
    };
    this.inSync = Promise.all([
      this.#follow(Pod, pods, { node }),
      this.#follow(Namespace, this.#namespaces),
      this.#follow(ClusterInformation, this.#information),
    ]);
  }

  /** Once for a pod: whoever asks again comes after an attempt to attach it, and has to read what that left. */
  pod(namespace: string, name: string, uid: string): Pod | undefined {
    const key = `${namespace}/${name}`;
    const pod = this.#pods.get(key);
    if (pod === undefined || pod.metadata.uid !== uid) return undefined;
    this.#pods.delete(key);
    this.#attached.set(key, uid);
    return pod;
  }

  namespace(name: string): Namespace | undefined {
    return this.#namespaces.get(name);
  }

  information(): ClusterInformation | undefined {
    return this.#information.get("default");
  }

  close(): void {
    this.#stop.abort();
    for (const objects of [this.#pods, this.#namespaces, this.#information]) objects.clear();
  }

  #keepPod(key: string, pod: Pod): void {
    const { uid, annotations } = pod.metadata;
    if (uid !== this.#attached.get(key)) this.#attached.delete(key);
    const isNew = !this.#attached.has(key) && !annotations?.[ANNOTATION.containerID];
    if (isNew) this.#pods.set(key, pod);
    else this.#pods.delete(key);
  }

  /** Keeps objects by a watch, which is begun anew when it ends; resolves when it has told of all there are. */
  #follow<R extends Resource>(
    kind: Kind<R>,
    objects: { set(key: string, object: R): void; delete(key: string): void; clear(): void },
    index?: Index,
  ): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((synced) => {
      signal.addEventListener("abort", () => synced());
      const run = async (): Promise<void> => {
        for (let wait = RETRY.first; !signal.aborted; wait = Math.min(wait * 2, RETRY.most)) {
          try {
            for await (const event of this.#client.watch(kind, { signal, shared: true, ...(index ? { index } : {}) })) {
              if (signal.aborted) return;
              wait = RETRY.first;
              if (event.type === "synced") synced();
              // Which of them it is, its key does not say in every datastore.
              else if (event.type === "invalid") objects.clear();
              else if (event.type === "deleted") objects.delete(keyOf(event.resource));
              else objects.set(keyOf(event.resource), event.resource);
            }
          } catch (error) {
            if (signal.aborted) return;
            this.#log.warning(`${kind.kind} cannot be watched: it is read for every attachment`, {
              error: error instanceof Error ? error.message : String(error),
            });
            if (!(error instanceof DatastoreError)) {
              objects.clear();
              return;
            }
          }
          objects.clear();
          await pause(wait, signal);
        }
      };
      void run();
    });
  }
}

const keyOf = ({ metadata: { namespace, name } }: Resource): string =>
  namespace === undefined ? name : `${namespace}/${name}`;
