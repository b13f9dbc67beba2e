/** `calico-node bgp peers | routes | explain`: what the BGP process of this node knows. */
import type { Command } from "../../lib/cli/index.ts";

const OUTPUT = {
  output: { type: "text", short: "o", value: "FORMAT", summary: "json: everything that is known." },
} as const;

export const BGP_COMMANDS: readonly Command[] = [
  {
    name: "peers",
    summary: "Show the sessions: state, what was settled, how many routes, the last error.",
    options: OUTPUT,
    run: async (call) => (await import("./bgp-show.ts")).showPeers(call),
  },
  {
    name: "routes",
    summary: "Show routes: the best, or what a peer told, what of it was accepted, what it was sent.",
    usage: "[--peer NAME [--received | --accepted | --sent]]",
    options: {
      ...OUTPUT,
      peer: { type: "text", value: "NAME", summary: "Of this peer: a name or an address of `calico-node bgp peers`." },
      received: { type: "boolean", summary: "What it told, before the import filters." },
      accepted: { type: "boolean", summary: "What they let in, as they changed it. This when nothing is said." },
      sent: { type: "boolean", summary: "What it was sent." },
    },
    examples: [{ comment: "What a peer is told", line: "bgp routes --peer Mesh_10_0_0_2 --sent" }],
    run: async (call) => (await import("./bgp-show.ts")).showRoutes(call),
  },
  {
    name: "explain",
    summary: "Show every route to a prefix, or to the longest one around an address, and why the best is the best.",
    usage: "PREFIX|ADDRESS",
    positionals: [{ name: "prefix", type: "text" }],
    options: OUTPUT,
    examples: [
      { comment: "Why traffic for a block goes where it goes", line: "bgp explain 192.168.4.0/26" },
      { comment: "And for one pod", line: "bgp explain 192.168.4.17" },
    ],
    run: async (call) => (await import("./bgp-show.ts")).explainPrefix(call),
  },
];
