/** Where sessions are taken: one listener a family, which can move while sessions stay. */
import { type Address, formatAddress, parseAddress } from "../ip/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { BGP_PORT, FAMILIES, type Family, type Listen } from "./model/index.ts";
import { type Listener, type ListenerPeer, openListener } from "./session/index.ts";

/** A listener that stays while the real one under it is another one, or none. */
class Standing implements Listener {
  readonly #family: Family;
  readonly #log: Logger;
  readonly #peers = new Map<ListenerPeer, { close(): void } | undefined>();
  #listener: Listener | undefined;
  #where = "";

  constructor(family: Family, log: Logger) {
    this.#family = family;
    this.#log = log;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  register(peer: ListenerPeer): { close(): void } {
    this.#peers.set(peer, this.#listener?.register(peer));
    return {
      close: () => {
        this.#peers.get(peer)?.close();
        this.#peers.delete(peer);
      },
    };
  }

  /** Listens there instead; without a port, nowhere. Whom the kernel does not take, in words. Throws a SysError, and then listens nowhere. */
  move(port: number | undefined, address?: Address): string[] {
    const where = port === undefined ? "" : `${address ? formatAddress(address) : "*"} ${port}`;
    if (where === this.#where) return this.#registerRest();
    this.close();
    if (port === undefined) return [];
    this.#listener = openListener({
      family: this.#family,
      port,
      ...(address && { address }),
      onStranger: (stranger) => this.#log.info("a stranger was turned away", { address: formatAddress(stranger) }),
    });
    this.#where = where;
    this.#log.info("listens", { family: this.#family, where });
    return this.#registerRest();
  }

  #registerRest(): string[] {
    const problems: string[] = [];
    for (const [peer, registration] of this.#peers) {
      if (registration || !this.#listener) continue;
      try {
        this.#peers.set(peer, this.#listener.register(peer));
      } catch (error) {
        problems.push(`${formatAddress(peer.address)} cannot connect to this node: ${(error as Error).message}`);
      }
    }
    return problems;
  }

  close(): void {
    for (const [peer, registration] of this.#peers) {
      registration?.close();
      this.#peers.set(peer, undefined);
    }
    this.#listener?.close();
    this.#listener = undefined;
    this.#where = "";
  }
}

/** The listeners of both families. */
export class Listeners {
  readonly #of: Readonly<Record<Family, Standing>>;

  constructor(log: Logger) {
    this.#of = { 4: new Standing(4, log), 6: new Standing(6, log) };
  }

  for(family: Family): Listener {
    return this.#of[family];
  }

  /** `addresses`: the node's own, of each family that it has. What did not work, in words. */
  move({ port = BGP_PORT, onlyNodeAddresses }: Listen, addresses: readonly string[]): string[] {
    const problems: string[] = [];
    for (const family of FAMILIES) {
      const own = addresses.map(parseAddress).find(({ version }) => version === family);
      try {
        problems.push(...this.#of[family].move(own && port, onlyNodeAddresses ? own : undefined));
      } catch (error) {
        problems.push(`cannot listen for BGP on IPv${family} port ${port}: ${(error as Error).message}`);
      }
    }
    return problems;
  }

  close(): void {
    this.#of[4].close();
    this.#of[6].close();
  }
}
