import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Cluster, kubernetesArgs, pool } from "../cni/cluster.ts";
import { CHECKOUT, missingBuild, type Node } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { createWorld, Ours, until } from "./ours.ts";

/**
 * docs/bgp.md says what happens: of each of its sections a lab is made, the resources and command lines of the section are applied and typed there in
 * their order, and the page with what they print must be the same page, but for times. `npx bun --bun vitest run --project conformance
 * conformance/bgp/docs.test.ts -u` writes it anew.
 */
const docs = join(CHECKOUT, "docs");
const examples = join(docs, "examples/bgp");
const page = readFileSync(join(docs, "bgp.md"), "utf8");

interface Scene {
  readonly nodes: number;
  /** Environment of calico-node, beyond what all have. */
  readonly env?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Nodes that are routers: FRR's bgpd with this file. */
  readonly routers?: Readonly<Record<string, string>>;
  /** One pod on every node that is none, so that each has a block. */
  readonly pods?: true;
  /** Applied before the section's own, unseen. */
  readonly before?: readonly string[];
  readonly missing?: string | undefined;
}

const FRR = "/usr/lib/frr/bgpd";
const missingFrr = existsSync(FRR) ? undefined : "needs frr: scripts/setup installs it";
const missingBird = existsSync("/usr/sbin/bird") ? undefined : "needs bird2: scripts/setup installs it";

/** By the heading of the section. */
const SCENES: Readonly<Record<string, Scene>> = {
  "Full mesh": { nodes: 3, pods: true },
  IPv6: { nodes: 2, env: { node1: { IP6: "autodetect" }, node2: { IP6: "autodetect" } } },
  "Another AS number": { nodes: 3 },
  "A password for the mesh": { nodes: 3 },
  "Route reflectors": { nodes: 4, pods: true },
  "An AS per rack": {
    nodes: 4,
    pods: true,
    routers: { node3: "tor-a.conf", node4: "tor-b.conf" },
    missing: missingFrr,
  },
  "A router beside the mesh": { nodes: 3, routers: { node3: "router.conf" }, missing: missingFrr },
  Filters: {
    nodes: 3,
    pods: true,
    routers: { node3: "router.conf" },
    before: ["router-secret.yaml", "router.yaml"],
    missing: missingFrr,
  },
  "Addresses of Services": { nodes: 2, before: ["services-cast.yaml"] },
  BFD: { nodes: 2 },
  "BIRD as the back end": { nodes: 2, env: { node2: { CALICO_BGP_SPEAKER: "bird" } }, missing: missingBird },
};

/** Longer than anything on the page takes: an attempt to connect that nobody answers, 10 s, twice. */
const PATIENCE = 40_000;
/** What does not change for so long is not going to, as far as the page is concerned. */
const STEADY = 6_000;

