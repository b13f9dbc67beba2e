import { type Call, type Command, toJson, UsageError } from "../../../lib/cli/index.ts";
import { createIpam, type IpamConfig } from "../../../lib/ipam/index.ts";
import { CONFIG_OPTION, withClient } from "../../calicoctl/connect.ts";
import { JSON_OPTION, wantsJson } from "./output.ts";

type Changes = { -readonly [K in keyof IpamConfig]?: IpamConfig[K] };

export const configure: Command = {
  name: "configure",
  summary: "Change the cluster-wide IPAM settings",
  description:
    "Change cluster-wide IPAM settings. Only those that are given are changed; 'show\n" +
    "--show-configuration' shows them all.",
  options: {
    ...CONFIG_OPTION,
    ...JSON_OPTION,
    strictaffinity: {
      type: "text",
      value: "true|false",
      summary: "Whether nodes assign from their own blocks only, and never borrow from others'.",
    },
    "max-blocks-per-host": {
      type: "text",
      value: "NUMBER",
      summary: "How many blocks a node may hold; 0 is the default of 20. Needs strict affinity.",
    },
    "kubevirt-ip-persistence": {
      type: "text",
      value: "Enabled|Disabled",
      summary: "Whether KubeVirt machines keep their addresses.",
    },
    "ip-cooldown-seconds": {
      type: "text",
      value: "SECONDS",
      summary: "How long a released address is held back before it is assigned again (0-1200).",
    },
  },
  examples: [
    { comment: "Never borrow addresses of another node's block.", line: "configure --strictaffinity=true" },
    { comment: "Hold released addresses back for two minutes.", line: "configure --ip-cooldown-seconds=120" },
  ],
  run: (call) => {
    const changes = changesOf(call);
    if (Object.keys(changes).length === 0) throw new UsageError("at least one configuration option must be specified");
    const json = wantsJson(call);
    return withClient(call, async (client) => {
      const configuration = await createIpam(client).configure(changes);
      if (json) {
        call.io.stdout.write(toJson(configuration));
        return 0;
      }
      for (const [key, title] of TITLES) {
        if (changes[key] !== undefined) call.io.stdout.write(`Successfully set ${title} to: ${configuration[key]}\n`);
      }
      return 0;
    });
  },
};

const TITLES: readonly (readonly [keyof IpamConfig, string])[] = [
  ["strictAffinity", "StrictAffinity"],
  ["maxBlocksPerHost", "MaxBlocksPerHost"],
  ["kubeVirtVMAddressPersistence", "KubeVirtVMAddressPersistence"],
  ["ipCooldownSeconds", "IPCooldownSeconds"],
];

function changesOf({ args }: Call): Changes {
  const changes: Changes = {};
  const strict = args.text("strictaffinity");
  if (strict !== undefined && strict !== "") {
    if (!/^(true|false|t|f|1|0)$/i.test(strict)) {
      throw new UsageError("invalid value. Use true or false to set strictaffinity");
    }
    changes.strictAffinity = /^(true|t|1)$/i.test(strict);
  }
  const blocks = args.text("max-blocks-per-host");
  if (blocks !== undefined && blocks !== "") changes.maxBlocksPerHost = count(blocks, "--max-blocks-per-host", 0xffff);
  const persistence = args.text("kubevirt-ip-persistence");
  if (persistence !== undefined && persistence !== "") {
    if (persistence !== "Enabled" && persistence !== "Disabled") {
      throw new UsageError("invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled");
    }
    changes.kubeVirtVMAddressPersistence = persistence;
  }
  const cooldown = args.text("ip-cooldown-seconds");
  // -1 is the flag's default in upstream's tool, and means: leave it.
  if (cooldown !== undefined && cooldown !== "-1") {
    changes.ipCooldownSeconds = count(cooldown, "--ip-cooldown-seconds", 1200);
  }
  return changes;
}

function count(text: string, flag: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || value > most) {
    throw new UsageError(`invalid value ${JSON.stringify(text)} for ${flag}: use a number from 0 to ${most}`);
  }
  return value;
}
