/**
 * `npm run demo`: the main job, shown to a person. Three nodes on this machine, pods attached by the built plugin as a
 * kubelet would, addresses from each node's blocks, pings over routes that BGP made, policy, and everything gone in the end. Every line it calls good was
 * checked; the exit status is that of the checks.
 */
import {
  cniArgs,
  createLab,
  type Daemon,
  DIST,
  type HostNetwork,
  hostNetwork,
  type Lab,
  missingBuild,
  missingForLab,
  type Node,
  type Pod,
} from "../lab/index.ts";
import { narrator, wantsColour } from "./narrate.ts";

const say = narrator((text) => process.stdout.write(text), wantsColour());

/** The network configuration that would be in /etc/cni/net.d; a kubelet's runtime passes it on stdin. */
const NETWORK = {
  cniVersion: "1.0.0",
  name: "k8s-pod-network",
  type: "calico",
  datastore_type: "sqlite",
  datastore_file: "/mnt/share/datastore.db",
  ipam: { type: "calico-ipam" },
  policy: { type: "k8s" },
};
const DATASTORE = { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: NETWORK.datastore_file };
const AGENT = { ...DATASTORE, FELIX_HEALTHENABLED: "true" };
const POOL = `apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: demo
spec:
  cidr: 10.48.0.0/16
  blockSize: 28
`;
/** A mistake that is made often: the router has another AS number. */
const wrongPeer = (address: string): string => `apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: mistake
spec:
  node: node1
  peerIP: ${address}
  asNumber: 65001
`;
const NAMESPACE = "shop";
const PODS: readonly (readonly [node: number, name: string, app: string])[] = [
  [0, "web-1", "web"],
  [0, "web-2", "web"],
  [1, "cart-1", "cart"],
  [1, "cart-2", "cart"],
  [2, "db-1", "db"],
];
/** What the API server of a cluster would have; here `calicoctl apply` puts it into the datastore. */
const CLUSTER = [
  `apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
`,
  ...PODS.map(
    ([node, name, app]) => `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: ${NAMESPACE}
  labels:
    app: ${app}
spec:
  nodeName: node${node + 1}
  containers:
    - name: ${app}
      image: ${app}
`,
  ),
].join("---\n");
const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: only-the-cart
  namespace: ${NAMESPACE}
