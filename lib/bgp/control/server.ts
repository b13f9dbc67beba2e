import { unlinkSync } from "node:fs";
import { cidrFromAddress, formatCidr, tryParseAddress } from "../../ip/index.ts";
import { ControlError } from "./error.ts";
import { peerInWords, whyNotReady } from "./readiness.ts";
import type { BgpStatus, BrokenOff, Family, PeerStatus, RouteText, WhichRoutes } from "./status.ts";

/** What answers are made of. */
export interface ControlSource {
  status(): BgpStatus | Promise<BgpStatus>;
  /** Throws a RangeError where the text is no prefix, a {@link ControlError} where this back end cannot say. */
  explain(prefix: string): readonly RouteText[] | Promise<readonly RouteText[]>;
  /** Of all peers (`best`), or of one by its name; undefined: there is no such session now. Throws as {@link explain} does. */
  routes(which: WhichRoutes, peer?: string): Routes | undefined | Promise<Routes | undefined>;
}

/** One after the other: at once from tables of this process, as they come from another's. Whoever wants no more of them returns the iterator. */
export type Routes = Iterable<RouteText> | AsyncIterable<RouteText>;

/** Routes go out in pieces of so many. */
const PIECE = 1_000;

/** Serves a speaker's state on a unix socket that only root can open. Closing removes the socket. */
export function serveControl(path: string, source: ControlSource): { close(): Promise<void> } {
  const began = performance.now();
  unlinkQuietly(path);
  // From its first moment on, not only once its mode is changed.
  const umask = process.umask(0o177);
  const server = Bun.serve({
    unix: path,
    fetch: async (request) => {
      const url = new URL(request.url);
      try {
        return await answer(url, source, performance.now() - began);
      } catch (error) {
        if (error instanceof RangeError) return new Response(`${error.message}\n`, { status: 400 });
        if (error instanceof ControlError) return new Response(`${error.words}\n`, { status: 501 });
        throw error;
      }
    },
    error: (error) => new Response(`${error.message}\n`, { status: 500 }),
  });
  process.umask(umask);
  return {
    close: async () => {
      await server.stop(true);
      unlinkQuietly(path);
    },
  };
}

async function answer({ pathname, searchParams }: URL, source: ControlSource, uptimeMs: number): Promise<Response> {
  switch (pathname) {
    case "/status":
      return Response.json(await source.status());
    case "/liveness":
      return new Response("live\n");
    case "/readiness": {
      const families = searchParams.getAll("family").map(Number) as Family[];
      const everyPeerMs = searchParams.has("everyPeerMs") ? Number(searchParams.get("everyPeerMs")) : undefined;
      const status = await source.status();
      const why = whyNotReady(status, uptimeMs, families.length > 0 ? families : undefined, everyPeerMs);
      if (why !== undefined) return new Response(`${why}\n`, { status: 503 });
      return new Response(["ready", ...(status.notServed ?? []), ""].join("\n"));
    }
    case "/explain":
      return Response.json(await explain(source, searchParams.get("prefix") ?? ""));
    case "/routes": {
      const which = (searchParams.get("which") ?? "best") as WhichRoutes;
      const asked = searchParams.get("peer") ?? undefined;
      const peers = asked === undefined ? [] : (await source.status()).peers;
      const peer = peers.find(({ name, address }) => name === asked || address === asked);
      const routes = await source.routes(which, peer?.name ?? asked);
      if (!routes) return new Response(`${whyNoRoutes(asked, peer, peers)}\n`, { status: 404 });
      return new Response(lines(routes), { headers: { "content-type": "application/x-ndjson" } });
    }
    default:
      return new Response("not found\n", { status: 404 });
  }
}

/** Of a prefix: its own routes. Of an address: those of the longest prefix that has any, which is what its packets go by. */
async function explain(source: ControlSource, text: string): Promise<readonly RouteText[]> {
  const address = tryParseAddress(text);
  if (!address) return source.explain(text);
  for (let length = address.version === 4 ? 32 : 128; length >= 0; length--) {
    const routes = await source.explain(formatCidr(cidrFromAddress(address, length)));
    if (routes.length > 0) return routes;
  }
  return [];
}

function whyNoRoutes(asked: string | undefined, peer: PeerStatus | undefined, peers: readonly PeerStatus[]): string {
  if (asked === undefined) return "BGP has no configuration yet";
  if (peer) return `the session is not up: ${peerInWords(peer)}`;
  const names = peers.map(({ name }) => name).join(", ");
  return `there is no peer ${asked}; there ${names === "" ? "is none" : `are ${names}`}`;
}

/** A line of JSON a route, in pieces, so that a table of any size neither fills the memory nor holds up the sessions. */
function lines(routes: Routes): ReadableStream {
  const iterator = Symbol.asyncIterator in routes ? routes[Symbol.asyncIterator]() : routes[Symbol.iterator]();
  return new ReadableStream({
    async pull(controller) {
      // The event loop has its turn between pieces.
      await new Promise((resolve) => setImmediate(resolve));
      let text = "";
      let isEnd = false;
      try {
        for (let i = 0; i < PIECE && !isEnd; i++) {
          // What is there already is not waited for: that would cost as much again.
          const answer = iterator.next();
          const next = answer instanceof Promise ? await answer : answer;
          if (next.done) isEnd = true;
          else text += `${JSON.stringify(next.value)}\n`;
        }
      } catch (error) {
        // The answer has begun: it cannot be refused any more.
        const brokenOff = error instanceof ControlError ? error.words : String(error);
        text += `${JSON.stringify({ brokenOff } satisfies BrokenOff)}\n`;
        isEnd = true;
      }
      if (text !== "") controller.enqueue(text);
      if (isEnd) controller.close();
    },
    cancel: () => void iterator.return?.(),
  });
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}
