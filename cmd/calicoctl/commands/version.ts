import { ClusterInformation } from "../../../lib/api/clusterinformation.ts";
import { CliError, type Command } from "../../../lib/cli/index.ts";
import { VERSION } from "../../../lib/telemetry/index.ts";
import { CONFIG_OPTION, withClient } from "../connect.ts";

export const versionCommand: Command = {
  name: "version",
  summary: "Show the version of this program and of the cluster",
  options: {
    ...CONFIG_OPTION,
    client: { type: "boolean", summary: "Show the version of this program only." },
  },
  examples: [{ comment: "Without asking the datastore.", line: "version --client" }],
  run: async (call) => {
    const { stdout } = call.io;
    stdout.write(`Client Version:    ${VERSION}\n`);
    if (call.args.flag("client")) return 0;
    return withClient(call, async (client) => {
      const information = await client.get(ClusterInformation, { name: "default" });
      if (!information) {
        throw new CliError(
          "NOT_FOUND",
          "unable to retrieve Cluster Version or Type: resource does not exist: ClusterInformation(default)",
        );
      }
      stdout.write(`Cluster Version:   ${information.spec.calicoVersion || "unknown"}\n`);
      stdout.write(`Cluster Type:      ${information.spec.clusterType || "unknown"}\n`);
      return 0;
    });
  },
};
