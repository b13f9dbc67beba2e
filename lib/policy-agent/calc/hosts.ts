/** Counts the hosts of the cluster: those that have a Node or an endpoint. */
export class Hosts {
  readonly #nodes = new Set<string>();
  readonly #hosts = new Map<string, { readonly name: string; count: number }>();
  /** By endpoint: where it is. */
  readonly #hostOf: (string | undefined)[] = [];

  get size(): number {
    return this.#hosts.size;
  }

  setNode(name: string, isThere: boolean): void {
    if (this.#nodes.has(name) === isThere) return;
    if (isThere) {
      this.#nodes.add(name);
      this.#add(name);
    } else {
      this.#nodes.delete(name);
      this.#drop(name);
    }
  }

  /** Where an endpoint is; undefined: nowhere any more. */
  setEndpoint(item: number, host: string | undefined): void {
    const before = this.#hostOf[item];
    if (before === host) return;
    while (this.#hostOf.length <= item) this.#hostOf.push(undefined);
    this.#hostOf[item] = host === undefined ? undefined : this.#add(host);
    if (before !== undefined) this.#drop(before);
  }

  /** Answers the name as the one text that is kept of it, whoever says it. */
  #add(name: string): string {
    const found = this.#hosts.get(name);
    if (found === undefined) this.#hosts.set(name, { name, count: 1 });
    else found.count++;
    return found?.name ?? name;
  }

  #drop(name: string): void {
    const found = this.#hosts.get(name);
    if (found !== undefined && --found.count === 0) this.#hosts.delete(name);
  }
}
