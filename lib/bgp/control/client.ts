import { accessSync, constants } from "node:fs";
import { ControlError } from "./error.ts";
import type { BgpStatus, BrokenOff, Family, RouteText, WhichRoutes } from "./status.ts";

/** Until it begins to answer, in milliseconds; a long answer may take longer. */
const TIMEOUT_MS = 5_000;

/** Bun's own words are about URLs. */
function inWords({ code, message }: Error & { readonly code?: string }): string {
  if (code === "ENOENT") return "there is no such socket";
  if (code === "ECONNRESET") return "the connection was closed";
  return code === "ECONNREFUSED" ? "connection refused" : message;
}

export interface Health {
  /** Why it is not well; absent when it is. */
  readonly why?: string;
  readonly remarks: readonly string[];
}

/** Asks the BGP process of this node. Every call throws {@link ControlError}. */
export class ControlClient {
  readonly #socket: string;
  constructor(socket: string) {
    this.#socket = socket;
  }

  async status(): Promise<BgpStatus> {
    return (await (await this.#get("/status")).json()) as BgpStatus;
  }

  async explain(prefix: string): Promise<readonly RouteText[]> {
    return (await (await this.#get(`/explain?${new URLSearchParams({ prefix })}`)).json()) as RouteText[];
  }

  async *routes(which: WhichRoutes, peer?: string): AsyncIterable<RouteText> {
    const query = new URLSearchParams({ which, ...(peer !== undefined && { peer }) });
    const { body } = await this.#get(`/routes?${query}`);
    if (!body) return;
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for await (const piece of body) {
        const pieces = (rest + decoder.decode(piece, { stream: true })).split("\n");
        rest = pieces.pop()!;
        for (const line of pieces) {
          const route = JSON.parse(line) as RouteText | BrokenOff;
          if ("brokenOff" in route) throw new ControlError("BGP_REFUSED", route.brokenOff);
          yield route;
        }
      }
    } catch (error) {
      if (error instanceof ControlError) throw error;
      const words = `the answer at ${this.#socket} broke off: ${inWords(error as Error)}`;
      throw new ControlError("BGP_NOT_RUNNING", words, { cause: error });
    }
  }

  /** Whether it is; why it is not, or what there is to say nevertheless. `everyPeerMs`: so long after its start every peer has to be up. */
  async health(what: "liveness" | "readiness", families: readonly Family[], everyPeerMs?: number): Promise<Health> {
    try {
      const query = new URLSearchParams(families.map((family): [string, string] => ["family", String(family)]));
      if (everyPeerMs !== undefined) query.set("everyPeerMs", String(everyPeerMs));
      const [, ...remarks] = (await (await this.#get(`/${what}?${query}`)).text()).trimEnd().split("\n");
      return { remarks };
    } catch (error) {
      if (error instanceof ControlError) return { why: error.words, remarks: [] };
      throw error;
    }
  }

  async #get(path: string): Promise<Response> {
    let response: Response;
    const gaveUp = new AbortController();
    const timer = setTimeout(() => gaveUp.abort(), TIMEOUT_MS);
    try {
      response = await fetch(`http://calico${path}`, { unix: this.#socket, signal: gaveUp.signal });
    } catch (error) {
      throw this.#notAnswered(gaveUp.signal.aborted, error as Error);
    } finally {
      clearTimeout(timer);
    }
    if (!response.ok) throw new ControlError("BGP_REFUSED", (await response.text()).trim());
    return response;
  }

  #notAnswered(late: boolean, cause: Error): ControlError {
    if (late) {
      return new ControlError("BGP_NOT_RUNNING", `no answer at ${this.#socket} within ${TIMEOUT_MS / 1000} s`, {
        cause,
      });
    }
    try {
      accessSync(this.#socket, constants.R_OK | constants.W_OK);
    } catch (error) {
      if ((error as { code?: string }).code === "EACCES") {
        return new ControlError("BGP_FORBIDDEN", `only root may ask at ${this.#socket}`, { cause });
      }
    }
    return new ControlError(
      "BGP_NOT_RUNNING",
      `nobody answers at ${this.#socket} (${inWords(cause)}); is calico-node running on this node?`,
      { cause },
    );
  }
}
