/**
 * A router in a network namespace of its own, and the far ends of its interfaces in another that has no addresses, so that nothing answers
 * there but the test: it sends and catches frames at the ends itself, through sockets that stay in their namespace.
 */
import { spawnSync } from "node:child_process";
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../../ip/index.ts";
import {
  allocate,
  bindNetlinkSocket,
  closeFd,
  openNetlinkSocket,
  openPacketSocket,
  openRawSocket,
  receive,
  receiveRaw,
  send,
  sendRaw,
  waitReadable,
} from "../../../sys/index.ts";
import { makeNamespace, type TestNamespace } from "../../../sys/testing.ts";
import { ICMP, ICMPV6, type Packet, SCTP, TCP, UDP } from "../interpret-packet.ts";
import type { IpVersion } from "../ir.ts";
import { iptablesHands } from "./kernel-iptables.ts";
import { nftablesHands } from "./kernel-nftables.ts";
import { bindNflog, readNflog } from "./nflog.ts";
import { type RemoteAgent, startAgent } from "./remote-agent.ts";
import {
  type Agent,
  type Counted,
  type Flow,
  HOST,
  type Look,
  type Place,
  PORTS,
  type Sighting,
  type Tamper,
  type Testbed,
} from "./testbed.ts";
import { decodePacket, encodePacket, withBody } from "./wire.ts";

/** Runs a command in the router's namespace, with text on its standard input; its standard output. Throws when it fails. */
export type Exec = (command: readonly string[], stdin?: string) => string;

const NFLOG_GROUPS = [1, 2];
/** Packets of each flow that are sent between two looks at what came out: they wait in the sockets' buffers. */
const BURST = 100;
const DELIVERED = [ICMP, TCP, UDP, SCTP, 99];

/** Opens a router without any rules. */
export async function openKernelTestbed(
  name: "nftables" | "iptables-nft" | "iptables-legacy",
  module: string,
  options: unknown,
): Promise<Testbed> {
  const router = makeNamespace("calico-router");
  const ends = makeNamespace("calico-ends");
  try {
    return new KernelTestbed(router, ends, name, module, options);
  } catch (error) {
    router.dispose();
    ends.dispose();
    throw error;
  }
}

class KernelTestbed implements Testbed {
  readonly tamper: Tamper;
  readonly look: Look;
  readonly #router: TestNamespace;
  readonly #ends: TestNamespace;
  readonly #module: string;
  readonly #options: unknown;
  readonly #agents: RemoteAgent[] = [];
  readonly #fds: number[] = [];
  readonly #wires = new Map<Place, number>();
  /** Sockets by which the router sends, and by which it shows what was delivered to it. */
  readonly #sender: Record<IpVersion, number>;
  readonly #delivered: { readonly version: IpVersion; readonly protocol: number; readonly fd: number }[];
  readonly #nflog = new Map<number, number>();
  readonly #buffer = allocate(65_536);

