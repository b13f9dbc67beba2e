/**
 * One model, two back ends, one meaning: random models and routes from a seed go through a real BIRD 2 with our rendered configuration, and through our
 * own policies. What comes in, what goes out to each peer and what goes into the kernel has to be the same.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { itAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import { type Bird, connectControl, openBird, renderBird2 } from "./bird/index.ts";
import { birdIn, describeWithBird } from "./bird/testing.ts";
import type { Family, Peer } from "./model/index.ts";
import { exportPolicy, importPolicy, kernelPolicy, staticRoutes } from "./policy/index.ts";
import type { Route, Source } from "./rib/index.ts";
import { parseRoutes, type Seen, seen } from "./testing/bird-table.ts";
import {
  INTERFACES,
  type Learned,
  LOCAL,
  OWN_ASN,
  prefixNear,
  Random,
  randomLearned,
  randomModel,
  received,
  UPLINK,
} from "./testing/random-node.ts";
import { prefixFromText } from "./text.ts";
import type { PathAttributes } from "./wire/index.ts";

/** The other end of every session: a BIRD that announces the routes of each peer from a table of its own. */
function feederConfiguration(
  peers: readonly (readonly [Peer, Family])[],
  routes: ReadonlyMap<string, readonly Learned[]>,
): string {
  const blocks = peers.map(([peer, family], index) => {
    const statics = (routes.get(peer.name) ?? []).map((route) => {
      const sets = [
        ...(route.localPref === undefined ? [] : [`bgp_local_pref = ${route.localPref};`]),
        ...route.path.toReversed().map((asn) => `bgp_path.prepend(${asn});`),
        ...route.communities.map((one) => `bgp_community.add((${one.join(",")}));`),
        ...route.large.map((one) => `bgp_large_community.add((${one.join(",")}));`),
      ];
      return `  route ${route.net} blackhole { ${sets.join(" ")} };`;
    });
    return `
ipv${family} table t${index};
protocol static { ipv${family} { table t${index}; };
${statics.join("\n")}
}
protocol bgp {
  local ${peer.address} as ${peer.asn}; strict bind on; neighbor ${peer.sourceAddress} as ${OWN_ASN}; multihop;
  connect delay time 1; connect retry time 1; error wait time 1,1;
  ipv${family} { table t${index}; import none; export all; };
}`;
  });
  return `log stderr all;\nrouter id 10.99.0.200;\nprotocol device { }\n${blocks.join("\n")}\n`;
}

