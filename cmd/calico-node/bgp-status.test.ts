import { expect, test } from "vitest";
import { type BgpStatus, ControlError, type RouteText } from "../../lib/bgp/control/index.ts";
import type { Backend } from "../../lib/bgp/index.ts";
import { statusSource } from "./bgp-status.ts";

const bird: BgpStatus = {
  node: "n1",
  asn: 64512,
  routerId: "10.0.0.1",
  backend: "bird",
  restarting: false,
  peers: [],
  problems: [],
};
const blackhole: RouteText = {
  prefix: "10.65.0.0/26",
  nextHop: "-",
  from: "static",
  origin: "IGP",
  asPath: "",
  communities: [],
  stale: false,
};

const sourceOf = (status: BgpStatus, routes: () => Iterable<RouteText> | AsyncIterable<RouteText> | undefined) =>
  statusSource({ status: () => status, routes } as unknown as Backend, { startedAt: 1, configuredAt: undefined });

async function* refused(): AsyncGenerator<RouteText> {
  yield* [];
  throw new ControlError("BGP_REFUSED", "BIRD is not running");
}

test("a BIRD that does not run is not ready, and has no routes, so that both can be told", async () => {
  const source = sourceOf(bird, refused);
  expect(await source.agent(4)).toBeUndefined();
  expect(await Array.fromAsync(source.routes())).toEqual([]);
});

test("routes of one that runs are told, and that they cannot be had is not hidden", async () => {
  const running = { ...bird, startedAt: 1 };
  expect(await Array.fromAsync(sourceOf(running, () => [blackhole]).routes())).toMatchObject([
    { family: 4, destination: "10.65.0.0/26", source: "Static" },
  ]);
  await expect(Array.fromAsync(sourceOf(running, refused).routes())).rejects.toThrow("BIRD is not running");
  expect(await Array.fromAsync(sourceOf({ ...bird, backend: "speaker" }, () => [blackhole]).routes())).toHaveLength(1);
});
