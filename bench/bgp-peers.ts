/** One measurement of bench:bgp: our speaker and very many peers, each of which has the blocks of one node. One process plays them all. */
import { readFileSync } from "node:fs";
import { RawPeer } from "../conformance/bgp/raw.ts";
import { createLab, type Node } from "../conformance/lab/index.ts";
import { BGPConfiguration } from "../lib/api/bgpconfiguration.ts";
import { BGPPeer } from "../lib/api/bgppeer.ts";
import { IPPool } from "../lib/api/ippool.ts";
import { Node as CalicoNode } from "../lib/api/node.ts";
import { encodeEndOfRib } from "../lib/bgp/wire/index.ts";
import { parseAddress } from "../lib/ip/index.ts";
import { until } from "./bgp-chain.ts";
import { nodeSpec, startOurs, store, stored } from "./bgp-speakers.ts";

export interface PeersScenario {
  readonly peers: number;
  readonly blocks: number;
  /** Reflects between all of them; otherwise a node of the mesh, which keeps what it learns for its kernel. */
  readonly reflects: boolean;
}

export interface PeersResult {
  /** From the first connection until all had told theirs, and all that is to be known where it is to be known. */
  readonly seconds: number;
  readonly processor: number;
  /** Bytes: configured and without sessions; and the most. */
  readonly idle: number;
  readonly peak: number;
  readonly idleAnonymous: number;
  readonly anonymous: number;
}

const ASN = 64512;
const NETWORK = "172.31.64.0/18";

export async function measurePeers({ peers, blocks, reflects }: PeersScenario): Promise<PeersResult> {
  await using lab = await createLab({ nodes: 2 });
  const [x, players] = lab.nodes as [Node, Node];
  const addresses = Array.from({ length: peers }, (_, index) => `172.31.${64 + (index >> 7)}.${1 + (index & 127)}`);
  await x.run(["ip", "route", "add", NETWORK, "dev", "eth0"]);
  await players.run(["ip", "-batch", "-"], {
    stdin: addresses.map((address) => `address add ${address}/32 dev eth0\n`).join(""),
  });
  await store(lab.machineShare, [
    stored(BGPConfiguration, "default", { nodeToNodeMeshEnabled: !reflects }),
    stored(IPPool, "pool", { cidr: "10.0.0.0/8", blockSize: 26 }),
    stored(CalicoNode, x.name, nodeSpec(ASN, x.address4, reflects)),
    ...addresses.map((address, index) =>
      reflects
        ? stored(BGPPeer, `peer${index}`, { peerIP: address, asNumber: ASN })
        : stored(CalicoNode, `peer${index}`, nodeSpec(ASN, address)),
    ),
  ]);
  const daemon = await startOurs(x);
  await until("the speaker to listen", async () => daemon.log().includes("listens"));
  await Bun.sleep(2000);
  const idle = daemon.memory();
  const before = daemon.processor();
  const namespace = `/proc/${players.pid}/ns/net`;
  const began = performance.now();
  const all = await Promise.all(
    addresses.map(async (local, index) => {
      const peer = await RawPeer.establish({ namespace, local, remote: x.address4, asn: ASN, counts: true });
      const own = Array.from({ length: blocks }, (_, block) => blockOf(index * blocks + block));
      peer.announce(own, { asPath: [], localPref: 2_147_483_647 - 1024 });
      peer.send(endOfRib());
      return peer;
    }),
  );
  const learned = (): number => (readRoutes(daemon.pid).match(/^eth0\t[0-9A-F]{6}0A\t/gm) ?? []).length;
  await until("all to know all", async () =>
    reflects ? all.every(({ told }) => told >= (peers - 1) * blocks) : learned() >= peers * blocks,
  );
  const seconds = (performance.now() - began) / 1000;
  const processor = daemon.processor() - before;
  const memory = daemon.memory();
  for (const peer of all) peer.close();
  return {
    seconds,
    processor,
    idle: idle.resident,
    peak: memory.peak,
    idleAnonymous: idle.anonymous,
    anonymous: memory.anonymous,
  };
}

const blockOf = (index: number): string => {
  const address = Number(parseAddress("10.0.0.0").value) + index * 64;
  return `${[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".")}/26`;
};

const endOfRib = (): Uint8Array => encodeEndOfRib(4);
const readRoutes = (pid: number): string => readFileSync(`/proc/${pid}/net/route`, "utf8");

if (import.meta.main) {
  console.log(JSON.stringify(await measurePeers(JSON.parse(process.argv[2] ?? "null") as PeersScenario)));
}
