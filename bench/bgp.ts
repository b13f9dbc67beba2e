/**
 * `npm run bench:bgp [measurements…]`: how fast routes pass through a BGP speaker, and what it takes. BIRD as the source, a speaker in the middle, BIRD
 * as the sink, each in a node of the lab of its own; ours is the built executable with a datastore, side by side in one run with BIRD, FRR and GoBGP.
 * Measurements: pass, reflect, varied, peers; all of them unless some are named. Nothing is passed or failed.
 */
import { existsSync } from "node:fs";
import { missingBuild, missingForLab, missingTool } from "../conformance/lab/index.ts";
import type { ChainResult, ChainScenario } from "./bgp-chain.ts";
import type { PeersResult, PeersScenario } from "./bgp-peers.ts";
import { SPEAKERS, type SpeakerName } from "./bgp-speakers.ts";
import { machine, markdownTable } from "./stats.ts";

const MEASUREMENTS = ["pass", "reflect", "varied", "peers"];
const named = process.argv.slice(2);
const unknown = named.find((word) => !MEASUREMENTS.includes(word));
const missing =
  unknown === undefined
    ? (missingForLab() ?? missingBuild() ?? missingTool("bird"))
    : `${unknown} is not one of ${MEASUREMENTS.join(", ")}`;
if (missing !== undefined) {
  console.error(`bench:bgp: ${missing}`);
  process.exit(1);
}
const wants = (measurement: string): boolean => named.length === 0 || named.includes(measurement);

const absent: Readonly<Record<SpeakerName, () => boolean>> = {
  ours: () => false,
  BIRD: () => false,
  FRR: () => !existsSync("/usr/lib/frr/bgpd"),
  GoBGP: () => missingTool("gobgpd") !== undefined,
};
const speakers = SPEAKERS.filter((name) => !absent[name]());
const SIZES = [100_000, 500_000];

/** In a process of its own: what one leaves behind is no other's burden. */
async function measure(script: "bgp-chain.ts", scenario: ChainScenario): Promise<ChainResult>;
async function measure(script: "bgp-peers.ts", scenario: PeersScenario): Promise<PeersResult>;
async function measure(script: string, scenario: object): Promise<unknown> {
  const child = Bun.spawn([process.execPath, `${import.meta.dirname}/${script}`, JSON.stringify(scenario)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const said = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`failed: ${script} ${JSON.stringify(scenario)}`);
  return JSON.parse(said) as unknown;
}

const seconds = (value: number | null): string => (value === null || Number.isNaN(value) ? "-" : value.toFixed(2));
/** A number that is none comes as null out of JSON. */
const mib = (bytes: number | null): string => (bytes === null ? "-" : (bytes / 2 ** 20).toFixed(0));
const count = (value: number): string => value.toLocaleString("en");

const CHAIN_HEAD = ["announced s", "CPU s", "withdrawn s", "CPU s", "idle MiB", "peak", "anonymous"];

async function chainTable(title: string, how: Pick<ChainScenario, "reflects" | "alike">): Promise<void> {
  const rows: string[][] = [];
  for (const prefixes of SIZES) {
    for (const middle of [undefined, ...speakers]) {
      // Nobody reflects between two that are each other's peers.
      if (middle === undefined && how.reflects) continue;
      const row = `${count(prefixes)}, ${middle ?? "nobody"}`;
      try {
        const { announced, withdrawn, idle, peak, anonymous } = await measure("bgp-chain.ts", {
          prefixes,
          ...how,
          ...(middle && { middle }),
        });
        rows.push([
          row,
          ...[announced.seconds, announced.processor, withdrawn.seconds, withdrawn.processor].map(seconds),
          ...[idle, peak, anonymous].map(mib),
        ]);
      } catch (error) {
        console.error((error as Error).message);
        rows.push([row, ...CHAIN_HEAD.map(() => "-")]);
      }
    }
  }
  console.log(`\n${markdownTable([title, ...CHAIN_HEAD], rows)}`);
}

async function peersTable(): Promise<void> {
  const rows: string[][] = [];
  for (const peers of [100, 500]) {
    for (const reflects of [false, true]) {
      const result = await measure("bgp-peers.ts", { peers, blocks: 10, reflects });
      rows.push([
        `${count(peers)} peers, ${reflects ? "as their reflector" : "as a node of their mesh"}`,
        seconds(result.seconds),
        seconds(result.processor),
        ...[result.idle, result.peak, result.peak - result.idle].map(mib),
        ...[result.idleAnonymous, result.anonymous].map(mib),
      ]);
    }
  }
  const head = [
    "ours, 10 blocks a peer",
    "all know all s",
    "CPU s",
    "idle MiB",
    "peak",
    "more",
    "anonymous idle",
    "at the end",
  ];
  console.log(`\n${markdownTable(head, rows)}`);
}

console.log(`${machine()}.`);
if (wants("pass"))
  await chainTable("prefixes, who passes them on", { reflects: false, alike: Number.MAX_SAFE_INTEGER });
if (wants("reflect"))
  await chainTable("prefixes, who reflects them", { reflects: true, alike: Number.MAX_SAFE_INTEGER });
if (wants("varied")) await chainTable("prefixes, 10 of a kind", { reflects: false, alike: 10 });
if (wants("peers")) await peersTable();
console.log(`
- *announced*: from Established between source and speaker until the sink had everything; *withdrawn*: from the source's withdrawal of all until the
  sink had nothing. *CPU* is the speaker's, all threads. *nobody*: source and sink are each other's peers.
- *idle*, *peak* are resident memory; *anonymous* of it, at the end, is not pages of files (ours has some 40 MiB of those, its executable).
- BIRD, FRR and GoBGP have no kernel to program here. Ours has one, and is told by its configuration to leave these routes out of it.
- *peers*: one process plays them all; time from its first connection until all that is to be known is: in the kernel of the node, or by every peer.`);
