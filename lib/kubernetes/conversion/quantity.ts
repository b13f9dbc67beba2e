/** Powers by which a suffix multiplies (k8s.io/apimachinery/pkg/api/resource/suffix.go). */
const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };

/** A quantity beyond this many digits is more than any limit, or as good as nothing; a longer text is none. */
const MANY_DIGITS = 60;
const HUGE = 10n ** BigInt(MANY_DIGITS);

/**
 * The value of a Kubernetes quantity ("10M", "1.5Gi", "12e6"), rounded up to an integer; undefined when the text is none. Numbers
 * beyond 10^60 are all the same.
 */
export function parseQuantity(text: string): bigint | undefined {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[+-]?\d*)$/.exec(text);
  if (text === "" || text.length > MANY_DIGITS || !match) return undefined;
  const [, sign, whole = "", fraction = "", suffix = ""] = match;
  const scale = scaleOf(suffix);
  if (!scale) return undefined;
  const digits = (whole + fraction).replace(/^0+/, "");
  if (digits === "") return 0n;
  const places = scale.decimal - fraction.length;
  let value: bigint;
  if (digits.length + places > MANY_DIGITS) value = HUGE;
  else if (digits.length + places < -MANY_DIGITS) value = sign === "-" ? 0n : 1n;
  else {
    const numerator = (BigInt(digits) << BigInt(scale.binary)) * 10n ** BigInt(Math.max(places, 0));
    const denominator = 10n ** BigInt(Math.max(-places, 0));
    value = sign === "-" ? numerator / denominator : (numerator + denominator - 1n) / denominator;
  }
  return sign === "-" ? -value : value;
}

function scaleOf(suffix: string): { decimal: number; binary: number } | undefined {
  if (Object.hasOwn(DECIMAL, suffix)) return { decimal: DECIMAL[suffix]!, binary: 0 };
  if (Object.hasOwn(BINARY, suffix)) return { decimal: 0, binary: BINARY[suffix]! };
  const exponent = /^[eE]([+-]?\d+)$/.exec(suffix);
  return exponent ? { decimal: Number(exponent[1]), binary: 0 } : undefined;
}
