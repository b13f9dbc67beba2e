import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  type BgpStatus,
  ControlClient,
  ControlError,
  type ControlSource,
  type PeerStatus,
  type RouteText,
  serveControl,
  whyNotReady,
} from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "bgp-control-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const peer = (address: string, state: string, over: Partial<PeerStatus> = {}): PeerStatus => ({
  name: `Mesh_${address.replaceAll(/[.:]/g, "_")}`,
  kind: "mesh",
  family: address.includes(":") ? 6 : 4,
  address,
  port: 179,
  asn: 64512,
  reason: "node-to-node mesh",
  passive: false,
  state,
  since: 0,
  messages: { sent: 0, received: 0 },
  flaps: 0,
  routes: { received: 0, accepted: 0, best: 0, sent: 0 },
  ...over,
});

const status = (peers: readonly PeerStatus[], over: Partial<BgpStatus> = {}): BgpStatus => ({
  node: "n1",
  asn: 64512,
  routerId: "10.0.0.1",
  backend: "speaker",
  restarting: false,
  peers,
  problems: [],
  ...over,
});

const refused = { code: "REFUSED", message: "refused: nothing listens there", at: 0 };
const expired = { code: "HOLD_TIMER", message: "hold timer expired", at: -1 };
const up = peer("10.0.0.2", "Established");
const down = peer("10.0.0.3", "Active", { lastError: refused });

describe("readiness", () => {
  const cases: [string, BgpStatus, number, string | undefined][] = [
    ["a node without peers is ready", status([]), 0, undefined],
    [
      "at first every peer counts",
      status([up, down]),
      1_000,
      "BGP not established with 10.0.0.3 (Mesh_10_0_0_3): Active, refused: nothing listens there",
    ],
    ["later one is enough", status([up, down]), 60_000, undefined],
    [
      "but one there must be",
      status([down]),
      60_000,
      "BGP not established with 10.0.0.3 (Mesh_10_0_0_3): Active, refused: nothing listens there",
    ],
    [
      "what ended the session before is told beside why it does not come back",
      status([peer("10.0.0.3", "Active", { lastError: refused, endedBy: expired })]),
      60_000,
      "BGP not established with 10.0.0.3 (Mesh_10_0_0_3): Active, refused: nothing listens there (went down: hold timer expired)",
    ],
    [
      "and alone as long as nothing else is known",
      status([peer("10.0.0.3", "Active", { lastError: expired, endedBy: expired })]),
      60_000,
      "BGP not established with 10.0.0.3 (Mesh_10_0_0_3): Active, hold timer expired",
    ],
    ["a restart is to be over at first", status([up], { restarting: true }), 1_000, "graceful restart in progress"],
    ["and later not waited for", status([up], { restarting: true }), 60_000, undefined],
    ["what start-up waits for goes before all else", status([up], { waitsFor: ["a", "b"] }), 60_000, "a; b"],
    ["a node that does no BGP is ready", status([], { backend: "none" }), 0, undefined],
  ];
  test.each(cases)("%s", (_name, of, uptime, why) => expect(whyNotReady(of, uptime)).toBe(why));

  test("is of the families that are asked for", () => {
    const both = status([up, peer("fd00::2", "Connect")]);
    expect(whyNotReady(both, 0, [4])).toBeUndefined();
    expect(whyNotReady(both, 0, [6])).toContain("fd00::2");
  });

  test("names five peers and counts the rest", () => {
    const many = Array.from({ length: 8 }, (_, i) => peer(`10.0.0.${i + 2}`, "Connect"));
    expect(whyNotReady(status(many), 0)).toMatch(/10\.0\.0\.6 \(.*\): Connect; and 3 more$/);
  });
});

