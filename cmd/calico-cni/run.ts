import { lazyPlugin, type Plugin, runPlugin } from "../../lib/cni/index.ts";
import { endProcess } from "../../lib/sys/index.ts";
import { processIo } from "./stdio.ts";

/**
 * One call of a plugin by a container runtime. When a verb's code was loaded the process ends here and now, because
 * everything is written: taking the engine and the open database down would cost the runtime 3 ms of waiting.
 */
export async function runAndEnd(
  load: () => Promise<{ plugin: Plugin }>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  let loaded = false;
  const plugin = lazyPlugin(async () => {
    loaded = true;
    return (await load()).plugin;
  });
  const status = await runPlugin(plugin, processIo(env));
  if (loaded) endProcess(status);
  return status;
}
