import { readTextFile } from "../sys/index.ts";
import type { ClusterConfig, Pem } from "./config.ts";
import { KubernetesError } from "./errors.ts";

/** What a connection and a request need, as texts. The object is another one when, and only when, something in it changed. */
export interface Secrets {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** How long files are taken to be what they were, in milliseconds: kubelet renews a token hours before it expires. */
const FRESH = 10_000;

/** What a program answers: credentials, and until when they hold (Unix milliseconds). */
export interface ExecCredentials {
  readonly secrets: Pick<Secrets, "cert" | "key" | "token">;
  readonly expires?: number;
}

export interface CredentialsOptions {
  /** Runs the credential program; the real one when absent. */
  readonly run?: () => Promise<ExecCredentials>;
  /** Milliseconds; they need not be of any epoch. */
  readonly now?: () => number;
}

/**
 * The CA, certificate, key and token of a configuration, as they are now: files are read again when some time has passed, and all of
 * them at once when the API server, or the check of its certificate, says no. A file that cannot be read a second time is taken to be
 * what it was: whoever rotates it may be in the middle of that.
 */
export class Credentials {
  readonly #config: ClusterConfig;
  readonly #options: CredentialsOptions;
  readonly #now: () => number;
  #secrets: Secrets | undefined;
  #read = 0;
  #running: Promise<ExecCredentials> | undefined;
  #executed: ExecCredentials | undefined;

  constructor(config: ClusterConfig, options: CredentialsOptions = {}) {
    this.#config = config;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Whether there is anything that could be different when it is read again. */
  get renewable(): boolean {
    const { auth, ca } = this.#config;
    const inFile = (pem: Pem | undefined): boolean => typeof pem === "object";
    return (
      auth.type === "exec" ||
      auth.type === "tokenFile" ||
      inFile(ca) ||
      (auth.type === "certificate" && (inFile(auth.cert) || inFile(auth.key)))
    );
  }

  /** For messages: which credentials these are, never what they are. */
  get origin(): string {
    const { auth } = this.#config;
    switch (auth.type) {
      case "none":
        return "none are configured";
      case "certificate":
        return `the client certificate${typeof auth.cert === "object" ? ` ${auth.cert.file}` : ""}`;
      case "token":
        return "the token of the configuration";
      case "tokenFile":
        return `the token in ${auth.file}`;
      default:
        return `what the program ${auth.command} printed`;
    }
  }

  /** The present ones. CONFIG when they cannot be had. */
  async current(): Promise<Secrets> {
    const { auth } = this.#config;
    if (auth.type === "exec" && (!this.#executed || this.#expired(this.#executed))) {
      this.#executed = await this.#execute();
      return this.#renewFrom(this.#executed);
    }
    if (this.#secrets && (!this.renewable || this.#now() - this.#read < FRESH)) return this.#secrets;
    return this.#renewFrom(this.#executed);
  }

  /** Reads, or runs, everything again, unless that was done since `used` was current. Answers what is current now. */
  async renew(used: Secrets): Promise<Secrets> {
    if (this.#secrets && this.#secrets !== used) return this.#secrets;
    if (this.#config.auth.type === "exec") this.#executed = await this.#execute();
    return this.#renewFrom(this.#executed);
  }

  #expired({ expires }: ExecCredentials): boolean {
    return expires !== undefined && Date.now() >= expires;
  }

  #renewFrom(executed: ExecCredentials | undefined): Secrets {
    const before = this.#secrets;
    this.#read = this.#now();
    const { ca, auth } = this.#config;
    const next: { -readonly [K in keyof Secrets]: Secrets[K] } = { ...executed?.secrets };
    if (ca !== undefined) next.ca = readPem(ca, "CERTIFICATE", "the CA", before?.ca);
    if (auth.type === "certificate") {
      next.cert = readPem(auth.cert, "CERTIFICATE", "the client certificate", before?.cert);
      next.key = readPem(auth.key, "PRIVATE KEY", "the client key", before?.key);
    } else if (auth.type === "token") next.token = auth.token;
    else if (auth.type === "tokenFile") next.token = readToken(auth.file, before?.token);
    if (before && same(before, next)) return before;
    this.#secrets = next;
    return next;
  }

  /** Whoever asks while the program runs waits for the same answer. */
  async #execute(): Promise<ExecCredentials> {
    this.#running ??= (this.#options.run ?? (() => this.#runProgram()))();
    try {
      return await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  async #runProgram(): Promise<ExecCredentials> {
    const { auth } = this.#config;
    if (auth.type !== "exec") return { secrets: {} };
    const { runCredentialProgram } = await import("./exec.ts");
    return runCredentialProgram(auth, this.#config);
  }
}

const same = (a: Secrets, b: Secrets): boolean =>
  a.ca === b.ca && a.cert === b.cert && a.key === b.key && a.token === b.token;

/** A token as it can stand in a header; it is not repeated in the message. */
export function checkedToken(token: string, where: string): string {
  const trimmed = token.trim();
  if (trimmed === "") throw new KubernetesError("CONFIG", `${where}: empty: must hold a token`);
  if (!/^[\x21-\x7e]+$/.test(trimmed))
    throw new KubernetesError("CONFIG", `${where}: holds what no token does: must be one token and nothing else`);
  return trimmed;
}

function readToken(file: string, before: string | undefined): string {
  try {
    return checkedToken(readFile(file, "the token"), `the token file ${file}`);
  } catch (error) {
    if (before !== undefined) return before;
    throw error;
  }
}

function readPem(pem: Pem, label: string, what: string, before: string | undefined): string {
  if (typeof pem === "string") return checkedPem(pem, label, what);
  try {
    return checkedPem(readFile(pem.file, what), label, `${what} in ${pem.file}`);
  } catch (error) {
    if (before !== undefined) return before;
    throw error;
  }
}

function checkedPem(text: string, label: string, where: string): string {
  if (text.includes("-----BEGIN ") && text.includes(`${label}-----`)) return text;
  throw new KubernetesError("CONFIG", `${where}: must be a ${label} in PEM`);
}

/** CONFIG when it cannot be read. */
export function readFile(file: string, what: string): string {
  let text: string | undefined;
  try {
    text = readTextFile(file);
  } catch (error) {
    throw new KubernetesError("CONFIG", `${what}: ${(error as Error).message}`, { cause: error });
  }
  if (text === undefined) throw new KubernetesError("CONFIG", `${what}: there is no file ${file}`);
  return text;
}
