/** The API server's own record of what was asked of it: the only count of requests that no client can get wrong. */

/** One request that was answered (of a watch: that has begun), as the audit log says it at level Metadata. */
export interface AuditEvent {
  readonly user: string;
  readonly verb: string;
  /** "pods/status", "ipamblocks.crd.projectcalico.org"; undefined for a path that is no resource (/version, /readyz). */
  readonly resource: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly uri: string;
  readonly status: number;
  readonly userAgent: string;
  /** When it arrived and when it was answered, in milliseconds since 1970. */
  readonly received: number;
  readonly finished: number;
}

/** Counts of a stretch of the record. */
export interface AuditSummary {
  readonly requests: number;
  /** create, update, patch, delete and deletecollection that were answered below 400. */
  readonly writes: number;
  /** "get pods" → how many. */
  readonly byVerb: ReadonlyMap<string, number>;
}

const WRITES = new Set(["create", "update", "patch", "delete", "deletecollection"]);

export function summarise(events: Iterable<AuditEvent>): AuditSummary {
  let requests = 0;
  let writes = 0;
  const byVerb = new Map<string, number>();
  for (const event of events) {
    requests++;
    if (WRITES.has(event.verb) && event.status < 400) writes++;
    const key = `${event.verb} ${event.resource ?? event.uri.split("?")[0]}`;
    byVerb.set(key, (byVerb.get(key) ?? 0) + 1);
  }
  return { requests, writes, byVerb };
}

/** The audit policy that {@link parseAudit} reads: metadata of every request, when it is answered; of a watch, when it begins and when it ends. */
export const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived", "Panic"],
  rules: [{ level: "Metadata" }],
};

interface Line {
  readonly auditID?: string;
  readonly user?: { readonly username?: string };
  readonly verb?: string;
  readonly objectRef?: {
    readonly resource?: string;
    readonly subresource?: string;
    readonly apiGroup?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly requestURI?: string;
  readonly responseStatus?: { readonly code?: number };
  readonly userAgent?: string;
  readonly requestReceivedTimestamp?: string;
  readonly stageTimestamp?: string;
}

/** The requests of an audit log, each once; an unfinished last line is left for the next time. */
export function parseAudit(text: string): AuditEvent[] {
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  const seen = new Set<string | undefined>();
  return whole
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line)
    .filter(({ auditID }) => !seen.has(auditID) && seen.add(auditID))
    .map((event) => {
      const ref = event.objectRef;
      const plural = ref?.apiGroup ? `${ref.resource}.${ref.apiGroup}` : ref?.resource;
      return {
        user: event.user?.username ?? "",
        verb: event.verb ?? "",
        resource: plural && (ref?.subresource ? `${plural}/${ref.subresource}` : plural),
        namespace: ref?.namespace,
        name: ref?.name,
        uri: event.requestURI ?? "",
        status: event.responseStatus?.code ?? 0,
        userAgent: event.userAgent ?? "",
        received: Date.parse(event.requestReceivedTimestamp ?? ""),
        finished: Date.parse(event.stageTimestamp ?? ""),
      };
    });
}
