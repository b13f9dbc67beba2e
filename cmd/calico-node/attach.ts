import { type AttachServer, inTurn, serveAttachments, socketsIn } from "../../lib/attach/remote/server.ts";
import type { Client, DatastoreConfig } from "../../lib/datastore/index.ts";
import { createIpam } from "../../lib/ipam/index.ts";
import type { RunningAgent } from "../../lib/policy-agent/index.ts";
import type { Logger } from "../../lib/telemetry/index.ts";
import { RUN_FOLDER } from "./process.ts";

/** The node's allocator, on the agent's connection. */
const ipamFor = (client: Client, log: Logger) => inTurn(createIpam(client, { log }));

/**
 * Serves the attachments of this node's pods to the CNI plugin. When the sockets cannot be opened the log says so, and the plugin does
 * its work itself.
 */
export function serveAttach(
  { client, whenInForce, onAttachment }: RunningAgent,
  { nodeName, datastore, log }: { nodeName: string; datastore: DatastoreConfig; log: Logger },
): AsyncDisposable {
  let server: AttachServer | undefined;
  try {
    server = serveAttachments({
      sockets: socketsIn(RUN_FOLDER),
      nodeName,
      datastore,
      client,
      allocator: ipamFor(client, log),
      whenInForce,
      log,
      onRequest: onAttachment,
    });
    log.info("serves the CNI plugin", { folder: RUN_FOLDER });
  } catch (error) {
    log.error("cannot serve the CNI plugin, which works on its own", { error: (error as Error).message });
  }
  return { [Symbol.asyncDispose]: async () => server?.close() };
}
