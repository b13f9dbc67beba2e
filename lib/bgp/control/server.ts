import { chmodSync, unlinkSync } from "node:fs";
import { ControlError } from "./error.ts";
import { whyNotReady } from "./readiness.ts";
import type { BgpStatus, Family, RouteText, WhichRoutes } from "./status.ts";

/** What answers are made of. */
export interface ControlSource {
  status(): BgpStatus | Promise<BgpStatus>;
  /** Throws a RangeError where the text is no prefix, a {@link ControlError} where this back end cannot say. */
  explain(prefix: string): readonly RouteText[];
  routes(which: WhichRoutes, peer?: string): Iterable<RouteText> | undefined;
}

/** Routes go out in pieces of so many. */
const PIECE = 1_000;

/** Serves a speaker's state on a unix socket that only root can open. Closing removes the socket. */
export function serveControl(path: string, source: ControlSource): { close(): Promise<void> } {
  const began = performance.now();
  unlinkQuietly(path);
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
  chmodSync(path, 0o600);
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
      const why = whyNotReady(await source.status(), uptimeMs, families.length > 0 ? families : undefined);
      return why === undefined ? new Response("ready\n") : new Response(`${why}\n`, { status: 503 });
    }
    case "/explain":
      return Response.json(source.explain(searchParams.get("prefix") ?? ""));
    case "/routes": {
      const which = (searchParams.get("which") ?? "best") as WhichRoutes;
      const peer = searchParams.get("peer") ?? undefined;
      const routes = source.routes(which, peer);
      if (!routes) return new Response(`no session with ${peer ?? "that peer"} is up\n`, { status: 404 });
      return new Response(lines(routes), { headers: { "content-type": "application/x-ndjson" } });
    }
    default:
      return new Response("not found\n", { status: 404 });
  }
}

/** A line of JSON a route, in pieces, so that a table of any size neither fills the memory nor holds up the sessions. */
function lines(routes: Iterable<RouteText>): ReadableStream {
  const iterator = routes[Symbol.iterator]();
  return new ReadableStream({
    async pull(controller) {
      // The event loop has its turn between pieces.
      await new Promise((resolve) => setImmediate(resolve));
      let text = "";
      for (let i = 0; i < PIECE; i++) {
        const next = iterator.next();
        if (next.done) {
          if (text !== "") controller.enqueue(text);
          controller.close();
          return;
        }
        text += `${JSON.stringify(next.value)}\n`;
      }
      controller.enqueue(text);
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
