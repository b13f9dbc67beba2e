/** What a timer can wait at most: asked for more, it does not wait at all. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs at an interval in milliseconds (0: never), and then looks whether there is something to do. */
export function every(
  interval: number,
  run: () => void,
  enforcer?: { wake(): void },
): ReturnType<typeof setInterval> | undefined {
  if (interval === 0) return undefined;
  return setInterval(
    () => {
      run();
      enforcer?.wake();
    },
    Math.min(interval, MAX_TIMER_MS),
  );
}
