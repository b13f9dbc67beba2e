/** Moments as BIRD prints them, which upstream passes on: in local time. */

/** `2021-09-19 20:10:56` */
export function formatMoment(milliseconds: number): string {
  return `${day(new Date(milliseconds))} ${time(new Date(milliseconds))}`;
}

/** BIRD's short form: the time of what is less than 20 hours ago, else the day. */
const SHORT_FOR = 20 * 3600 * 1000;

/** `20:10:56` or `2021-09-19` */
export function formatSince(milliseconds: number, now: number): string {
  const date = new Date(milliseconds);
  return now - milliseconds < SHORT_FOR ? time(date) : day(date);
}

const two = (number: number): string => String(number).padStart(2, "0");
const day = (date: Date): string => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const time = (date: Date): string => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
