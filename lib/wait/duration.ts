/** Nanoseconds. The micro sign and the Greek letter mu are two characters. */
const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  "\u00b5s": 1e3,
  "\u03bcs": 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const PART = /(\d*)(?:\.(\d*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/gy;
/** Go holds nanoseconds in an int64; one more of them fits below zero. */
const MOST = 2n ** 63n - 1n;

/**
 * Milliseconds of a duration as Go reads it (time.ParseDuration): `1m30s`, `-1.5h`, `.5s`, `0`. Undefined when it is none, as is what has no unit
 * or is longer than 292 years. It may be negative. Like Go it knows whole nanoseconds: what is left of one is cut off.
 */
export function parseDuration(text: string): number | undefined {
  const isSigned = text.startsWith("-") || text.startsWith("+");
  const isNegative = text.startsWith("-");
  const rest = isSigned ? text.slice(1) : text;
  if (rest === "0") return 0;
  let nanoseconds = 0n;
  let at = 0;
  for (const [part, whole, fraction, unit] of rest.matchAll(PART)) {
    if (!whole && !fraction) return undefined;
    nanoseconds += BigInt(whole!) * BigInt(UNITS[unit!]!) + fractionOf(fraction ?? "", UNITS[unit!]!);
    at += part.length;
  }
  if (at === 0 || at < rest.length || nanoseconds > MOST + (isNegative ? 1n : 0n)) return undefined;
  const milliseconds = Number(nanoseconds) / 1e6;
  // Not -0.
  return isNegative && nanoseconds > 0n ? -milliseconds : milliseconds;
}

/** In floating point, as Go does it: 0.3333333333333333333h are 20 minutes, not a nanosecond less. Digits beyond an int64 do not count. */
function fractionOf(digits: string, unit: number): bigint {
  let value = 0n;
  let scale = 1;
  for (const digit of digits) {
    const longer = value * 10n + BigInt(digit);
    if (longer > MOST + 1n) break;
    value = longer;
    scale *= 10;
  }
  return BigInt(Math.trunc(Number(value) * (unit / scale)));
}
