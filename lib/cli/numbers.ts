/**
 * A count as `%.5g` of Go's fmt prints it: five significant digits (halves to even), no trailing zeros, an exponent of at
 * least two digits from 100000 up. Counts of IPv6 addresses go beyond 2^53; Go holds them in doubles, so they are here.
 */
export function fiveDigits(count: number | bigint): string {
  const exact = BigInt(Number(count));
  const digits = exact.toString();
  if (digits.length <= 5) return digits;
  const unit = 10n ** BigInt(digits.length - 5);
  const rest = exact % unit;
  let leading = exact / unit;
  if (rest * 2n > unit || (rest * 2n === unit && leading % 2n === 1n)) leading++;
  const carried = leading === 100_000n;
  const mantissa = carried ? "10000" : leading.toString();
  const power = digits.length - 1 + (carried ? 1 : 0);
  const fraction = mantissa.slice(1).replace(/0+$/, "");
  return `${mantissa[0]}${fraction === "" ? "" : `.${fraction}`}e+${String(power).padStart(2, "0")}`;
}

/** A part as `%.f%%` of Go's fmt: a whole percentage, halves to even (37.5 is 38%, 62.5 is 62%). A part of nothing is 0%. */
export function wholePercent(part: number | bigint, whole: number | bigint): string {
  if (Number(whole) === 0) return "0%";
  const percent = (100 * Number(part)) / Number(whole);
  const floor = Math.floor(percent);
  const rest = percent - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  return `${up ? floor + 1 : floor}%`;
}
