/** What is seen while there is no connection: an attempt to make one, and waiting for the other to. */
import type { Clock, Connection, Drops, Timer, Transport } from "./environment.ts";
import type { SessionOptions } from "./types.ts";
import { connectProblem, foreignSegments, type Problem, unheardProblem } from "./words.ts";

/**
 * An attempt that is under way is looked at so often, in milliseconds, for what the kernel drops meanwhile; and after that long its silence
 * is told, whatever the cause: the kernel has tried three times, and would know were there nobody at the address of a network of its own.
 */
const LOOK = 1_000;
const ANSWER_DUE = 4_000;
/** How often one that waits to be connected to looks at the same. */
const LOOK_WAITING = 5_000;

export interface AttemptEvents {
  connected(connection: Connection): void;
  failed(problem: Problem): void;
  /** It goes on, and it is known already what is in its way. */
  hint(problem: Problem): void;
}

/** Connects, or says within `timeout` milliseconds why not: one of the two, once, unless it is cancelled. */
export function attempt(
  options: SessionOptions,
  { clock, transport }: { readonly clock: Clock; readonly transport: Transport },
  timeout: number,
  events: AttemptEvents,
): Timer {
  const { address, port, sourceAddress, password, ttlSecurity } = options;
  const on = options.interface;
  const begun = clock.now();
  const before = transport.drops?.();
  let over = false;
  const end = (): boolean => {
    if (over) return false;
    over = true;
    limit.cancel();
    look.cancel();
    return true;
  };
  const problemOf = (errno: string, call: string, drops: Drops | undefined): Problem =>
    connectProblem(options, { errno, call }, clock.now() - begun, drops);
  const fail = (errno: string, call: string): void => {
    if (!end()) return;
    events.failed(problemOf(errno, call, errno === "ETIMEDOUT" ? since(before, transport) : undefined));
  };
  const looked = (): void => {
    const drops = since(before, transport);
    const isDue = clock.now() - begun >= ANSWER_DUE;
    if (!isDue) look = clock.after(LOOK, looked);
    if (isDue || foreignSegments(options, drops) > 0) events.hint(problemOf("ETIMEDOUT", "connect", drops));
  };
  let look = clock.after(LOOK, looked);
  const limit = clock.after(timeout, () => {
    pending.cancel();
    fail("ETIMEDOUT", "connect");
  });
  const pending = transport.connect(
    {
      address,
      port,
      ...(on !== undefined && { interface: on }),
      ...(sourceAddress && { sourceAddress }),
      ...(password !== undefined && { password }),
      ...(ttlSecurity !== undefined && { ttlSecurity }),
    },
    (connection) => {
      if (end()) events.connected(connection);
      else connection.close();
    },
    ({ errno, call }) => fail(errno, call),
  );
  return {
    cancel() {
      if (end()) pending.cancel();
    },
  };
}

/** Looks again and again until it is cancelled: whoever has the wrong key never connects. Nothing to look at where the kernel does not count. */
export function watchForSegments(
  options: SessionOptions,
  { clock, transport }: { readonly clock: Clock; readonly transport: Transport },
  hint: (problem: Problem) => void,
): Timer {
  let before = transport.drops?.();
  let timer: Timer | undefined;
  const arm = (): void => {
    timer = clock.after(LOOK_WAITING, () => {
      arm();
      const segments = foreignSegments(options, since(before, transport));
      before = transport.drops?.();
      if (segments > 0) hint(unheardProblem(options, segments));
    });
  };
  if (before) arm();
  return { cancel: () => timer?.cancel() };
}

function since(before: Drops | undefined, transport: Transport): Drops | undefined {
  const after = before && transport.drops?.();
  if (!before || !after) return undefined;
  const { md5, unexpectedMd5, ttl } = after;
  return { md5: md5 - before.md5, unexpectedMd5: unexpectedMd5 - before.unexpectedMd5, ttl: ttl - before.ttl };
}
