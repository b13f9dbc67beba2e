/** The node's links and addresses, as far as routes depend on them. */
import type { Address } from "../../ip/index.ts";
import { type AddressInfo, addresses, type LinkInfo, links, type Netlink } from "../../netlink/index.ts";

export class NodeLinks {
  readonly #links = new Map<number, LinkInfo>();
  readonly #addresses = new Map<string, AddressInfo>();
  /** All addresses, made when asked for. */
  #own: Set<string> | undefined;

  /** Reads everything anew. */
  list(netlink: Netlink): void {
    const found = netlink.dump(links());
    const infos = netlink.dump(addresses());
    this.#links.clear();
    this.#addresses.clear();
    for (const link of found) this.#links.set(link.index, link);
    for (const info of infos) this.#addresses.set(keyOf(info), info);
    this.#own = undefined;
  }

  setLink(link: LinkInfo): LinkInfo | undefined {
    const before = this.#links.get(link.index);
    this.#links.set(link.index, link);
    return before;
  }

  removeLink(index: number): void {
    this.#links.delete(index);
    for (const [key, info] of this.#addresses) if (info.index === index) this.#addresses.delete(key);
    this.#own = undefined;
  }

  setAddress(info: AddressInfo): void {
    this.#addresses.set(keyOf(info), info);
    this.#own = undefined;
  }

  removeAddress(info: AddressInfo): void {
    this.#addresses.delete(keyOf(info));
    this.#own = undefined;
  }

  get links(): Iterable<LinkInfo> {
    return this.#links.values();
  }

  get addresses(): Iterable<AddressInfo> {
    return this.#addresses.values();
  }

  isUp(index: number): boolean {
    return this.#links.get(index)?.up ?? false;
  }

  /** Of a link that is up. */
  nameOf(index: number): string | undefined {
    const link = this.#links.get(index);
    return link?.up ? link.name : undefined;
  }

  isOwn(address: Address): boolean {
    this.#own ??= new Set(this.#addresses.values().map((info) => textOf(info.address)));
    return this.#own.has(textOf(address));
  }
}

function textOf({ version, value }: Address): string {
  return `${version}/${value}`;
}

function keyOf({ index, address, length, peer }: AddressInfo): string {
  return `${index} ${textOf(address)}/${length}${peer ? ` ${textOf(peer)}` : ""}`;
}
