/** Which bits of the packet mark mean what, taken from the mask in upstream's order, low to high (felix/dataplane/driver.go). */

export interface Marks {
  /** A policy or profile said Allow. */
  readonly accept: number;
  /** A policy said Pass: on to the next tier. */
  readonly pass: number;
  /** Reserved; upstream's place for Deny. */
  readonly drop: number;
  readonly scratch0: number;
  readonly scratch1: number;
  /** With IPVS, the bits that hold the number of the endpoint a packet came from; otherwise 0. */
  readonly endpoint: number;
  /** In `endpoint`: the packet came from no endpoint of ours. */
  readonly nonCaliEndpoint: number;
}

export type RulesErrorCode = "RULES_MARK_MASK";

/** The configuration cannot be rendered; names the parameter and the remedy. */
export class RulesError extends Error {
  readonly code: RulesErrorCode;
  constructor(code: RulesErrorCode, message: string) {
    super(`${code}: ${message}`);
    this.name = "RulesError";
    this.code = code;
  }
}

/** @throws RulesError when the mask has too few bits. */
export function allocateMarks(mask: number, options: { readonly wireguard: boolean; readonly ipvs: boolean }): Marks {
  const bits = bitsOf(mask);
  const needed = 5 + (options.wireguard ? 1 : 0) + (options.ipvs ? 2 : 0);
  if (bits.length < needed)
    throw new RulesError(
      "RULES_MARK_MASK",
      `mark mask 0x${(mask >>> 0).toString(16)} has ${bits.length} bits, ${needed} are needed; give IptablesMarkMask or NftablesMarkMask more`,
    );
  const [accept, pass, drop, scratch0, scratch1] = bits as [number, number, number, number, number];
  const rest = options.ipvs ? bits.slice(options.wireguard ? 6 : 5) : [];
  return {
    accept,
    pass,
    drop,
    scratch0,
    scratch1,
    endpoint: rest.reduce((all, bit) => (all | bit) >>> 0, 0),
    nonCaliEndpoint: rest[0] ?? 0,
  };
}

/** Its single bits, low to high. */
function bitsOf(mask: number): number[] {
  const bits: number[] = [];
  for (let i = 0; i < 32; i++) if ((mask >>> i) & 1) bits.push((1 << i) >>> 0);
  return bits;
}

/**
 * Numbers for endpoints within some bits of the mark, by FNV-1 of the interface's name, so that most survive a restart (felix/rules/epmark.go).
 */
export class EndpointMarks {
  readonly mask: number;
  readonly #bits: readonly number[];
  readonly #byInterface = new Map<string, number>();
  readonly #taken = new Set<number>();

  /** `reserved` is given to no interface. */
  constructor(mask: number, reserved: number) {
    this.mask = mask;
    this.#bits = bitsOf(mask);
    this.#taken.add(reserved);
  }

  /** The mark of an interface; undefined: none is left. */
  get(name: string): number | undefined {
    const known = this.#byInterface.get(name);
    if (known !== undefined) return known;
    const count = 2 ** this.#bits.length;
    const start = fnv1(name);
    for (let i = 0; i < count; i++) {
      const mark = this.#spread((start + i) % count);
      if (mark === 0 || this.#taken.has(mark)) continue;
      this.#taken.add(mark);
      this.#byInterface.set(name, mark);
      return mark;
    }
    return undefined;
  }

  release(name: string): void {
    const mark = this.#byInterface.get(name);
    if (mark === undefined) return;
    this.#byInterface.delete(name);
    this.#taken.delete(mark);
  }

  /** The bits of a small number, at the places of the mask's bits. */
  #spread(n: number): number {
    return this.#bits.reduce((mark, bit, i) => ((n >>> i) & 1 ? (mark | bit) >>> 0 : mark), 0);
  }
}

/** 32-bit FNV-1 (multiply, then xor). */
function fnv1(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 0x01000193) ^ byte) >>> 0;
  return hash;
}