describe("the socket", () => {
  let number = 0;
  let served: { close(): Promise<void> } | undefined;
  afterEach(() => served?.close());

  const serve = (source: Partial<ControlSource>): { readonly client: ControlClient; readonly path: string } => {
    const path = join(folder, `${number++}.sock`);
    served = serveControl(path, { status: () => status([up]), explain: () => [], routes: () => undefined, ...source });
    return { client: new ControlClient(path), path };
  };
  const route = (prefix: string): RouteText => ({
    prefix,
    nextHop: "10.0.0.2",
    from: "Mesh_10_0_0_2",
    origin: "IGP",
    asPath: "",
    communities: [],
    stale: false,
  });

  test("is root's from its first moment, and leaves the umask as it was", () => {
    const before = process.umask();
    const { path } = serve({});
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(before);
  });

  test("tells that a node is ready, and what there is to say nevertheless", async () => {
    const { client } = serve({ status: () => status([up], { notServed: ["IPPool p is not served"] }) });
    expect(await client.health("readiness", [])).toEqual({ remarks: ["IPPool p is not served"] });
    expect(await client.health("liveness", [])).toEqual({ remarks: [] });
  });

  test("tells why it is not, by the patience that is asked for", async () => {
    const { client } = serve({ status: () => status([up, down]) });
    expect((await client.health("readiness", [4])).why).toMatch(
      /^BGP not established with 10\.0\.0\.3 \(Mesh_10_0_0_3\): Active, refused/,
    );
    expect(await client.health("readiness", [4], 0)).toEqual({ remarks: [] });
  });

  test("explains a prefix, and of an address the longest prefix that has routes", async () => {
    const tables = new Map(
      ["0.0.0.0/0", "10.65.0.0/16", "10.65.1.0/26", "fd00:65::/64"].map((text) => [text, [route(text)]]),
    );
    const { client } = serve({ explain: (prefix) => tables.get(prefix) ?? [] });
    const found = async (text: string) => (await client.explain(text)).map(({ prefix }) => prefix);
    expect(await found("10.65.0.0/16")).toEqual(["10.65.0.0/16"]);
    expect(await found("10.65.0.0/24")).toEqual([]);
    expect(await found("10.65.1.7")).toEqual(["10.65.1.0/26"]);
    expect(await found("10.65.1.77")).toEqual(["10.65.0.0/16"]);
    expect(await found("192.0.2.1")).toEqual(["0.0.0.0/0"]);
    expect(await found("fd00:65::9")).toEqual(["fd00:65::/64"]);
    expect(await found("fd00:66::9")).toEqual([]);
  });

  test("gives out a long table as a whole", async () => {
    const routes = Array.from({ length: 2_500 }, (_, i) => route(`10.${i >> 8}.${i & 255}.0/24`));
    const { client } = serve({ routes: (which) => (which === "best" ? routes : undefined) });
    expect(await Array.fromAsync(client.routes("best"))).toEqual(routes);
    await expect(Array.fromAsync(client.routes("accepted", "Mesh_x"))).rejects.toThrow(
      "there is no peer Mesh_x; there are Mesh_10_0_0_2",
    );
  });

  test("routes of another process go out as they come, and are not read any more when nobody wants them", async () => {
    let ended = false;
    let told = 0;
    const { client } = serve({
      routes: async (which) => (which === "sent" ? undefined : which === "best" ? endless() : [route("10.65.1.0/26")]),
      explain: async (prefix) => [route(prefix)],
    });
    async function* endless(): AsyncGenerator<RouteText> {
      try {
        for (;;) {
          await new Promise((resolve) => setImmediate(resolve));
          yield route(`10.0.${told++ & 255}.0/24`);
        }
      } finally {
        ended = true;
      }
    }
    expect(await Array.fromAsync(client.routes("accepted"))).toHaveLength(1);
    await expect(Array.fromAsync(client.routes("sent"))).rejects.toThrow("BGP has no configuration yet");
    expect(await client.explain("10.65.1.0/26")).toHaveLength(1);
    for await (const { prefix } of client.routes("best")) if (prefix === "10.0.7.0/24") break;
    for (const deadline = performance.now() + 20_000; !ended; await Bun.sleep(5)) {
      if (performance.now() > deadline) throw new Error(`still read, after ${told} routes`);
    }
  });

  test.each([0, 10, 1_000, 2_500])(
    "routes that break off after %i say why, and are not taken for all",
    async (number) => {
      const { client } = serve({ routes: () => breaking() });
      async function* breaking(): AsyncGenerator<RouteText> {
        for (let i = 0; i < number; i++) yield route(`10.${i >> 8}.${i & 255}.0/24`);
        throw new ControlError("BGP_REFUSED", "BIRD is not running: it ended (SIGKILL)");
      }
      let told = 0;
      const read = async (): Promise<void> => {
        for await (const _ of client.routes("best")) told++;
      };
      await expect(read()).rejects.toThrow("BGP_REFUSED: BIRD is not running: it ended (SIGKILL)");
      expect(told).toBe(number);
    },
  );

  test("a process that ends in the middle of its routes is told of in words", async () => {
    const { client } = serve({ routes: () => endless() });
    async function* endless(): AsyncGenerator<RouteText> {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        yield route("10.65.0.0/26");
      }
    }
    const read = async (): Promise<void> => {
      for await (const _ of client.routes("best")) {
        await served?.close();
        served = undefined;
      }
    };
    await expect(read()).rejects.toMatchObject({ name: "ControlError", code: "BGP_NOT_RUNNING" });
  });

  test("a peer is found by its address, and one that is not up says why", async () => {
    const { client } = serve({
      status: () => status([up, down]),
      routes: (_which, name) => (name === "Mesh_10_0_0_2" ? [route("10.65.0.0/26")] : undefined),
    });
    expect(await Array.fromAsync(client.routes("accepted", "10.0.0.2"))).toHaveLength(1);
    await expect(Array.fromAsync(client.routes("accepted", "10.0.0.3"))).rejects.toThrow(
      "the session is not up: 10.0.0.3 (Mesh_10_0_0_3): Active, refused: nothing listens there",
    );
  });

  test("a question that makes no sense is refused in words", async () => {
    const { client } = serve({
      explain: () => {
        throw new RangeError('"nonsense" is not a CIDR');
      },
    });
    await expect(client.explain("nonsense")).rejects.toThrow('BGP_REFUSED: "nonsense" is not a CIDR');
  });

  test("nobody there is told apart", async () => {
    const error = await new ControlClient(join(folder, "none.sock")).status().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ControlError);
    expect(error).toMatchObject({ code: "BGP_NOT_RUNNING" });
    expect(String(error)).toContain("none.sock (there is no such socket); is calico-node running");
  });
});