  constructor(
    router: TestNamespace,
    ends: TestNamespace,
    name: "nftables" | "iptables-nft" | "iptables-legacy",
    module: string,
    options: unknown,
  ) {
    this.#router = router;
    this.#ends = ends;
    this.#module = module;
    this.#options = options;
    wire(router, ends);
    const links = JSON.parse(ends.run(() => runTool(["ip", "-json", "link"]))) as { ifname: string; ifindex: number }[];
    const indexes = new Map(links.map((link) => [link.ifname, link.ifindex]));
    for (const [index, port] of PORTS.entries()) {
      this.#wires.set(
        port,
        this.#keep(ends.run(() => openPacketSocket(indexes.get(`e${index}`) ?? 0, { receiveBuffer: 8 << 20 }))),
      );
    }
    const inRouter = (open: () => number): number => this.#keep(router.run(open));
    this.#sender = { 4: inRouter(() => openRawSocket(4, 255)), 6: inRouter(() => openRawSocket(6, 255)) };
    this.#delivered = ([4, 6] as const).flatMap((version) =>
      DELIVERED.map((protocol) => {
        const number = version === 6 && protocol === ICMP ? ICMPV6 : protocol;
        return { version, protocol: number, fd: inRouter(() => openRawSocket(version, number)) };
      }),
    );
    for (const group of NFLOG_GROUPS) {
      const fd = inRouter(() => openNetlinkSocket(12)); // NETLINK_NETFILTER
      bindNetlinkSocket(fd);
      bindNflog(fd, group);
      this.#nflog.set(group, fd);
    }
    const exec: Exec = (command, stdin) => router.run(() => runTool(command, stdin));
    const hands = name === "nftables" ? nftablesHands(exec) : iptablesHands(exec, name);
    this.tamper = hands.tamper;
    this.look = hands.look;
  }

  async start(): Promise<Agent> {
    const agent = await startAgent(this.#router.path, this.#module, this.#options);
    this.#agents.push(agent);
    return agent;
  }

  send(from: Place, packet: Packet): readonly Sighting[] {
    this.#catch();
    const bytes = encodePacket(packet);
    if (from === "host") {
      const address = addressBytes(parseAddress(packet.destination));
      try {
        sendRaw(this.#sender[packet.version], bytes, address, () => "send from the router");
      } catch (error) {
        // A rule at OUTPUT that drops is told to the sender as EPERM.
        if (!(error instanceof Error && error.message.includes("EPERM"))) throw error;
      }
    } else {
      const index = PORTS.indexOf(from);
      send(this.#wire(from), frame(index, packet.version === 4 ? 0x0800 : 0x86dd, bytes), () => `send at ${from}`);
    }
    const seen = this.#settled(from);
    // An answer of the router's own follows its packet; whoever was preempted between the two comes a moment later.
    return seen.length > 0 ? seen : this.#settled(from);
  }

  async flood(flows: readonly Flow[], until: Promise<unknown>): Promise<readonly Counted[]> {
    this.#catch();
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    until.then(done, done);
    const frames = flows.map(({ from, packet }) => ({
      wire: this.#wire(from),
      bytes: frame(PORTS.indexOf(from), packet.version === 4 ? 0x0800 : 0x86dd, encodePacket(packet)),
    }));
    const out = flows.map(() => 0);
    let sent = 0;
    const count = (sightings: readonly Sighting[]): void => {
      for (const { at, packet } of sightings) {
        const flow = flows.findIndex((one) => one.to === at && one.packet.source === packet.source);
        if (flow !== -1) out[flow]!++;
      }
    };
    while (!isDone) {
      for (let burst = 0; burst < BURST; burst++) {
        for (const { wire, bytes } of frames) send(wire, bytes, () => "send many");
        sent++;
      }
      count(this.#catch());
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const from of new Set(flows.map((flow) => flow.from))) count(this.#settled(from));
    return out.map((one) => ({ sent, out: one }));
  }

  nflogged(group: number): readonly string[] {
    const fd = this.#nflog.get(group);
    if (fd === undefined) throw new RangeError(`no socket listens to the NFLOG group ${group}`);
    const prefixes: string[] = [];
    while (waitReadable(fd, prefixes.length === 0 ? 100 : 0)) {
      const datagram = receive(fd, this.#buffer, 0, () => "read NFLOG");
      if (datagram) prefixes.push(...readNflog(datagram.bytes));
    }
    return prefixes;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.kill()));
    for (const fd of this.#fds) closeFd(fd);
    this.#router.dispose();
    this.#ends.dispose();
  }

  #keep(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }

  #wire(place: Place): number {
    const fd = this.#wires.get(place);
    if (fd === undefined) throw new RangeError(`nothing is connected at ${place}`);
    return fd;
  }

  /**
   * Everything that is seen until the router has answered an ARP request that follows the packet through the same queue (a CPU's backlog):
   * then it has dealt with the packet, so that silence is known and need not be waited for.
   */
  #settled(from: Place): Sighting[] {
    const port = from === "host" ? "out0" : from;
    const index = PORTS.indexOf(port);
    send(this.#wire(port), frame(index, 0x0806, arpRequest(index)), () => `ask at ${port}`);
    const seen: Sighting[] = [];
    const deadline = performance.now() + 2000;
    for (let answered = false; !answered; ) {
      const datagram = receive(
        this.#wire(port),
        this.#buffer,
        Math.max(0, deadline - performance.now()),
        () => "catch",
      );
      if (datagram === undefined) throw new Error(`the router no longer answers ARP at ${port}`);
      answered = isArp(datagram.bytes);
      if (!answered) note(seen, port, datagram.bytes.slice(14));
    }
    seen.push(...this.#catch());
    return seen;
  }

  /** What waits at every place. */
  #catch(): Sighting[] {
    const seen: Sighting[] = [];
    for (const port of PORTS) {
      for (;;) {
        const datagram = receive(this.#wire(port), this.#buffer, 0, () => `catch at ${port}`);
        if (datagram === undefined) break;
        if (!isArp(datagram.bytes)) note(seen, port, datagram.bytes.slice(14));
      }
    }
    for (const { version, protocol, fd } of this.#delivered) {
      for (;;) {
        const raw = receiveRaw(fd, this.#buffer, () => "catch at the host");
        if (raw === undefined) break;
        if (version === 4) {
          note(seen, "host", raw.bytes);
          continue;
        }
        const source = formatAddress(addressFromBytes(raw.from));
        const packet = withBody({ version, source, destination: HOST[6], protocol }, 0, raw.bytes);
        if (packet) seen.push({ at: "host", packet });
      }
    }
    return seen;
  }
}

function note(seen: Sighting[], at: Place, bytes: Uint8Array): void {
  const packet = decodePacket(bytes);
  if (packet) seen.push({ at, packet });
}

const macOf = (side: "router" | "end", index: number): Uint8Array =>
  Uint8Array.of(2, 0, 0, 0, side === "router" ? 1 : 2, index);
const macText = (side: "router" | "end", index: number): string =>
  [...macOf(side, index)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");

function frame(index: number, type: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = allocate(14 + payload.length);
  bytes.set(macOf("router", index));
  bytes.set(macOf("end", index), 6);
  new DataView(bytes.buffer).setUint16(12, type);
  bytes.set(payload, 14);
  return bytes;
}

const isArp = (bytes: Uint8Array): boolean => bytes[12] === 8 && bytes[13] === 6;

/** Who has the router's address (RFC 826)? */
function arpRequest(index: number): Uint8Array {
  const sender = index === 3 ? "10.9.0.2" : `10.65.0.${index + 1}`;
  return Uint8Array.of(
    ...[0, 1, 8, 0, 6, 4, 0, 1],
    ...macOf("end", index),
    ...addressBytes(parseAddress(sender)),
    ...[0, 0, 0, 0, 0, 0],
    ...addressBytes(parseAddress(HOST[4])),
  );
}

function wire(router: TestNamespace, ends: TestNamespace): void {
  const atRouter: string[] = ["link set lo up"];
  const atEnds: string[] = ["link set lo up"];
  for (const [index, port] of PORTS.entries()) {
    atRouter.push(
      `link add ${port} address ${macText("router", index)} type veth peer name e${index} netns ${ends.name} address ${macText("end", index)}`,
      `link set ${port} addrgenmode none`,
      `link set ${port} up`,
    );
    atEnds.push(`link set e${index} addrgenmode none`, `link set e${index} up`);
  }
  for (const index of [0, 1, 2]) {
    const [port, n, mac] = [PORTS[index]!, index + 1, macText("end", index)];
    atRouter.push(
      `route add 10.65.0.${n}/32 dev ${port}`,
      `route add fd65::${n}/128 dev ${port}`,
      `neigh add 10.65.0.${n} lladdr ${mac} dev ${port} nud permanent`,
      `neigh add fd65::${n} lladdr ${mac} dev ${port} nud permanent`,
    );
  }
  const mac = macText("end", 3);
  atRouter.push(
    `address add ${HOST[4]}/24 dev out0`,
    `address add ${HOST[6]}/64 dev out0 nodad`,
    `neigh add 10.9.0.2 lladdr ${mac} dev out0 nud permanent`,
    `neigh add fd09::2 lladdr ${mac} dev out0 nud permanent`,
    "route add default via 10.9.0.2",
    "route add default via fd09::2",
  );
  router.run(() => {
    runTool(["sh", "-c", SYSCTLS]);
    // The ends' interfaces have to be there before they are set up.
    runTool(["ip", "-batch", "-"], atRouter.filter((line) => line.startsWith("link add")).join("\n"));
  });
  ends.run(() => {
    runTool(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"]);
    runTool(["ip", "-batch", "-"], atEnds.filter((line) => !line.includes("addrgenmode")).join("\n"));
  });
  router.run(() => {
    runTool(["ip", "-batch", "-"], atRouter.filter((line) => !line.startsWith("link add")).join("\n"));
  });
  for (const namespace of [router, ends]) namespace.run(() => runTool(["unshare", "--mount", "sh", "-c", ONE_QUEUE]));
}

/**
 * All that arrives goes through the backlog of one CPU (receive packet steering, Documentation/networking/scaling.rst): else a packet and
 * the question that follows it take two ways when the test moves to another CPU in between. /sys shows the interfaces of the namespace
 * in which it was mounted.
 */
const ONE_QUEUE = `mount -t sysfs sysfs /sys &&
  for cpus in /sys/class/net/*/queues/rx-*/rps_cpus; do echo 1 >"$cpus" || exit; done`;

const SYSCTLS = `cd /proc/sys/net &&
  echo 1 >ipv4/ip_forward && echo 1 >ipv6/conf/all/forwarding &&
  echo 0 >ipv4/conf/all/rp_filter && echo 0 >ipv4/conf/default/rp_filter &&
  echo 0 >ipv4/icmp_ratelimit && echo 0 >ipv6/icmp/ratelimit &&
  echo 0 >ipv4/conf/all/send_redirects && echo 0 >ipv4/conf/default/send_redirects &&
  echo 0 >ipv6/conf/default/accept_dad`;

/** Synchronous, so that the tool runs in the namespace that the thread is in. */
function runTool(command: readonly string[], stdin = ""): string {
  const [tool = "", ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(tool, args, {
    input: stdin,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr.trim() || `exit status ${status}`}`);
  return stdout;
}