spec:
  podSelector:
    matchLabels:
      app: db
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app: cart
`;

interface Attached {
  readonly pod: Pod;
  readonly address: string;
  readonly hostInterface: string;
}

async function demo(lab: Lab): Promise<void> {
  const first = lab.nodes[0]!;
  say.part("A pool of addresses");
  say.explain(`The datastore is one file, ${NETWORK.datastore_file}, in a directory that the nodes share. No server.`);
  say.command(first.name, "calicoctl create -f - <<EOF");
  say.outcome(`${POOL}EOF`);
  say.outcome(await first.run(["calicoctl", "create", "-f", "-"], { env: DATASTORE, stdin: POOL }));
  await first.run(["calicoctl", "apply", "-f", "-"], { env: DATASTORE, stdin: CLUSTER });

  say.part("Pods, attached as a kubelet's runtime does it: the plugin is executed, the configuration is its input");
  const attached: Attached[] = [];
  for (const [index, name] of PODS) {
    const pod = await lab.nodes[index]!.pod(name);
    const { address, hostInterface } = await attach(pod, attached.length === 0);
    attached.push({ pod, address, hostInterface });
    say.good(`${pod.node.name}  ${name.padEnd(8)} ${address.padEnd(16)} eth0 in the pod, ${hostInterface} on the node`);
  }

  say.part("Each node has taken a block of the pool, and its pods' addresses are out of it");
  await command(first, "calico-ipam show --show-blocks");
  const blocks = await blockOwners(first);
  for (const { pod, address } of attached) {
    const owner = blocks.find(({ cidr }) => contains(cidr, address))?.node;
    check(owner === pod.node.name, `${address} of ${pod.name} is from a block of ${owner}, not of ${pod.node.name}`);
  }
  say.good("every pod's address is from a block of its own node");

  await bgpAct(lab, attached, blocks);
  await policyAct(lab, attached);

  say.part("Pods leave");
  for (const { pod } of attached) {
    await pod.del(NETWORK, { args: kubeletArgs(pod) });
    say.good(`${pod.node.name}  ${pod.name.padEnd(8)} DEL`);
  }

  say.part("Nothing is left");
  await proveNothingLeft(lab, attached);
}

/** The second act: nodes tell each other of their blocks; what a killed process does, and what a wrong configuration. */
async function bgpAct(lab: Lab, attached: readonly Attached[], blocks: readonly Block[]): Promise<void> {
  const [first, second, third] = lab.nodes as readonly [Node, Node, Node];
  const [web, , cart] = attached as readonly [Attached, Attached, Attached];
  say.part("Nodes tell each other of their blocks, by BGP");
  say.command("each node", "calico-node bgp");
  const speakers = new Map<Node, Daemon>();
  for (const node of lab.nodes) speakers.set(node, await startBgp(node));
  await eventually("the sessions of all nodes are up", () => isMeshUp(lab.nodes));
  await command(first, "calicoctl node status");
  const others = blocks.filter(({ node }) => node !== first.name).map(({ cidr }) => cidr);
  await eventually(`${first.name} has the routes of the others`, async () => {
    const routes = await first.run(["ip", "route"]);
    return others.every((cidr) => routes.includes(`${cidr} via`));
  });
  await command(first, "ip route show proto bird");
  say.good("one route a block: every node has those of the others");

  say.part("Pods reach each other");
  for (const [from, to] of [
    [0, 1],
    [0, 2],
    [3, 4],
    [4, 0],
  ] as const) {
    await ping(attached[from]!, attached[to]!);
  }

  say.part(`BGP of ${second.name} is killed, and comes back: traffic does not notice`);
  const pings = web.pod.run(["ping", "-i0.05", "-c60", "-W1", cart.address]);
  say.command(second.name, "kill -9 $(pgrep -f 'calico-node bgp')");
  await speakers.get(second)!.end("SIGKILL");
  await eventually(`${first.name} has lost the session`, async () => !(await isMeshUp([first])));
  const route = `ip route show ${blocks.find(({ cidr }) => contains(cidr, cart.address))?.cidr}`;
  say.command(first.name, route);
  const kept = await first.run(route.split(" "));
  say.outcome(kept);
  check(kept.includes(second.address4), `${first.name} has lost the route to ${cart.pod.name}`);
  say.command(second.name, "calico-node bgp");
  speakers.set(second, await startBgp(second));
  await eventually("the sessions of all nodes are up again", () => isMeshUp(lab.nodes));
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(await pings) ?? [];
  check(sent !== undefined && sent === received, `of ${sent} pings only ${received} were answered`);
  say.good(`${web.pod.name} → ${cart.pod.name} meanwhile: ${sent} pings sent, ${received} answered`);

  say.part("A session is configured wrongly: both ends say in words what is the matter");
  const mistake = wrongPeer(second.address4);
  say.command(first.name, "calicoctl apply -f - <<EOF");
  say.outcome(`${mistake}EOF`);
  say.outcome(await first.run(["calicoctl", "apply", "-f", "-"], { env: DATASTORE, stdin: mistake }));
  const complaints = [
    [first, "AS 65001 is configured"],
    [second, "OPEN rejected by"],
  ] as const;
  for (const [node, words] of complaints) {
    await eventually(`${node.name} says why there is no session`, async () => (await nodeStatus(node)).includes(words));
    say.command(node.name, "calicoctl node status | grep -A2 'Last errors'");
    say.outcome((await nodeStatus(node)).match(/^Last errors\n(?: {2}.*\n){1,2}/m)?.[0] ?? "");
  }
  for (const node of [first, second]) {
    const row = (await nodeStatus(node)).split("\n").find((line) => line.includes(`${third.address4} `));
    check(row?.includes("Established") === true, `${node.name} has lost the session with ${third.name}, too: ${row}`);
  }
  say.good(`their sessions with ${third.name} stay up`);
  await command(first, "calicoctl delete bgppeer mistake");
  say.explain("They try again after 5 s; meanwhile, policy.");
}

interface Block {
  readonly node: string;
  readonly cidr: string;
}

const startBgp = (node: Node): Promise<Daemon> =>
  node.daemon("bgp", ["calico-node", "bgp"], { ...DATASTORE, NODENAME: node.name, NO_DEFAULT_POOLS: "true" });

/** Empty while the process does not answer yet. */
const nodeStatus = async (node: Node): Promise<string> => (await node.exec(["calicoctl", "node", "status"])).stdout;

/** Whether each of these has sessions, all of them are up, and there is nothing else to say. */
async function isMeshUp(nodes: readonly Node[]): Promise<boolean> {
  const all = await Promise.all(nodes.map(nodeStatus));
  return all.every((status) => status.includes("| Established |") && !/\| start +\||^Not as configured/m.test(status));
}

/** The third act: the agent on every node, a policy, what it does, and why. */
async function policyAct(lab: Lab, attached: readonly Attached[]): Promise<void> {
  const first = lab.nodes[0]!;
  const [web, , cart, , db] = attached as readonly [Attached, Attached, Attached, Attached, Attached];
  say.part("The agent for policy starts on every node");
  say.explain("`calico-node` without a word more runs both, and starts again what ends. Here they came one by one.");
  say.command("each node", "calico-node felix");
  for (const node of lab.nodes) node.start(["calico-node", "felix"], { env: AGENT, timeout: 600_000 });
  for (const node of lab.nodes) {
    await eventually(`the agent of ${node.name} is ready`, async () => {
      const { status } = await node.exec(["calico-node", "health", "--felix-ready"], { env: AGENT });
      return status === 0;
    });
  }
  say.good(
    "every node enforces what the datastore says: so far there is no policy, and pods reach each other as before",
  );
  await ping(web, db);
  await ping(cart, db);

  say.part("A policy isolates the database: only the cart may reach it");
  say.command(first.name, "calicoctl apply -f - <<EOF");
  say.outcome(`${POLICY}EOF`);
  say.outcome(await first.run(["calicoctl", "apply", "-f", "-"], { env: DATASTORE, stdin: POLICY }));
  await eventually("the policy is in force", async () => !(await answers(web, db)));
  say.good(`${web.pod.name.padEnd(7)} → ${db.pod.name.padEnd(7)} ${db.address.padEnd(15)} silence`);
  await ping(cart, db);
  say.explain("Why?");
  await command(first, `calicoctl explain ${NAMESPACE}/${web.pod.name} ${NAMESPACE}/${db.pod.name} --protocol ICMP`);
  await command(first, `calicoctl explain ${NAMESPACE}/${cart.pod.name} ${NAMESPACE}/${db.pod.name} --protocol ICMP`);

  say.part("The policy goes, and the database is open again");
  await command(first, `calicoctl delete networkpolicies.networking.k8s.io only-the-cart -n ${NAMESPACE}`);
  await eventually("the policy is gone", () => answers(web, db));
  await ping(web, db);
  await eventually("the session that was configured wrongly is up again", () => isMeshUp(lab.nodes));
  say.good(`and the session of ${first.name} and ${lab.nodes[1]!.name} is up again`);
  await ping(web, cart);
}

async function answers(from: Attached, to: Attached): Promise<boolean> {
  const { status } = await from.pod.exec(["ping", "-c1", "-W1", to.address]);
  return status === 0;
}

/** Asks until it is so, for ten seconds at most. */
async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 10_000; !(await isSo()); ) {
    check(performance.now() < deadline, `it took more than 10 s until ${what}`);
  }
}

async function attach(pod: Pod, inFull: boolean): Promise<{ address: string; hostInterface: string }> {
  const args = kubeletArgs(pod);
  if (inFull) {
    const short = { ...args, K8S_POD_INFRA_CONTAINER_ID: `${pod.containerId.slice(0, 12)}…` };
    say.command(
      pod.node.name,
      [
        `CNI_COMMAND=ADD CNI_CONTAINERID=${pod.containerId.slice(0, 12)}… CNI_NETNS=${pod.netns} CNI_IFNAME=eth0 \\`,
        `          CNI_ARGS='${cniArgs(short)}' \\`,
        "          CNI_PATH=/opt/cni/bin /opt/cni/bin/calico <<EOF",
      ].join("\n"),
    );
    say.outcome(`${JSON.stringify(NETWORK)}\nEOF`);
  }
  const result = (await pod.add(NETWORK, { args })) as {
    interfaces: { name: string }[];
    ips: { address: string }[];
  };
  const address = result.ips[0]?.address.replace("/32", "");
  const hostInterface = result.interfaces[0]?.name;
  if (address === undefined || hostInterface === undefined) throw new Error(`${pod.name}: an incomplete result`);
  if (inFull) say.outcome(JSON.stringify(result));
  return { address, hostInterface };
}

function kubeletArgs(pod: Pod): Record<string, string> {
  return {
    IgnoreUnknown: "1",
    K8S_POD_NAMESPACE: NAMESPACE,
    K8S_POD_NAME: pod.name,
    K8S_POD_INFRA_CONTAINER_ID: pod.containerId,
  };
}

async function ping(from: Attached, to: Attached): Promise<void> {
  const said = await from.pod.run(["ping", "-c1", "-W2", to.address]);
  const time = /time=([\d.]+ ms)/.exec(said)?.[1] ?? "an answer";
  const where =
    from.pod.node === to.pod.node ? `both on ${to.pod.node.name}` : `${from.pod.node.name} to ${to.pod.node.name}`;
  say.good(
    `${from.pod.name.padEnd(7)} → ${to.pod.name.padEnd(7)} ${to.address.padEnd(15)} ${time.padStart(8)}   ${where}`,
  );
}

async function proveNothingLeft(lab: Lab, attached: readonly Attached[]): Promise<void> {
  const first = lab.nodes[0]!;
  for (const node of lab.nodes) {
    const links = await node.run(["ip", "-brief", "link"]);
    check(!links.includes("cali"), `${node.name} still has an interface of a pod:\n${links}`);
  }
  say.good("no interface of a pod on any node");
  for (const { pod } of attached)
    check(!(await pod.run(["ip", "-brief", "link"])).includes("eth0"), `${pod.name} has eth0`);
  say.good("no eth0 in any pod's namespace");
  for (const node of lab.nodes) {
    await eventually(`${node.name} has no rules of pods any more`, async () => {
      const rules = await node.run(["nft", "list", "table", "ip", "calico"]);
      return attached.every(({ hostInterface }) => !rules.includes(hostInterface));
    });
  }
  say.good("no rule of a pod in any node's kernel");
  for (const [kind, what] of [
    ["workloadendpoints", "no endpoint in the datastore"],
    ["ipamhandles", "no handle"],
  ] as const) {
    const scope = kind === "workloadendpoints" ? ["--all-namespaces"] : [];
    const list = await first.run(["calicoctl", "get", kind, ...scope, "-o", "json"], { env: DATASTORE });
    const { items } = JSON.parse(list) as { items: unknown[] };
    check(items.length === 0, `${kind} are left:\n${list}`);
    say.good(what);
  }
  const report = JSON.parse(await first.run(["calico-ipam", "show", "-o", "json"], { env: DATASTORE })) as {
    pools: { inUse: number }[];
  };
  check(
    report.pools.every(({ inUse }) => inUse === 0),
    "addresses are still in use",
  );
  say.good("no address in use");
  await command(first, "calico-ipam show --show-blocks");
  say.explain(
    "The empty blocks stay with their nodes on purpose: the next pod there gets its address without asking anybody.",
    "A node that runs out of its own may take one over.",
  );
}

/** Runs a command line and shows it with all that it prints. */
async function command(node: Node, line: string): Promise<void> {
  say.command(node.name, line);
  say.outcome(await node.run(line.split(" "), { env: DATASTORE }));
}

async function blockOwners(node: Node): Promise<Block[]> {
  const text = await node.run(["calicoctl", "get", "blockaffinities", "-o", "json"], { env: DATASTORE });
  const { items } = JSON.parse(text) as { items: { spec: { node: string; cidr: string } }[] };
  return items.map(({ spec }) => ({ node: spec.node, cidr: spec.cidr }));
}

function contains(cidr: string, address: string): boolean {
  const number = (text: string): number => text.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const [base = "", length = ""] = cidr.split("/");
  const size = 2 ** (32 - Number(length));
  return Math.floor(number(base) / size) === Math.floor(number(address) / size);
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** `dist` is where the executables are, instead of the checkout's own. */
async function main(dist: string = DIST): Promise<number> {
  const missing = missingForLab() ?? missingBuild();
  if (missing !== undefined) {
    say.bad(`The demo cannot run here: it ${missing}.`);
    return 1;
  }
  const started = performance.now();
  const before: HostNetwork = await hostNetwork();
  say.part("Three nodes on this machine");
  say.explain(
    "Each has its own network, files, processes and host name, and the underlay between them is a bridge apart.",
  );
  const lab = await createLab({ nodes: 3, dist });
  let failed = false;
  try {
    for (const node of lab.nodes) say.good(`${node.name}  ${node.address4}`);
    await demo(lab);
  } catch (error) {
    say.bad((error as Error).message);
    failed = true;
  } finally {
    await lab.dispose();
  }
  const after = await hostNetwork();
  if (JSON.stringify(after) === JSON.stringify(before)) {
    say.good("the nodes are gone; this machine's own interfaces, routes and rules were never touched");
  } else {
    say.bad(
      "this machine's own interfaces, routes or rules have changed meanwhile: see 'ip link', 'ip route', 'ip rule'",
    );
    failed = true;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(failed ? `\nThe demo failed after ${seconds} s.\n` : `\nAll of it in ${seconds} s.\n`);
  return failed ? 1 : 0;
}

process.once("SIGINT", () => {
  process.stdout.write("\nInterrupted: taking the nodes down.\n");
  // Once there is a lab, its own handler comes next, takes it down and ends the process as the signal would have.
  if (process.listenerCount("SIGINT") === 0) process.kill(process.pid, "SIGINT");
});
process.exitCode = await main(process.argv[2]);
