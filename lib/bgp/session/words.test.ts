import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { CEASE, ERROR, type Notification, OPEN_ERROR } from "../wire/index.ts";
import type { Drops } from "./environment.ts";
import {
  blockedProblem,
  connectProblem,
  lostProblem,
  malformedProblem,
  type Problem,
  receivedProblem,
  replacedProblem,
  silentProblem,
  unacceptableProblem,
  unheardProblem,
} from "./words.ts";

/** docs/bgp.md explains every error that a session may have: what a user reads is found there, and nothing is there that no user can read. */
const page = readFileSync(join(import.meta.dirname, "../../../docs/bgp.md"), "utf8");
const rows = page
  .slice(page.indexOf("## What the errors mean"), page.indexOf('Under **"Not as configured"**'))
  .split("\n")
  .flatMap((line) => /^\| `([^`]+)` \|/.exec(line)?.[1] ?? []);

/** `…` stands for what is another each time, also behind the end. */
const patternOf = (row: string): RegExp =>
  new RegExp(
    `^${row
      .split("…")
      .map((piece) => RegExp.escape(piece))
      .join(".*")}`,
  );

const options = {
  address: parseAddress("10.0.0.2"),
  port: 179,
  sourceAddress: parseAddress("10.0.0.1"),
  localAsn: 64512,
  peerAsn: 64512,
} as const;
const secured = { ...options, ttlSecurity: 1 } as const;
const locked = { ...options, password: "secret" } as const;
const linkLocal = { ...options, address: parseAddress("fe80::2"), interface: "eth1" } as const;
const { sourceAddress: _, ...unbound } = options;

const connecting = (errno: string, call: "bind" | "connect" = "connect", of: typeof options = options): Problem =>
  connectProblem(of, { errno, call }, 10_000, undefined);
const silent = (of: Parameters<typeof connectProblem>[0], drops?: Drops): Problem =>
  connectProblem(of, { errno: "ETIMEDOUT", call: "connect" }, 10_000, drops);
const told = (code: number, subcode: number, text?: string): Notification => ({
  code,
  subcode,
  data: new Uint8Array(0),
  ...(text !== undefined && { text }),
});
const received = (code: number, subcode: number, text?: string): Problem =>
  receivedProblem(options, told(code, subcode, text));

const problems: readonly Problem[] = [
  ...["ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM", "ECONNRESET", "EMFILE"].map((errno) =>
    connecting(errno),
  ),
  connecting("EADDRNOTAVAIL", "bind"),
  connectProblem(unbound, { errno: "EADDRNOTAVAIL", call: "connect" }, 10_000, undefined),
  connectProblem(linkLocal, { errno: "ENODEV", call: "connect" }, 10_000, undefined),
  silent(options),
  silent(secured),
  silent(secured, { md5: 0, unexpectedMd5: 0, ttl: 3 }),
  silent(locked),
  silent(locked, { md5: 1, unexpectedMd5: 0, ttl: 0 }),
  silent(options, { md5: 3, unexpectedMd5: 3, ttl: 0 }),
  unheardProblem(locked, 3),
  unheardProblem(options, 1),
  ...(["OpenSent", "OpenConfirm", "Established"] as const).flatMap((step) => [
    lostProblem(options, step),
    lostProblem(options, step, "ECONNRESET"),
    silentProblem(secured, step, 90),
  ]),
  blockedProblem(options, 90),
  unacceptableProblem(options, "it is of AS 65001, and AS 65002 is configured here for it"),
  unacceptableProblem(options, "it has the router id of this node, 10.0.0.1: give one of them another"),
  malformedProblem(options, told(ERROR.UPDATE, 1), "an UPDATE that is too short"),
  malformedProblem(options, told(ERROR.OPEN, 6), "an OPEN with a hold time of 1 s"),
  replacedProblem(options),
  ...Object.values(OPEN_ERROR).map((subcode) => received(ERROR.OPEN, subcode)),
  ...Object.values(CEASE).map((subcode) => received(ERROR.CEASE, subcode)),
  received(ERROR.CEASE, CEASE.ADMINISTRATIVE_SHUTDOWN, "new line cards"),
  received(ERROR.HOLD_TIMER, 0),
  received(ERROR.UPDATE, 11),
  // Of machine.ts and ../peering.ts.
  { code: "SHUTDOWN", message: "shut down here" },
  { code: "BFD_DOWN", message: "BFD says that 10.0.0.2 is gone: Control Detection Time Expired" },
];

test("a session suspects TCP-MD5 of what a password of its own would explain, not of other peers' keys", () => {
  const wrongKey: Drops = { md5: 2, unexpectedMd5: 0, ttl: 0 };
  const unexpectedKey: Drops = { md5: 2, unexpectedMd5: 2, ttl: 0 };
  expect(silent(locked, wrongKey).message).toContain("dropped 2 segments with another signature or none");
  expect(silent(locked, unexpectedKey).message).not.toContain("dropped");
  expect(silent(options, unexpectedKey)).toMatchObject({ code: "MD5_SUSPECTED" });
  expect(silent(options, wrongKey)).toMatchObject({ code: "TIMED_OUT" });
});

test("docs/bgp.md explains every error", () => {
  const patterns = rows.map(patternOf);
  const unexplained = problems.map(({ message }) => message).filter((text) => !patterns.some((row) => row.test(text)));
  expect(unexplained).toEqual([]);
});

test("docs/bgp.md explains no error that there is none of", () => {
  expect(rows.length).toBeGreaterThan(20);
  const unknown = rows.filter((row) => !problems.some(({ message }) => patternOf(row).test(message)));
  expect(unknown).toEqual([]);
});
