/**
 * Captures what a kernel answers, for the codec's tests. As root:
 *
 *     unshare -n bun lib/netlink/testdata/capture.ts > lib/netlink/testdata/kernel.hex
 */
import { spawnSync } from "node:child_process";
import { allocate, bindNetlinkSocket, closeFd, joinNetlinkGroup, openNetlinkSocket, receive, send, setSocketOption } from "../../sys/index.ts";
import { addresses } from "../address.ts";
import { linkGet, links } from "../link.ts";
import { encodeMessage, FLAG, parseMessages, TYPE } from "../message.ts";
import { neighbours } from "../neighbour.ts";
import { qdiscs } from "../qdisc.ts";
import { routeAdd, routes } from "../route.ts";
import { rules } from "../rule.ts";
import { Writer } from "../wire.ts";
import { parseCidr } from "../../ip/index.ts";

if (spawnSync("ip", ["-o", "link"], { encoding: "utf8" }).stdout.trim().split("\n").length !== 1) {
  throw new Error("run this in an empty network namespace: unshare -n bun …");
}
const events = openNetlinkSocket(0);
bindNetlinkSocket(events);
for (const group of [1, 3, 5, 7, 8, 9, 11, 19]) joinNetlinkGroup(events, group);

const commands = `
link set lo up
link add cali1 mtu 1450 address ee:ee:ee:ee:ee:ee numtxqueues 2 numrxqueues 2 type veth peer name eth0 address 02:00:00:00:00:01
link set cali1 alias calico:net1/a/eth0 group 77 up
link set eth0 up
link add br0 type bridge
link set br0 up
addr add 10.1.2.3/24 dev cali1
addr add fd00:1::3/64 dev cali1 nodad
route add 10.9.0.1/32 dev cali1 scope link
route add 10.10.0.0/16 via 10.1.2.1 dev cali1 proto 80 metric 512 table 1000 mtu 1400
route add 10.11.0.0/16 proto 12 nexthop via 10.1.2.1 dev cali1 weight 3 nexthop via 10.1.2.2 dev cali1 onlink
route add blackhole 10.12.0.0/26 proto 80
route add 10.13.0.0/24 via inet6 fe80::1 dev cali1
route add fd00:2::/64 via fd00:1::1 dev cali1 metric 1024
route add blackhole fd00:3::/122 proto 80
route add fd00:4::/64 nexthop via fd00:1::1 dev cali1 nexthop via fd00:1::2 dev cali1
neigh add 10.1.2.1 lladdr 02:00:00:00:00:02 dev cali1 nud permanent
neigh add proxy 10.1.2.9 dev cali1
rule add fwmark 0x10/0x10 priority 99 table 99 protocol 80
rule add not from 10.0.0.0/8 to 192.0.2.0/24 iif cali1 priority 100 prohibit
-6 rule add from fd00::/8 priority 101 table 1001 suppress_prefixlength 0
`;
for (const line of commands.trim().split("\n")) {
  const result = spawnSync("ip", line.split(" "), { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`ip ${line}: ${result.stderr}`);
}

const release = spawnSync("uname", ["-r"], { encoding: "utf8" }).stdout.trim();
console.log(`# Datagrams of Linux ${release}, each after the name of what it answers; made by capture.ts in this folder, which says how.`);
const fd = openNetlinkSocket(0);
setSocketOption(fd, 270, 11, 1, "explain");
const buffer = allocate(1 << 16);

function exchange(name: string, type: number, flags: number, body: (writer: Writer) => void): void {
  const writer = new Writer();
  encodeMessage(writer, type, FLAG.REQUEST | flags, 1, body);
  send(fd, writer.finish(), () => name);
  for (;;) {
    const { bytes } = receive(fd, buffer, 1000, () => name)!;
    console.log(`${name} ${Buffer.from(bytes).toString("hex")}`);
    const last = parseMessages(bytes).at(-1)!;
    if (!(flags & FLAG.DUMP) || last.type === TYPE.DONE || last.type === TYPE.ERROR) return;
  }
}

for (const [name, dump] of Object.entries({
  links: links(),
  addresses: addresses(),
  routes: routes(),
  neighbours: neighbours(),
  proxies: neighbours({ proxy: true }),
  rules: rules(),
  qdiscs: qdiscs(),
})) {
  exchange(name, dump.type, FLAG.DUMP, dump.body);
}
const link = linkGet({ name: "cali1" });
exchange("link", link.type, 0, link.body);
const missing = linkGet({ name: "none" });
exchange("refused", missing.type, FLAG.ACK, missing.body);
const bad = routeAdd({ destination: parseCidr("10.0.0.0/24"), gateway: { version: 4, value: 0x01020304n } });
exchange("explained", bad.type, bad.flags | FLAG.ACK, bad.body);
const good = routeAdd({ destination: parseCidr("10.99.0.0/24"), type: "blackhole" });
exchange("acknowledged", good.type, good.flags | FLAG.ACK, good.body);
for (;;) {
  const event = receive(events, buffer, 100, () => "event");
  if (!event) break;
  console.log(`event ${Buffer.from(event.bytes).toString("hex")}`);
}
closeFd(fd);
