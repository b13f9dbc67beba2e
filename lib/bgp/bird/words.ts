import { tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import type { Family } from "../model/index.ts";
import { BirdError } from "./errors.ts";

/** Longest symbol of BIRD 1.6 (SYM_MAX_LEN). */
const SYMBOL_LENGTH = 64;
/** A bare symbol, and what may stand between single quotes (conf/cf-lex.l). */
const BARE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const QUOTED = /^[A-Za-z0-9_.:-]*$/;
/** The kernel's TCP_MD5SIG_MAXKEYLEN, in bytes. */
const MD5_KEY_LENGTH = 80;

/**
 * What comes from a resource on its way into BIRD's language. Every value passes the method of the place it is meant for, which returns text that
 * cannot end that place; a value without such text is noted, and {@link check} refuses them all together, so that a user mends them in one go.
 */
export class Words {
  readonly #unsayable = new Set<string>();

  get unsayable(): readonly string[] {
    return [...this.#unsayable];
  }

  check(): void {
    if (this.#unsayable.size > 0) throw new BirdError("BIRD_UNSAYABLE", this.unsayable.join("; "));
  }

  /** A string between double quotes. BIRD knows no escapes: what may stand in it is everything but a quote, a line's end and NUL. */
  text(value: string, of: string): string {
    if (/["\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
      return this.#refuse(`${of} has a quotation mark, a line's end or a control character, which BIRD cannot read`);
    }
    return `"${value}"`;
  }

  /** A TCP-MD5 key. Its text is never in an error. */
  password(value: string, of: string): string {
    const length = Buffer.byteLength(value);
    if (length === 0 || length > MD5_KEY_LENGTH) {
      return this.#refuse(`the password of ${of} has ${length} bytes; TCP-MD5 takes 1 to ${MD5_KEY_LENGTH}`);
    }
    return this.text(value, `the password of ${of}`);
  }

  symbol(value: string, of: string): string {
    if (!BARE.test(value) || value.length > SYMBOL_LENGTH)
      return this.#refuse(`${of}: ${show(value)} is no name for BIRD`);
    return value;
  }

  quotedSymbol(value: string, of: string): string {
    if (!QUOTED.test(value) || value.length > SYMBOL_LENGTH) {
      return this.#refuse(`${of}: ${show(value)} is no name for BIRD (letters, digits and _ . : - only)`);
    }
    return `'${value}'`;
  }

  address(value: string, family: Family, of: string): string {
    const address = tryParseAddress(value);
    if (address?.version !== family) return this.#refuse(`${of}: ${show(value)} is no IPv${family} address`);
    return value;
  }

  cidr(value: string, family: Family, of: string): string {
    const cidr = tryParseCidr(value);
    if (cidr?.version !== family) return this.#refuse(`${of}: ${show(value)} is no IPv${family} CIDR`);
    return value;
  }

  /** A whole number of 32 bits, or of the range that is named. */
  number(value: number, of: string, least = 0, most = 4_294_967_295): string {
    if (!Number.isInteger(value) || value < least || value > most) {
      return this.#refuse(`${of}: ${value} is no number from ${least} to ${most}`);
    }
    return String(value);
  }

  #refuse(why: string): string {
    this.#unsayable.add(why);
    return '""';
  }
}

/** A comment that says which resource the lines below are of; the driver reads it back when BIRD complains about a line. */
export function ofResource(name: string): string {
  return `${RESOURCE} ${name.replace(/[^\x20-\x7e]+/g, " ").trim()}`;
}

export const RESOURCE = "#:";

/** What of a foreign value may be shown in an error. */
function show(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}

/** Byte order, as Go sorts strings. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
