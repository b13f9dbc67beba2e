/** Pods of a Deployment that answer over HTTP with their name, and the Service before them. */
import { type Cluster, isReady, type PodObject } from "./cluster.ts";
import { BUSYBOX } from "./stock.ts";

/** `app` of the pods. */
export const WEB = "web";
export const SELECTOR = `app=${WEB}`;
export const PORT = 8080;
export const SERVICE = "10.96.0.80";

/** As many on one node as on another. */
export const deployment = (replicas: number): object => ({
  ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: WEB, namespace: "default" } },
  spec: {
    replicas,
    selector: { matchLabels: { app: WEB } },
    template: {
      metadata: { labels: { app: WEB } },
      spec: {
        terminationGracePeriodSeconds: 1,
        topologySpreadConstraints: [
          {
            ...{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" },
            // A node that takes no pods is none to spread over.
            nodeTaintsPolicy: "Honor",
            labelSelector: { matchLabels: { app: WEB } },
          },
        ],
        containers: [
          {
            ...{ name: WEB, image: BUSYBOX, imagePullPolicy: "Never" },
            command: [
              ...["sh", "-c"],
              `echo "I am $HOSTNAME"; mkdir -p /www; echo $HOSTNAME >/www/index.html; exec httpd -f -p ${PORT} -h /www`,
            ],
          },
        ],
      },
    },
  },
});

export const service = {
  ...{ apiVersion: "v1", kind: "Service", metadata: { name: WEB, namespace: "default" } },
  spec: { clusterIP: SERVICE, selector: { app: WEB }, ports: [{ port: 80, targetPort: PORT }] },
};

/** They let each other in and nobody else: all of them are members of a set in the kernel of every node that has one. */
export const amongThemselves = {
  ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
  metadata: { name: "among-themselves", namespace: "default" },
  spec: {
    podSelector: { matchLabels: { app: WEB } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: WEB } } }] }],
  },
};

/** The name of the pod behind an address, "" when nothing answers. */
export async function ask(cluster: Cluster, from: PodObject, address: string, port: number): Promise<string> {
  const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 ${address} ${port}`;
  const { status, stdout } = await cluster.exec(from, ["sh", "-c", script]);
  return status === 0 ? (stdout.trim().split("\n").at(-1) ?? "") : "";
}

/** How a scale went. */
export interface Scaled {
  readonly milliseconds: number;
  /** Of each pod that came, from when it was first seen until it was ready, to a fifth of a second. */
  readonly starts: readonly number[];
}

/** Something that is done in the middle of a scale. */
export interface Meanwhile {
  /** From 0, at once, to 1. */
  readonly after: number;
  readonly work: () => Promise<unknown>;
}

/** Between looks at the pods, in milliseconds: each is an answer with all of them. */
const LOOK_MS = 200;

/**
 * Sets the number of pods, begins with each work of `meanwhile` as soon as that part of those that come (or go) has come (or gone), and resolves when
 * there are exactly so many, all ready, and the work is done.
 */
export async function scale(cluster: Cluster, replicas: number, meanwhile: readonly Meanwhile[] = []): Promise<Scaled> {
  const began = performance.now();
  const seen = new Map<string, { first: number; ready?: number }>();
  const old = new Set((await cluster.pods(SELECTOR)).map(({ metadata }) => metadata.uid));
  const before = old.size;
  await cluster.server.request(
    "PATCH",
    `/apis/apps/v1/namespaces/default/deployments/${WEB}/scale`,
    { spec: { replicas } },
    "application/merge-patch+json",
  );
  const waiting = [...meanwhile].sort((one, other) => one.after - other.after);
  const working: Promise<unknown>[] = [];
  let failure: { readonly error: unknown } | undefined;
  let last: readonly PodObject[] = [];
  let reached = "";
  await cluster.until(
    `${replicas} pods after ${before}`,
    async () => {
      if (failure) throw failure.error;
      last = await cluster.pods(SELECTOR);
      const now = performance.now();
      let ready = 0;
      for (const pod of last) {
        const times = seen.get(pod.metadata.uid) ?? { first: now };
        seen.set(pod.metadata.uid, times);
        if (pod.metadata.deletionTimestamp || !isReady(pod)) continue;
        times.ready ??= now;
        ready++;
      }
      reached = `${last.length} ${ready}`;
      const done = replicas > before ? ready - before : before - last.length;
      while (waiting.length > 0 && done >= waiting[0]!.after * Math.abs(replicas - before))
        working.push(
          waiting
            .shift()!
            .work()
            .catch((error: unknown) => {
              failure = { error };
            }),
        );
      if (last.length === replicas && ready === replicas) return true;
      await Bun.sleep(LOOK_MS);
      return false;
    },
    () =>
      last
        .filter((pod) => replicas < before || !isReady(pod))
        .map(stateOf)
        .join("\n"),
    () => reached,
  );
  await Promise.all(working);
  if (failure) throw failure.error;
  return {
    milliseconds: performance.now() - began,
    starts: [...seen].flatMap(([uid, { first, ready }]) =>
      old.has(uid) || ready === undefined ? [] : [ready - first],
    ),
  };
}

/** A line: where it is, and what is not so yet. */
const stateOf = ({ metadata, spec, status }: PodObject): string => {
  const lacking = (status.conditions ?? []).filter((one) => one.status !== "True").map(({ type }) => type);
  const end = metadata.deletionTimestamp ? ", to go" : "";
  return `${metadata.name} ${spec.nodeName ?? "nowhere"} ${status.podIP ?? "no address"} ${status.phase}, not ${lacking.join(", ")}${end}`;
};
