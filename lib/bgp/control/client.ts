import { ControlError } from "./error.ts";
import type { BgpStatus, Family, RouteText, WhichRoutes } from "./status.ts";

const TIMEOUT_MS = 5_000;

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
    for await (const piece of body) {
      const pieces = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = pieces.pop()!;
      for (const line of pieces) yield JSON.parse(line) as RouteText;
    }
  }

  /** Why it is not; undefined when it is. */
  async whyNot(what: "liveness" | "readiness", families: readonly Family[]): Promise<string | undefined> {
    try {
      const query = new URLSearchParams(families.map((family): [string, string] => ["family", String(family)]));
      await this.#get(`/${what}?${query}`);
      return undefined;
    } catch (error) {
      if (error instanceof ControlError) return error.message;
      throw error;
    }
  }

  async #get(path: string): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`http://calico${path}`, { unix: this.#socket, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (error) {
      const why = (error as Error).message;
      throw new ControlError(
        "BGP_NOT_RUNNING",
        `nobody answers at ${this.#socket} (${why}); is calico-node running on this node, with CALICO_NETWORKING_BACKEND=bird?`,
        { cause: error },
      );
    }
    if (!response.ok) throw new ControlError("BGP_REFUSED", (await response.text()).trim());
    return response;
  }
}
