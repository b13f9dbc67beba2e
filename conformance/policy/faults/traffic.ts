/**
 * Packets that never stop while something is done to the agent: so many a second of every flow, each the first packet of a conversation of its
 * own (so that it meets policy, and not a connection that was let through earlier), over sockets in the pods' network namespaces. Which
 * came out at the other end is counted packet by packet.
 */
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../../lib/ip/index.ts";
import { decodePacket, encodePacket, UDP, withBody } from "../../../lib/policy-agent/rules/testing/index.ts";
import {
  allocate,
  closeFd,
  inNamespace,
  openNamespace,
  openRawSocket,
  receiveRaw,
  sendRaw,
} from "../../../lib/sys/index.ts";
import type { ProbePlace } from "../prober.ts";

/** UDP packets from one place to another. */
export interface Flow {
  readonly from: string;
  readonly to: string;
  readonly version: 4 | 6;
  readonly port: number;
  readonly expected: "allow" | "deny";
  /** One conversation for all of its packets, with an answer to each: what conntrack calls established. */
  readonly established?: boolean;
}

/** What has become of one flow. */
export interface Count {
  readonly flow: Flow;
  sent: number;
  arrived: number;
}

const PERIOD_MS = 5;
const FIRST_PORT = 10_000;
const LAST_PORT = 60_000;
const ESTABLISHED_PORT = 9_000;
/** How long a packet may be under way, in milliseconds: it crosses one machine. */
const UNDER_WAY_MS = 2_000;

interface Direction {
  readonly from: ProbePlace;
  readonly to: ProbePlace;
  readonly count: Count;
  sourcePort: number;
  readonly destinationPort: number;
  /** Packets that have not arrived yet; of an established conversation all are alike. */
  readonly open: Set<number>;
}

interface Receiver {
  readonly place: ProbePlace;
  readonly version: 4 | 6;
  readonly fd: number;
}

export class Traffic {
  readonly #directions: readonly Direction[];
  readonly #byKey = new Map<string, Direction>();
  readonly #senders = new Map<string, Readonly<Record<4 | 6, number>>>();
  readonly #receivers: Receiver[] = [];
  readonly #buffer = allocate(65_536);
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #counts: readonly Count[];

