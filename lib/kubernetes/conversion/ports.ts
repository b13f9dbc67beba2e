/** A port as rules have it: numbers from `min` to `max`, or the name of one. */
export type PortMatch = { readonly min: number; readonly max: number } | { readonly name: string };

const LAST = 65535;

/** "80", "80:90" or a name; undefined when the text is none of them, by upstream's rules (api/pkg/lib/numorstring/port.go). */
export function parsePort(text: string): PortMatch | undefined {
  const range = /^(\d+)(?::(\d+))?$/.exec(text);
  if (range) {
    const min = Number(range[1]);
    const max = Number(range[2] ?? range[1]);
    return min <= max && max <= LAST ? { min, max } : undefined;
  }
  return /^[a-zA-Z0-9_.-]{1,128}$/.test(text) ? { name: text } : undefined;
}

/** A number, "min:max" or a name. */
export function formatPort(port: PortMatch): number | string {
  if ("name" in port) return port.name;
  return port.min === port.max ? port.min : `${port.min}:${port.max}`;
}

/** The same ports as few ranges, sorted, after the names. With no more than one number in them they stay as they are, as upstream has it. */
export function simplifyPorts(ports: readonly PortMatch[]): PortMatch[] {
  const names: PortMatch[] = [];
  const ranges: { min: number; max: number }[] = [];
  let numbers = 0;
  for (const port of ports) {
    if ("name" in port) names.push(port);
    else {
      ranges.push({ min: port.min, max: port.max });
      numbers += port.max - port.min + 1;
    }
  }
  if (numbers <= 1) return [...ports];
  ranges.sort((a, b) => a.min - b.min || a.max - b.max);
  const merged: { min: number; max: number }[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last && range.min <= last.max + 1) last.max = Math.max(last.max, range.max);
    else merged.push(range);
  }
  return [...names, ...merged];
}

/** Ports by protocol, "" for rules that name none; undefined: every port. */
export class PortsByProtocol {
  readonly #ports = new Map<string, PortMatch[] | undefined>();

  /** Adds ports of a protocol; undefined: all of it, after which none need be added. */
  add(protocol: string, port: PortMatch | undefined): void {
    const known = this.#ports.get(protocol);
    if (port === undefined) this.#ports.set(protocol, undefined);
    else if (known) known.push(port);
    else if (!this.#ports.has(protocol)) this.#ports.set(protocol, [port]);
  }

  /** For each protocol in the order of their names: what rules say of it. */
  matches(): { protocol?: string; ports?: (number | string)[] }[] {
    if (this.#ports.size === 0) return [{}];
    return [...this.#ports]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([protocol, ports]) => ({
        ...(protocol === "" ? {} : { protocol }),
        ...(ports ? { ports: simplifyPorts(ports).map(formatPort) } : {}),
      }));
  }
}
