/** One measurement of bench:bgp: BIRD as the source, somebody in the middle, BIRD as the sink; announced, and withdrawn. */
import { createLab, type Daemon } from "../conformance/lab/index.ts";
import { BIRD_HEAD, Bird } from "./bgp-bird.ts";
import { type SpeakerName, startSpeaker } from "./bgp-speakers.ts";

export interface Phase {
  /** Until the sink had, or had lost, everything; from Established with the source, or from the source's withdrawal. */
  readonly seconds: number;
  /** Of the one in the middle, seconds. */
  readonly processor: number;
}

export interface ChainResult {
  readonly announced: Phase;
  readonly withdrawn: Phase;
  /** Bytes, of the one in the middle: before, the most, of the end what is not pages of files. */
  readonly idle: number;
  readonly peak: number;
  readonly anonymous: number;
}

export interface ChainScenario {
  /** Undefined: nobody, source and sink are each other's peers. */
  readonly middle?: SpeakerName;
  readonly prefixes: number;
  /** Prefixes that have the same attributes. */
  readonly alike: number;
  readonly reflects: boolean;
}

const POLL = 10;
const TIMEOUT = 180_000;
const ASN = 64512;

export async function measureChain({ middle, prefixes, alike, reflects }: ChainScenario): Promise<ChainResult> {
  await using lab = await createLab({ nodes: middle ? 3 : 2 });
  const [from, to, between] = lab.nodes;
  const asns = reflects ? [ASN, ASN] : [65001, 65003];
  const source = { address: from!.address4, asn: asns[0]! };
  const sink = { address: to!.address4, asn: asns[1]! };
  const x = between ? { address: between.address4, asn: ASN } : undefined;
  const session = (own: typeof source, other: typeof source, more: string): string => `protocol bgp x {
  local ${own.address} as ${own.asn};
  neighbor ${other.address} as ${other.asn};
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ${more}
}
`;
  let daemon: Daemon | undefined;
  if (middle && between)
    daemon = await startSpeaker(middle, between, lab.machineShare, {
      asn: ASN,
      address: between.address4,
      neighbours: [source, sink],
      reflects,
    });
  const sinkBird = await Bird.start(
    to!,
    BIRD_HEAD(sink.address) + session(sink, x ?? source, "ipv4 { import all; export none; };"),
  );
  const sourceBird = await Bird.start(
    from!,
    BIRD_HEAD(source.address) +
      routes(prefixes, alike) +
      session(
        source,
        x ?? sink,
        "disabled; ipv4 { import none; export filter { if defined(bgp_med) then bgp_med = bgp_med; accept; }; next hop self; };",
      ),
  );
  try {
    if (daemon) await until("the sink's session", async () => (await sinkBird.protocol("x")).state === "Established");
    await Bun.sleep(1000);
    const base = (await sinkBird.protocol("x")).imported;
    const idle = daemon?.memory().resident ?? Number.NaN;
    const processor = (): number => daemon?.processor() ?? Number.NaN;

    let before = processor();
    await sourceBird.ask("enable x");
    await until("the sink to have all", async () => {
      // Asked as well, because BIRD may sit on its last messages until something wakes it.
      await sourceBird.ask("show status");
      return (await sinkBird.protocol("x")).imported >= base + prefixes;
    });
    const reached = Date.now() / 1000;
    const { since } = await sourceBird.protocol("x");
    const announced = { seconds: reached - since, processor: processor() - before };

    await Bun.sleep(1000);
    before = processor();
    const began = Date.now() / 1000;
    await sourceBird.ask("disable table1");
    await until("the sink to have lost all", async () => {
      await sourceBird.ask("show status");
      return (await sinkBird.protocol("x")).imported <= base;
    });
    const withdrawn = { seconds: Date.now() / 1000 - began, processor: processor() - before };
    const memory = daemon?.memory();
    return {
      announced,
      withdrawn,
      idle,
      peak: memory?.peak ?? Number.NaN,
      anonymous: memory?.anonymous ?? Number.NaN,
    };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${daemon?.log().slice(-3000)}`, { cause: error });
  } finally {
    sinkBird.close();
    sourceBird.close();
  }
}

function routes(count: number, alike: number): string {
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const med = alike < count ? ` { bgp_med = ${Math.floor(i / alike)}; }` : "";
    const address = 0x1000_0000 + i * 256;
    const quad = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
    lines.push(`route ${quad}/24 blackhole${med};`);
  }
  return `protocol static table1 {\nipv4;\n${lines.join("\n")}\n}\n`;
}

export async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + TIMEOUT; performance.now() < deadline; await Bun.sleep(POLL)) {
    if (await done()) return;
  }
  throw new Error(`waited too long for ${what}`);
}

if (import.meta.main) {
  const scenario = JSON.parse(process.argv[2] ?? "null") as ChainScenario;
  console.log(JSON.stringify(await measureChain(scenario)));
}
