import { type Call, CliError, type Command, UsageError } from "../../../lib/cli/index.ts";
import { type Client, ensureInitialized } from "../../../lib/datastore/index.ts";
import type { Logger } from "../../../lib/telemetry/index.ts";
import { CONFIG_OPTION, withClient } from "../connect.ts";
import { httpWarnings } from "../http-warnings.ts";
import { apply, create, type Job } from "../manage.ts";
import { TARGET_OPTIONS, targetsOfFiles } from "../targets.ts";
import { forEach, type Results } from "./run.ts";

const OPTIONS = { ...CONFIG_OPTION, ...TARGET_OPTIONS };

export const createCommand: Command = {
  name: "create",
  summary: "Create resources from a file, a folder or standard input",
  description:
    "Create resources from a file, a folder or standard input, in YAML or JSON. A resource\n" +
    "that exists already is an error; use apply to create or update.",
  options: { ...OPTIONS, "skip-exists": { type: "boolean", summary: "Resources that exist already are no error." } },
  examples: [
    { comment: "Create the resources of a file.", line: "create -f pool.yaml" },
    { comment: "The same from standard input.", line: "cat pool.json | $0 create -f -" },
  ],
  run: (call) =>
    write(call, ["create", "created"], { skip: call.args.flag("skip-exists") ? "EXISTS" : undefined }, create),
};

export const applyCommand: Command = {
  name: "apply",
  summary: "Create or update resources from a file, a folder or standard input",
  description:
    "Create resources from a file, a folder or standard input, in YAML or JSON; those that\n" +
    "exist already are updated to what the file says.",
  options: OPTIONS,
  examples: [
    { comment: "Apply the resources of a file.", line: "apply -f pool.yaml" },
    {
      comment: "Apply every .yaml, .yml and .json file of a folder and the folders in it.",
      line: "apply -R -f ./config",
    },
  ],
  run: (call) => write(call, ["apply", "applied"], {}, apply),
};

async function write(
  call: Call,
  [verb, past]: readonly [string, string],
  options: { readonly skip?: "EXISTS" | undefined },
  work: (client: Client, job: Job) => Promise<unknown>,
): Promise<number> {
  const path = call.args.text("filename");
  if (!path) throw new UsageError(`say what to ${verb}: -f FILE, or -f - for standard input`);
  const targets = await targetsOfFiles(call, path);
  if (targets.length === 0) {
    call.io.stdout.write("No resources specified\n");
    return 0;
  }
  return withClient(call, async (client, log) => {
    await initialise(client, log);
    const results = await forEach(call, targets, options.skip ? { skip: options.skip } : {}, (job) =>
      work(client, job),
    );
    for (const warning of httpWarnings(targets.flatMap(({ resource }) => resource ?? []))) {
      call.io.stderr.write(`${warning}\n`);
    }
    report(call, verb, past, results);
    return 0;
  });
}

/**
 * The first write makes ClusterInformation and the built-in tiers. Failing to does not fail the command: the user may be
 * allowed to write only some kinds.
 */
async function initialise(client: Client, log: Logger): Promise<void> {
  try {
    await ensureInitialized(client);
  } catch (error) {
    log.info("the datastore could not be initialised", { error: (error as Error).message });
  }
}

/** Upstream's messages, which scripts look for. */
function report({ io }: Call, verb: string, past: string, results: Results<unknown>): void {
  const { total, singleKind, done, failures } = results;
  const kind = singleKind === undefined ? "" : `'${singleKind}' `;
  const reasons = failures.length === 1 ? ` ${failures.join("")}` : failures.map((text) => `\n  ${text}`).join("");
  if (failures.length === 0) {
    io.stdout.write(`Successfully ${past} ${done.length} ${kind}resource(s)\n`);
    return;
  }
  if (done.length === 0) {
    const what = total === 1 ? `${kind}resource` : `any ${kind}resources`;
    throw new CliError("FAILED", `failed to ${verb} ${what}:${reasons}`);
  }
  io.stdout.write(`Partial success: ${past} the first ${done.length} out of ${total} ${kind}resources:\n`);
  throw new CliError("FAILED", `hit error:${reasons}`);
}