/** Until it holds, or for 20 seconds. */
async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describeWithBird("2", "our policies decide as BIRD does with the rendered filters", (executable) => {
  let folder: string;
  let node: TestNamespace;
  let others: TestNamespace;
  const birds: Bird[] = [];

  const start = async (space: TestNamespace, configuration: string): Promise<Bird> => {
    const bird = await openBird({
      folder: join(folder, space.name),
      executable: birdIn(space, executable, folder),
      runs: "child",
    });
    birds.push(bird);
    await bird.apply({ "bird.cfg": configuration });
    return bird;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-bird-policy-"));
    node = makeNamespace("calico-bird-node");
    others = makeNamespace("calico-bird-others");
    node.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", others.name);
    for (const space of [node, others]) {
      for (const name of ["lo", "eth0"]) space.exec("ip", "link", "set", name, "up");
    }
    for (const network of ["10.99.0.1/24", "10.98.0.1/24", "fd99::1/64", "fd98::1/64"]) {
      node.exec("ip", "address", "add", network, "dev", "eth0", ...(network.includes(":") ? ["nodad"] : []));
    }
    for (const name of INTERFACES) {
      node.exec("ip", "link", "add", name, "type", "veth", "peer", "name", `${name.slice(0, 4)}-peer`);
      for (const end of [name, `${name.slice(0, 4)}-peer`]) node.exec("ip", "link", "set", end, "up");
    }
  });

  afterEach(async () => {
    await Promise.all(birds.splice(0).map((bird) => bird.close("stop")));
    node?.dispose();
    others?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const seed of [1, 2, 3, 4]) {
    itAsRoot(
      `seed ${seed}: import, export and kernel`,
      async () => {
        const random = new Random(seed * 7919);
        const model = randomModel(random);
        const taken = new Set<string>();
        const fresh = (family: Family): string => {
          for (;;) {
            const net = prefixNear(random, family);
            if (taken.has(net)) continue;
            taken.add(net);
            return net;
          }
        };
        for (const family of [4, 6] as const) {
          for (const { cidr } of staticRoutes(model, family)) taken.add(cidr);
        }
        const peers = [
          ...model.ipv4.peers.map((peer) => [peer, 4] as const),
          ...model.ipv6.peers.map((peer) => [peer, 6] as const),
        ];
        const announced = new Map(
          peers.map(([peer, family]) => [peer.name, random.many(40, () => randomLearned(random, fresh(family)))]),
        );
        // Routes of this node's kernel, each by the interface and with the metric of the list.
        const kernel = ([4, 6] as const).flatMap((family) =>
          random.many(40, () => ({
            family,
            net: fresh(family),
            interface: random.one(INTERFACES),
            metric: random.one([100, 512, 1023, 1024, 2000]),
          })),
        );
        const batch = kernel
          .map((route) => `route add ${route.net} dev ${route.interface} metric ${route.metric} proto boot`)
          .join("\n");
        const file = join(folder, "routes");
        writeFileSync(file, `${batch}\n`);
        node.exec("ip", "-batch", file);
        for (const [peer, family] of peers) {
          const add = (space: TestNamespace, address: string) =>
            space.exec(
              "ip",
              "address",
              "add",
              `${address}/${family === 4 ? 24 : 64}`,
              "dev",
              "eth0",
              ...(family === 6 ? ["nodad"] : []),
            );
          add(others, peer.address);
          add(node, peer.sourceAddress ?? "");
        }

        const bird = await start(node, renderBird2(model)["bird.cfg"]);
        await start(others, feederConfiguration(peers, announced));
        await using control = await connectControl(join(folder, node.name, "bird.ctl"), { timeoutMs: 10_000 });
        const ask = async (command: string): Promise<string> =>
          (await control.ask(command)).lines.map(({ text }) => text).join("\n");
        await eventually("every session is up and has told everything", async () => {
          const text = await ask("show protocols all");
          return peers.every(([peer]) => {
            const own = text.slice(text.indexOf(`\n${peer.name} `)).split(/\n\n/)[0] ?? "";
            const count = /Import updates:\s+(\d+)/.exec(own)?.[1];
            return own.includes("Established") && count === String(announced.get(peer.name)?.length);
          });
        });
        await eventually("the kernel's routes are learned", async () => {
          const { protocols } = await bird.state();
          const learned = protocols
            .filter(({ type }) => type === "Kernel")
            .map(({ channels }) => channels[0]?.imported ?? 0);
          return learned.reduce((a, b) => a + b, 0) >= kernel.length;
        });
        await eventually("BIRD's own restart is over", async () => !(await bird.state()).status.recovering);

        const differences: string[] = [];
        let compared = 0;
        const compare = (where: string, net: string, ours: Seen | undefined, theirs: Seen | undefined): void => {
          compared++;
          if (JSON.stringify(ours) !== JSON.stringify(theirs)) {
            differences.push(`${where}: ${net}: ours ${JSON.stringify(ours)}, BIRD's ${JSON.stringify(theirs)}`);
          }
        };

        // In: what BIRD has in its table of that peer.
        const learned: {
          readonly peer: Peer;
          readonly net: string;
          readonly attributes: PathAttributes;
          readonly preference: number | undefined;
          readonly family: Family;
        }[] = [];
        for (const [peer, family] of peers) {
          const policy = importPolicy(model, family, peer);
          const table = parseRoutes(await ask(`show route protocol ${peer.name} all`));
          for (const route of announced.get(peer.name) ?? []) {
            const verdict = policy.decide({
              prefix: prefixFromText(route.net),
              source: "bgp",
              interface: UPLINK,
              attributes: received(peer, route),
            });
            if (verdict)
              learned.push({
                peer,
                net: route.net,
                family,
                attributes: verdict.attributes,
                preference: verdict.preference,
              });
            const ours = verdict && { ...seen(verdict.attributes), preference: verdict.preference ?? 100 };
            compare(`import ${peer.name}`, route.net, ours, table.get(route.net));
          }
        }

        // Out: what BIRD would tell that peer.
        const own: (Route & { readonly net: string })[] = [
          ...kernel.map((route) => local(route.net, "kernel", route.interface, route.metric)),
          ...([4, 6] as const).flatMap((family) =>
            staticRoutes(model, family).map(({ cidr }) => local(cidr, "static")),
          ),
          local("10.99.0.0/24", "device", UPLINK),
          local("10.98.0.0/24", "device", UPLINK),
        ];
        for (const [peer, family] of peers) {
          const policy = exportPolicy(model, family, peer);
          const table = parseRoutes(await ask(`show route export ${peer.name} all`));
          const decide = (route: Route & { readonly net: string }): void => {
            const verdict = policy.decide(route);
            const theirs = table.get(route.net);
            compare(
              `export ${peer.name} ${route.source}`,
              route.net,
              verdict && seen(verdict.attributes),
              theirs && wordsOnly(theirs),
            );
          };
          for (const route of own) if (route.prefix.family === family) decide(route);
          for (const route of learned) {
            const reflects = peer.reflectorClient !== undefined || route.peer.reflectorClient !== undefined;
            if (route.family !== family || route.peer === peer) continue;
            if (route.peer.asn === OWN_ASN && peer.asn === OWN_ASN && !reflects) continue;
            decide({
              net: route.net,
              prefix: prefixFromText(route.net),
              source: "bgp",
              interface: UPLINK,
              attributes: route.attributes,
            });
          }
        }

        // Into the kernel.
        for (const family of [4, 6] as const) {
          const policy = kernelPolicy(model, family);
          const table = parseRoutes(await ask(`show route export kernel${family} all`));
          for (const route of learned) {
            if (route.family !== family) continue;
            const verdict = policy(prefixFromText(route.net), route.attributes, route.preference);
            const theirs = table.get(route.net);
            compare(
              `kernel${family}`,
              route.net,
              verdict && {
                metric: verdict.metric,
                preference: verdict.overridesLocal ? 200 : (route.preference ?? 100),
              },
              theirs && { metric: theirs.metric, preference: theirs.preference },
            );
          }
          for (const { cidr, programmed } of staticRoutes(model, family)) {
            compare(`kernel${family} static`, cidr, programmed ? {} : undefined, table.has(cidr) ? {} : undefined);
          }
        }
        expect(differences.slice(0, 20)).toEqual([]);
        expect(compared).toBeGreaterThan(1000);
      },
      60_000,
    );
  }
});

function local(
  net: string,
  source: Exclude<Source, "bgp">,
  interfaceName?: string,
  metric?: number,
): Route & { readonly net: string } {
  return {
    net,
    prefix: prefixFromText(net),
    source,
    ...(interfaceName !== undefined && { interface: interfaceName }),
    ...(metric !== undefined && { metric }),
    attributes: LOCAL,
  };
}

/** Without what export does not decide. */
function wordsOnly({ localPref, path, communities, large }: Seen): Seen {
  return { localPref, path, communities, large };
}