const FENCE = /^```(\w+)\n(.*?)^```$/gms;
const FILE = /^(?:#|!) (\S+\.(?:yaml|conf))\n/;
const PROMPT = /^(node\d)\$ (.*)\n/;

/** Without what is another at each run: times, how much was dropped, the order of routes, and what was in the way while everything started, where it is over. */
function normal(output: string): string {
  return output
    .replaceAll(/\d{4}-\d\d-\d\d/g, "2026-11-23")
    .replaceAll(/(?<!\d)\d\d:\d\d:\d\d\b/g, "10:24:07")
    .replaceAll(/ for [\d.]+ s\b/g, " for 10 s")
    .replaceAll(/dropped \d+ segments?/g, "dropped 4 segments")
    .replaceAll(/^.*\(over: the session is up\)\n/gm, "")
    .replaceAll(/( Established +\S+ \S+(?: +\d+){3} +\S+ +).*$/gm, "$1-")
    .replaceAll(/^Last errors\n(?! {2})/gm, "")
    .replaceAll(/ +$/gm, "")
    .replace(/\n*$/, "\n")
    .replace(/(?<=^PREFIX[^\n]*\n).*/s, sorted);
}

/** Routes come in the order in which they were heard. */
const sorted = (lines: string): string => `${lines.trimEnd().split("\n").sort().join("\n")}\n`;

/** Heading and text of every section and subsection. */
const sections = page.split(/^(?=##+ )/m).map((text) => ({ heading: /^##+ (.*)/.exec(text)?.[1] ?? "", text }));

test("links of docs/bgp.md lead somewhere", () => {
  const anchors = new Set(
    [...page.matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) =>
      text
        .toLowerCase()
        .replace(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
  const links = [...page.matchAll(/\]\(([^)]+)\)/g)].map(([, link = ""]) => link);
  const broken = links.filter((link) =>
    link.startsWith("#") ? !anchors.has(link.slice(1)) : !existsSync(join(docs, link)),
  );
  expect(broken).toEqual([]);
});

describeLab(
  "docs/bgp.md",
  () => {
    const written = new Map<string, string>();

    for (const [heading, scene] of Object.entries(SCENES)) {
      const name = scene.missing === undefined ? heading : `${heading} (skipped: ${scene.missing})`;
      test.skipIf(scene.missing !== undefined)(name, async () => {
        const text = sections.find((section) => section.heading === heading)?.text;
        expect(text, "the page has no such section").toBeDefined();
        written.set(heading, await play(text!, scene));
        expect(written.get(heading)).toBe(text);
      });
    }

    test("every example is on the page as it is in its file, and every output is of a scene", async () => {
      const shown = [...page.matchAll(FENCE)].flatMap(([, , body = ""]) => FILE.exec(body)?.[1] ?? []);
      expect(shown.toSorted()).toEqual(readdirSync(examples).toSorted());
      for (const { heading, text } of sections) {
        if (!(heading in SCENES)) expect(text, heading).not.toMatch(/^```console$/m);
      }
      const anew = sections.map(({ heading, text }) => written.get(heading) ?? text).join("");
      await expect(withFiles(anew)).toMatchFileSnapshot(join(docs, "bgp.md"));
    });
  },
  missingBuild(),
);

/** With the examples as they are in their files. */
function withFiles(text: string): string {
  return text.replace(FENCE, (block: string, language: string, body: string) => {
    const [title, file] = FILE.exec(body) ?? [];
    return file === undefined
      ? block
      : `\`\`\`${language}\n${title}${readFileSync(join(examples, file), "utf8")}\`\`\``;
  });
}

/** The section, with what its command lines print in a lab. */
async function play(text: string, scene: Scene): Promise<string> {
  await using world = await createWorldOf(scene);
  const { cluster } = world;
  const apply = (file: string): Promise<string> =>
    cluster.nodes[0]!.run(["calicoctl", "apply", "-f", join(examples, file)], { env: cluster.env });
  for (const file of scene.before ?? []) await apply(file);
  let out = "";
  let at = 0;
  for (const match of withFiles(text).matchAll(FENCE)) {
    const [block, language, body = ""] = match;
    out += withFiles(text).slice(at, match.index);
    at = match.index + block.length;
    const file = FILE.exec(body)?.[1];
    if (language === "yaml" && file !== undefined) await apply(file);
    out += language === "console" ? `\`\`\`console\n${await typed(body, cluster)}\`\`\`` : block;
  }
  return out + withFiles(text).slice(at);
}

/** A command line and what it prints as soon as that is what the page says; otherwise, what it goes on to print. */
async function typed(body: string, { nodes, env }: Cluster): Promise<string> {
  const [prompt = "", name, line = ""] = PROMPT.exec(body) ?? [];
  const node = nodes.find((one) => one.name === name);
  if (!node) throw new Error(`no node is meant by ${body}`);
  const said = body.slice(prompt.length);
  const run = async (): Promise<string> => {
    const { stdout, stderr } = await node.exec(["sh", "-c", line], { env: { ...env, NODENAME: node.name } });
    return normal(stdout + stderr);
  };
  if (said === "") {
    await run();
    return prompt;
  }
  let output = await run();
  let since = performance.now();
  for (const began = since; output !== said && performance.now() - since < STEADY; await Bun.sleep(100)) {
    if (performance.now() - began > PATIENCE) break;
    const now = await run();
    // A first attempt that is under way looks steady, too.
    const isPending = now.includes("| Connect ") && !now.includes("Last errors");
    if (now !== output || isPending) since = performance.now();
    output = now;
  }
  return prompt + output;
}

interface World extends AsyncDisposable {
  readonly cluster: Cluster;
}

async function createWorldOf({ nodes, env = {}, routers = {}, pods }: Scene): Promise<World> {
  const cluster = await createWorld(nodes, pool("pods", "10.65.0.0/16"));
  try {
    for (const node of cluster.nodes) {
      const file = routers[node.name];
      if (file !== undefined) await startRouter(node, file);
      else {
        if (pods) {
          const pod = await node.pod("pod");
          await pod.add(cluster.conf(), { args: kubernetesArgs(pod) });
        }
        await Ours.start(cluster, node, env[node.name]);
      }
    }
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
  return { cluster, [Symbol.asyncDispose]: () => cluster.dispose() };
}

async function startRouter(node: Node, file: string): Promise<void> {
  const own = ["-u", "root", "-g", "root", "--vty_socket", "/tmp", "-i", "/tmp/bgpd.pid", "--log", "stdout"];
  // Without zebra: routes of it stay in bgpd.
  const daemon = await node.daemon("bgpd", [FRR, ...own, "-Z", "-n", "-S", "-f", join(examples, file)]);
  await until(
    async () => (await node.exec(["vtysh", "--vty_socket", "/tmp", "-c", "show version"])).status === 0,
    () => `bgpd does not answer: ${daemon.log()}`,
  );
  expect(daemon.log(), "bgpd takes every line of the file").not.toContain("No such command");
}
