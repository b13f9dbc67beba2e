import { type AttachServer, serveAttachments, socketsIn, WarmCluster } from "../../lib/attach/remote/server.ts";
import type { DatastoreConfig } from "../../lib/datastore/index.ts";
import { openNodeAllocator } from "../../lib/ipam/node/index.ts";
import type { RunningAgent } from "../../lib/policy-agent/index.ts";
import type { Logger } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";
import { RUN_FOLDER } from "./process.ts";

/** For so long plugins work on their own until the agent knows what their calls need; then it reads what it does not know. Milliseconds. */
const SYNC_PATIENCE = 10_000;

const CLOSE_MS = 1_000;

/**
 * Serves the attachments of this node's pods to the CNI plugin, once it knows what they need. When the sockets cannot be opened the
 * log says so, and the plugin does its work itself.
 */
export function serveAttach(
  { client, whenInForce, onAttachment }: RunningAgent,
  { nodeName, datastore, log }: { nodeName: string; datastore: DatastoreConfig; log: Logger },
): AsyncDisposable {
  const stop = new AbortController();
  const open = async (): Promise<void> => {
    const allocator = await openNodeAllocator(client, { node: nodeName, log });
    // Elsewhere all of it is in a file, or one round trip away.
    const warm = client.capabilities.views ? new WarmCluster(client, nodeName, log) : undefined;
    let server: AttachServer | undefined;
    try {
      await Promise.race([Promise.all([allocator.inSync, warm?.inSync]), pause(SYNC_PATIENCE, stop.signal)]);
      if (stop.signal.aborted) return;
      server = serveAttachments({
        sockets: socketsIn(RUN_FOLDER),
        nodeName,
        datastore,
        client,
        allocator,
        warm,
        whenInForce,
        log,
        onRequest: onAttachment,
      });
      log.info("serves the CNI plugin", { folder: RUN_FOLDER });
      await aborted(stop.signal);
    } catch (error) {
      log.error("cannot serve the CNI plugin, which works on its own", { error: (error as Error).message });
    } finally {
      await server?.close();
      warm?.close();
      // What a datastore that does not answer leaves half done is as after a crash, which whoever comes next puts right.
      await Promise.race([allocator.close(), Bun.sleep(CLOSE_MS)]);
    }
  };
  const done = open();
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await done;
    },
  };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
