import { KubernetesError, type KubernetesErrorCode, type StatusDetails } from "./errors.ts";

/** What a request was for: messages begin with it. */
export interface Subject {
  /** "kubernetes https://10.96.0.1:443" */
  readonly name: string;
  /** "get pods default/web-0" */
  readonly what: string;
  /** It changes something, so that it matters whether it was carried out. */
  readonly changes: boolean;
}

const DOUBT = "; the write may or may not have been carried out";

/** Codes of `fetch` that mean that nothing was sent. */
const NOT_CONNECTED = new Set([
  "ConnectionRefused",
  "ECONNREFUSED",
  "FailedToOpenSocket",
  "ENOTFOUND",
  "EAI_AGAIN",
  "DNSException",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/** The code of an error of `fetch`, or "". */
export function codeOf(error: unknown): string {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "";
}

/** The server's certificate, or ours, is what stopped the connection. */
export const isTlsFailure = (error: unknown): boolean =>
  /CERT|SELF_SIGNED|UNABLE_TO_|TLS|SSL|FailedToOpenSocket/.test(codeOf(error));

/** Nothing of the request can have reached the API server. */
export const isNotSent = (error: unknown): boolean => NOT_CONNECTED.has(codeOf(error)) || isTlsFailure(error);

/** The connection ended under the request: also what a kept-alive one does that the API server had closed. */
export const isBrokenOff = (error: unknown): boolean =>
  ["ECONNRESET", "ConnectionClosed", "EPIPE", "HTTP2StreamReset"].includes(codeOf(error));

/** How the configuration says that the server is to be trusted. */
export interface Trust {
  readonly host: string;
  readonly hasCa: boolean;
  readonly caFile: string | undefined;
  readonly serverName: string | undefined;
  /** Why certificate and key cannot be used, when they cannot. */
  readonly unusable: string | undefined;
}

/** CONNECTION (or CONFIG, when our own files are why) for what `fetch` threw. */
export function connectionError(subject: Subject, error: unknown, trust: Trust): KubernetesError {
  const code = codeOf(error);
  const fail = (problem: string, kind: KubernetesErrorCode = "CONNECTION") => {
    const doubtful = subject.changes && !isNotSent(error);
    return new KubernetesError(kind, `${subject.name}: ${subject.what}: ${problem}${doubtful ? DOUBT : ""}`, {
      doubtful,
      cause: error,
    });
  };
  if (trust.unusable) return fail(trust.unusable, "CONFIG");
  switch (code) {
    case "ECONNREFUSED":
    case "ConnectionRefused":
      return fail(
        `connection refused: no API server listens at ${trust.host}; check that it runs and that the address is right`,
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "DNSException":
      return fail(`the name of ${trust.host} cannot be resolved: check the address and this host's DNS`);
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return fail(`there is no route to ${trust.host}: check the address and this host's network`);
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return fail(
        trust.serverName
          ? `the server's certificate is not for "${trust.serverName}": tls-server-name must be one of the names in it`
          : `the server's certificate is not for ${trust.host}: use a name that is in it, or set tls-server-name`,
      );
    case "CERT_HAS_EXPIRED":
      return fail("the server's certificate, or its CA's, has expired: renew it, and check this host's clock");
    case "CERT_NOT_YET_VALID":
      return fail("the server's certificate is not valid yet: check this host's clock");
    case "FailedToOpenSocket":
      return fail(`the connection could not be opened: check the address ${trust.host} and the certificates`);
  }
  if (isTlsFailure(error)) {
    if (!trust.hasCa)
      return fail(
        `the server's certificate is not one that this host trusts (${code}): the configuration names no CA; give it the cluster's`,
      );
    return fail(
      `the server's certificate was not issued by the configured CA${trust.caFile ? ` in ${trust.caFile}` : ""} (${code}): it must be the CA of this cluster; is ${trust.host} the right server?`,
    );
  }
  if (isBrokenOff(error)) return fail("the connection broke off before the answer was complete");
  return fail(`cannot be reached (${code || (error instanceof Error ? error.name : "unknown error")})`);
}

/** CONNECTION: nothing came in time. */
export function timeoutError(
  subject: Subject,
  milliseconds: number,
  waitedFor: "credentials" | "answer",
): KubernetesError {
  const doubtful = subject.changes && waitedFor === "answer";
  return new KubernetesError(
    "CONNECTION",
    `${subject.name}: ${subject.what}: no ${waitedFor} within ${Math.round(milliseconds) / 1000} s${doubtful ? DOUBT : ""}`,
    { doubtful },
  );
}

interface StatusFields {
  readonly message?: unknown;
  readonly reason?: unknown;
  readonly details?: StatusDetails | null;
  readonly code?: unknown;
}

/** The error that a Status object, or whatever else was the body of an answer that is not a success, stands for. */
export function statusError(subject: Subject, status: number, body: string, credentials: string): KubernetesError {
  return errorOfStatus(subject, status, parseStatus(body), body, credentials);
}

/** The error that the object of an ERROR event stands for. */
export function eventError(subject: Subject, object: unknown, credentials: string): KubernetesError {
  const found = isStatus(object) ? object : {};
  return errorOfStatus(subject, typeof found.code === "number" ? found.code : 500, found, "", credentials);
}

function errorOfStatus(
  subject: Subject,
  status: number,
  found: StatusFields | undefined,
  body: string,
  credentials: string,
): KubernetesError {
  const reason = typeof found?.reason === "string" && found.reason !== "" ? found.reason : undefined;
  const details = found?.details ?? undefined;
  const code = codeFor(status, reason);
  const said = typeof found?.message === "string" && found.message !== "" ? found.message : plain(body, status);
  const missing = code === "NOT_FOUND" && !details?.name;
  // A gateway in front of the API server gave up: what became of the request is unknown. 503 is a refusal.
  const doubtful = subject.changes && status >= 500 && status !== 503;
  const message = `${subject.name}: ${subject.what}: ${said}${doubtful ? DOUBT : ""}${remedy(code, missing, credentials, found)}`;
  return new KubernetesError(code, message, { status, reason, details, doubtful });
}

function codeFor(status: number, reason: string | undefined): KubernetesErrorCode {
  switch (status) {
    case 401:
      return "UNAUTHORIZED";
    case 403:
      return "FORBIDDEN";
    case 404:
      return "NOT_FOUND";
    case 409:
      return reason === "AlreadyExists" ? "ALREADY_EXISTS" : "CONFLICT";
    case 410:
      return "GONE";
    case 429:
      return "TOO_MANY_REQUESTS";
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return "INVALID";
    default:
      return "SERVER";
  }
}

function remedy(
  code: KubernetesErrorCode,
  missing: boolean,
  credentials: string,
  found: StatusFields | undefined,
): string {
  switch (code) {
    case "UNAUTHORIZED":
      return `: the API server does not accept the credentials (${credentials}): renew them`;
    case "FORBIDDEN":
      return found ? ": a role that is bound to this user must allow it" : "";
    case "NOT_FOUND":
      return missing ? ": the API server has no such resource; is its CustomResourceDefinition installed?" : "";
    case "TOO_MANY_REQUESTS":
      return ": the API server is overloaded, or its priority and fairness settings hold this user back";
    default:
      return "";
  }
}

function parseStatus(body: string): StatusFields | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isStatus(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isStatus = (value: unknown): value is StatusFields =>
  typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "Status";

/** The first line of a body that is not a Status, when it is for people: API servers answer some errors so. */
function plain(body: string, status: number): string {
  const line = body.trim().split("\n")[0] ?? "";
  return line !== "" && line.length <= 200 && !/[<{]/.test(line)
    ? `${line} (HTTP status ${status})`
    : `HTTP status ${status}; is this a Kubernetes API server?`;
}