  private constructor(places: ReadonlyMap<string, ProbePlace>, flows: readonly Flow[], firstPort: number) {
    const placeOf = (name: string): ProbePlace => {
      const place = places.get(name);
      if (place === undefined) throw new RangeError(`there is no place ${name}`);
      return place;
    };
    this.#counts = flows.map((flow) => ({ flow, sent: 0, arrived: 0 }));
    this.#directions = this.#counts.flatMap((count): Direction[] => {
      const { flow } = count;
      const [from, to] = [placeOf(flow.from), placeOf(flow.to)];
      const there = { from, to, count, destinationPort: flow.port, open: new Set<number>() };
      if (!flow.established) return [{ ...there, sourcePort: firstPort }];
      return [
        { ...there, sourcePort: ESTABLISHED_PORT },
        {
          ...there,
          from: to,
          to: from,
          sourcePort: flow.port,
          destinationPort: ESTABLISHED_PORT,
          open: new Set<number>(),
        },
      ];
    });
    for (const direction of this.#directions) {
      const { from, to, count, destinationPort } = direction;
      const { version } = count.flow;
      this.#byKey.set(keyOf(from.addresses[version], to.addresses[version], destinationPort), direction);
    }
    for (const place of new Set(this.#directions.flatMap(({ from, to }) => [from, to]))) this.#open(place);
    this.#timer = setInterval(() => this.#tick(), PERIOD_MS);
  }

  static #ports = FIRST_PORT;

  /** Begins to send. */
  static start(places: ReadonlyMap<string, ProbePlace>, flows: readonly Flow[]): Traffic {
    return new Traffic(places, flows, Traffic.#ports);
  }

  /** Packets of flows that have to be denied and that came through all the same, up to now. */
  get leaks(): readonly string[] {
    this.#drain();
    return this.#counts.flatMap(({ flow, arrived, sent }) =>
      flow.expected === "deny" && arrived > 0 ? [`${describe(flow)}: ${arrived} of ${sent} came through`] : [],
    );
  }

  get sent(): number {
    return this.#counts.reduce((sum, { sent }) => sum + sent, 0);
  }

  /** Waits until so many packets of each flow have been sent since the call. */
  async pass(packets: number): Promise<void> {
    const goals = this.#counts.map(({ sent }) => sent + packets);
    while (this.#counts.some(({ sent }, index) => sent < goals[index]!)) await Bun.sleep(PERIOD_MS);
  }

  /** Ends, and says what was not as it has to be: packets of allowed flows that were lost, and packets of denied ones that were not. */
  async stop(): Promise<readonly string[]> {
    clearInterval(this.#timer);
    const lost = (): string[] =>
      this.#counts.flatMap(({ flow, arrived, sent }) =>
        flow.expected === "allow" && arrived !== sent
          ? [`${describe(flow)}: ${sent - arrived} of ${sent} were lost`]
          : [],
      );
    const deadline = performance.now() + UNDER_WAY_MS;
    for (this.#drain(); lost().length > 0 && performance.now() < deadline; this.#drain()) await Bun.sleep(PERIOD_MS);
    const problems = [...this.leaks, ...lost()];
    this.close();
    return problems;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { fd } of this.#receivers.splice(0)) closeFd(fd);
    for (const senders of this.#senders.values()) for (const fd of Object.values(senders)) closeFd(fd);
    this.#senders.clear();
    // A later one must not use a port again: its conversation may be known still.
    Traffic.#ports = Math.max(Traffic.#ports, ...this.#directions.map(({ sourcePort }) => sourcePort));
    if (Traffic.#ports > LAST_PORT) Traffic.#ports = FIRST_PORT;
  }

  #open(place: ProbePlace): void {
    const namespace = openNamespace(place.netns);
    try {
      inNamespace(namespace, () => {
        this.#senders.set(place.name, { 4: openRawSocket(4, 255), 6: openRawSocket(6, 255) });
        for (const version of [4, 6] as const) {
          this.#receivers.push({ place, version, fd: openRawSocket(version, UDP) });
        }
      });
    } finally {
      namespace.close();
    }
  }

  #tick(): void {
    this.#drain();
    for (const direction of this.#directions) {
      const { from, to, count, destinationPort, sourcePort, open } = direction;
      const { version, established } = count.flow;
      // An answer is to what has arrived.
      if (established && direction.from.name !== count.flow.from && count.arrived === 0) continue;
      const destination = to.addresses[version];
      const packet = encodePacket({
        version,
        protocol: UDP,
        source: from.addresses[version],
        destination,
        sourcePort,
        destinationPort,
      });
      sendRaw(this.#senders.get(from.name)![version], packet, addressBytes(parseAddress(destination)), () =>
        describe(count.flow),
      );
      count.sent++;
      if (established) continue;
      open.add(sourcePort);
      direction.sourcePort = sourcePort < LAST_PORT ? sourcePort + 1 : FIRST_PORT;
    }
    this.#drain();
  }

  #drain(): void {
    for (const { place, version, fd } of this.#receivers) {
      for (;;) {
        const raw = receiveRaw(fd, this.#buffer, () => `watch ${place.name}`);
        if (raw === undefined) break;
        const destination = place.addresses[version];
        const packet =
          version === 4
            ? decodePacket(raw.bytes)
            : withBody({ version, source: textOf(raw.from), destination, protocol: UDP }, 0, raw.bytes);
        if (packet?.sourcePort === undefined || packet.destinationPort === undefined) continue;
        const direction = this.#byKey.get(keyOf(packet.source, packet.destination, packet.destinationPort));
        if (direction === undefined) continue;
        if (direction.count.flow.established || direction.open.delete(packet.sourcePort)) direction.count.arrived++;
      }
    }
  }
}

const keyOf = (source: string, destination: string, port: number): string => `${source} ${destination} ${port}`;

export function describe({ from, to, version, port, expected, established }: Flow): string {
  return `IPv${version} ${from} > ${to} port ${port} (${established ? "established" : expected})`;
}

/** An IPv6 address as the lab writes it. */
function textOf(bytes: Uint8Array): string {
  return formatAddress(addressFromBytes(bytes));
}
