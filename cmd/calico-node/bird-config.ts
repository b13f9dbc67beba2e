import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderBird1, renderBird2 } from "../../lib/bgp/bird/index.ts";
import { watchBgp } from "../../lib/bgp/config/index.ts";
import type { NodeBgp } from "../../lib/bgp/model/index.ts";
import { type Args, type Env, type Io, UsageError } from "../../lib/cli/index.ts";
import { type Client, datastoreConfigFromEnv, openClient } from "../../lib/datastore/index.ts";
import { hostFacts } from "../../lib/node/index.ts";
import { bgpOptions } from "./bgp-options.ts";

/** What upstream's one-shot mode does: from the datastore of the environment to BIRD's files, once. */
export async function writeBirdConfig(args: Args, env: Env, io: Io): Promise<number> {
  const style = args.text("style");
  const out = args.text("out");
  if (style !== "bird1" && style !== "bird2")
    throw new UsageError(`--style is bird1 or bird2, not ${JSON.stringify(style)}`);
  if (!out) throw new UsageError("--out says where the files go");
  const client = await openClient(datastoreConfigFromEnv(env));
  try {
    const node = await readOnce(client, env);
    for (const problem of node.problems) io.stderr.write(`calico-node: ${problem}\n`);
    const files = style === "bird1" ? renderBird1(node) : renderBird2(node);
    mkdirSync(out, { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      // Passwords are in them.
      writeFileSync(join(out, `.${name}`), text, { mode: 0o600 });
      renameSync(join(out, `.${name}`), join(out, name));
    }
    io.stdout.write(
      `${Object.keys(files)
        .map((name) => join(out, name))
        .join("\n")}\n`,
    );
    return 0;
  } finally {
    await client.close();
  }
}

async function readOnce(client: Client, env: Env): Promise<NodeBgp> {
  const stop = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<NodeBgp>();
  const watch = watchBgp({
    ...bgpOptions(env, hostFacts()),
    client,
    signal: stop.signal,
    settle: 0,
    onChange: resolve,
  });
  watch.done.catch(reject);
  try {
    return await promise;
  } finally {
    stop.abort();
    await watch.done.catch(() => {});
  }
}
