import type { Command } from "../../../lib/cli/index.ts";

export const nodeCommand: Command = {
  name: "node",
  summary: "Look at this node.",
  commands: [
    {
      name: "status",
      summary: "Show the BGP peers of this node, and what went wrong last with each.",
      description:
        "Show the BGP peers of this node: whether each session is up, since when, why it is not, and\n" +
        "what ended the last one, in words.\n" +
        "Asks the calico-node that runs on this machine, so it is run there, as root.",
      options: {
        output: { type: "text", short: "o", value: "FORMAT", summary: "json: everything that is known of each peer." },
        socket: { type: "text", value: "PATH", hidden: true, summary: "Where calico-node listens." },
      },
      examples: [{ comment: "Why a peer is not up", line: "node status" }],
      run: async (call) => (await import("./node-status.ts")).showStatus(call),
    },
  ],
};
