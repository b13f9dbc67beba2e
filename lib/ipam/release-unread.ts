import type { IPAMBlock } from "../api/ipamblock.ts";
import type { DatastoreError } from "../datastore/index.ts";
import { addressText, collectCooled, ordinalsOfHandle, release } from "./block.ts";
import { backOff, type Context, commit, isRace, PartialCommit, RETRIES, tooManyConflicts } from "./context.ts";
import { cidrOf, listBlocks, readConfig } from "./reads.ts";
import { blockOperation, keepConsistent } from "./release.ts";
import type { ReleaseByHandleOptions, Released } from "./types.ts";

/**
 * Releases what a handle holds whose own object cannot be read. The blocks say who holds an address, and the handle is only
 * their index, so all of them are searched. The object stays as it is, for `calico-ipam check` to report and repair to mend: as
 * nothing is assigned under a handle that cannot be read, nothing can be added to it meanwhile.
 */
export async function releaseByBlocks(
  ctx: Context,
  id: string,
  problem: DatastoreError,
  options: ReleaseByHandleOptions,
): Promise<Released> {
  ctx.log.warning("a stored handle cannot be read and stays; what it holds is looked for in all blocks", {
    handle: id,
    error: problem.message,
  });
  const released = new Set<string>();
  let unexplained = 0;
  let before: string | undefined;
  for (let attempt = 0; ; attempt++) {
    const [config, extra, blocks] = await Promise.all([
      readConfig(ctx, true),
      options.alsoWrite?.() ?? [],
      listBlocks(ctx, undefined, (block) => {
        if (attempt === 0)
          ctx.log.warning("what the handle has in this block stays until it is mended", { handle: id, block });
      }),
    ]);
    const written: { readonly block: IPAMBlock; readonly addresses: readonly string[] }[] = [];
    for (const block of blocks) {
      collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
      const ordinals = ordinalsOfHandle(block.spec, id);
      if (ordinals.length === 0) continue;
      written.push({ block, addresses: ordinals.map((ordinal) => addressText(cidrOf(block), ordinal)) });
      release(block.spec, ordinals, config.ipCooldownSeconds, ctx.now());
    }
    const note = (count: number): void => {
      for (const { addresses } of written.slice(0, count)) for (const address of addresses) released.add(address);
    };
    const seen = written.map(({ block }) => `${block.spec.cidr} ${block.metadata.resourceVersion}`).join();
    try {
      await commit(ctx, [...extra, ...written.map(({ block }) => blockOperation(ctx, block))]);
    } catch (error) {
      const cause = error instanceof PartialCommit ? error.cause : error;
      if (error instanceof PartialCommit) note(Math.max(0, error.done.length - extra.length));
      if (!isRace(cause)) throw cause;
      if (attempt + 1 >= RETRIES) throw tooManyConflicts(`release what handle ${id} holds`, cause);
      // When nothing of ours has changed it is the caller's operations that are refused.
      if (seen === before && options.alsoWrite && ++unexplained > 5) throw cause;
      before = seen;
      await backOff(ctx, attempt);
      continue;
    }
    note(written.length);
    for (const { block } of written) await keepConsistent(ctx, config, block);
    return { addresses: [...released], found: true };
  }
}
