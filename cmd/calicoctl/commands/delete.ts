import { type Call, CliError, type Command } from "../../../lib/cli/index.ts";
import { CONFIG_OPTION, withClient } from "../connect.ts";
import { remove } from "../manage.ts";
import { TARGET_OPTIONS, type Target, targetsOfArguments, targetsOfFiles } from "../targets.ts";
import { forEach } from "./run.ts";

export const deleteCommand: Command = {
  name: "delete",
  summary: "Delete resources by kind and name, or those that a file describes",
  description:
    "Delete resources by kind and name, or those that a file, a folder or standard input\n" +
    "describes. A resource that does not exist is an error unless -s is given. Deleting an IP\n" +
    "pool gives up its blocks; addresses that are in use stay in use until they are released.",
  usage: "[KIND NAME...]",
  positionals: [
    { name: "kind", type: "text" },
    { name: "names", type: "list" },
  ],
  options: {
    ...CONFIG_OPTION,
    ...TARGET_OPTIONS,
    "skip-not-exists": { type: "boolean", short: "s", summary: "Resources that do not exist are no error." },
  },
  examples: [
    { comment: "Delete two pools by name.", line: "delete ippool blue green" },
    { comment: "Delete what a file describes.", line: "delete -f pool.yaml" },
  ],
  run: async (call) => {
    const targets = await targetsOf(call);
    if (targets.length === 0) {
      call.io.stdout.write("No resources specified\n");
      return 0;
    }
    const skip = call.args.flag("skip-not-exists") ? ({ skip: "NOT_FOUND" } as const) : {};
    const { singleKind, done, failures } = await withClient(call, (client) =>
      forEach(call, targets, skip, (job) => remove(client, job)),
    );
    const kind = singleKind === undefined ? "" : `'${singleKind}' `;
    if (done.length > 0) call.io.stdout.write(`Successfully deleted ${done.length} ${kind}resource(s)\n`);
    if (failures.length > 0) {
      throw new CliError("FAILED", failures.map((text) => `Failed to delete ${kind}resource: ${text}`).join("\n"));
    }
    return 0;
  },
};

async function targetsOf(call: Call): Promise<Target[]> {
  const path = call.args.text("filename");
  if (path) return targetsOfFiles(call, path);
  const targets = targetsOfArguments(call.args);
  if (targets.some(({ metadata }) => metadata.name === "")) {
    throw new CliError("USAGE", "say which resource to delete: KIND NAME..., or -f FILE");
  }
  return targets;
}
