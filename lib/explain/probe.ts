import { readdirSync, readlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { networkInterfaces } from "node:os";
import { inNamespace, isRoot, type Namespace, openNamespace, SysError } from "../sys/index.ts";
import type { Explanation, Packet } from "./types.ts";

/** What came of a packet that was really sent. */
export interface Probed {
  /** `refused`: by the other end, or by policy that rejects rather than drops. `unknown`: it could not be sent, or silence says nothing. */
  readonly outcome: "reached" | "refused" | "silent" | "unknown";
  readonly detail: string;
}

/** A probe beside the explanation. */
export interface Verification extends Probed {
  /** Absent: nothing can be said. */
  readonly agrees?: boolean;
}

/** What a probing process is asked. */
export interface ProbeRequest {
  readonly packet: Packet;
  /** How long an answer is waited for, in milliseconds. */
  readonly patience: number;
}

const PATIENCE = 2_000;
/** How much longer than the answer the process that waits for it may take, in milliseconds. */
const START = 3_000;

/**
 * Sends the packet of an explanation from where it begins, on this machine, and compares. `command` runs {@link probe} in a process of its own
 * with the JSON of the request as its last argument: sockets are in the network namespace in which their process was started.
 */
export function verify(
  { packet, source, verdict }: Explanation,
  command: readonly string[],
  patience = PATIENCE,
): Verification {
  const place = source.endpoint?.title ?? source.address;
  if (!isRoot()) return unknown("only root may enter the network namespace of a pod");
  const namespace = namespaceOf(packet.source);
  if (namespace === undefined) {
    const node = source.endpoint === undefined ? "" : `; it is on ${source.endpoint.node}`;
    return unknown(`no network namespace of this machine has the address ${packet.source} of ${place}${node}`);
  }
  try {
    return compared(
      verdict,
      inNamespace(namespace, () => send({ packet, patience }, command)),
    );
  } finally {
    namespace.close();
  }
}

/** What a probe says of a verdict. */
export function compared(verdict: "allow" | "deny", probed: Probed): Verification {
  const { outcome } = probed;
  // Whether the other end refused or policy did, cannot be told from here.
  if (outcome === "unknown" || (outcome === "refused" && verdict === "deny")) return probed;
  return { ...probed, agrees: (verdict === "allow") === (outcome !== "silent") };
}

const unknown = (detail: string): Probed => ({ outcome: "unknown", detail });

/** The namespace that has the address: this one, a named one, or that of a process. */
function namespaceOf(address: string): Namespace | undefined {
  const seen = new Set<string | number>();
  for (const path of candidates()) {
    let namespace: Namespace | undefined;
    try {
      // Many processes share a namespace: what /proc says of it is cheaper than entering.
      const link = path.startsWith("/proc/") ? readlinkSync(path) : path;
      if (seen.has(link)) continue;
      seen.add(link);
      namespace = openNamespace(path);
      if (!seen.has(namespace.inode)) {
        seen.add(namespace.inode);
        if (inNamespace(namespace, () => hasAddress(address))) return namespace;
      }
    } catch (error) {
      // Processes end, and namespaces are unmounted, while one looks.
      if (!(error instanceof SysError) && (error as NodeJS.ErrnoException).code === undefined) throw error;
    }
    namespace?.close();
  }
  return undefined;
}

function* candidates(): Generator<string, void, undefined> {
  yield "/proc/thread-self/ns/net";
  for (const folder of ["/run/netns", "/var/run/netns"]) for (const name of namesIn(folder)) yield `${folder}/${name}`;
  for (const name of namesIn("/proc")) if (/^\d+$/.test(name)) yield `/proc/${name}/ns/net`;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const hasAddress = (address: string): boolean =>
  Object.values(networkInterfaces()).some((list) => (list ?? []).some((one) => one.address === address));

function send(request: ProbeRequest, command: readonly string[]): Probed {
  const { packet, patience } = request;
  const limit = patience + START;
  const { protocol, ipVersion, source, destination } = packet;
  if (protocol === 1 || protocol === 58) {
    const ping = ["ping", `-${ipVersion}`, "-n", "-c", "1", "-W", String(patience / 1000), "-I", source, destination];
    const { exitCode, stderr } = run(ping, limit);
    if (exitCode === 0) return { outcome: "reached", detail: "the ping was answered" };
    if (exitCode === 1) return { outcome: "silent", detail: "the ping was not answered" };
    return unknown(`ping cannot be run: ${stderr || `exit status ${exitCode}`}`);
  }
  if (protocol !== 6 && protocol !== 17) return unknown(`no probe is made for ${packet.protocolName}`);
  if (packet.destinationPort === undefined) return unknown("a probe needs --port");
  const { exitCode, stdout, stderr } = run([...command, JSON.stringify(request)], limit);
  try {
    if (exitCode === 0) return JSON.parse(stdout) as Probed;
  } catch {
    // Told below.
  }
  return unknown(`the probe failed: ${stderr || stdout || `exit status ${exitCode}`}`);
}

function run(command: readonly string[], timeout: number): { exitCode: number | null; stdout: string; stderr: string } {
  const [program = "", ...args] = command;
  try {
    const { exitCode, stdout, stderr } = Bun.spawnSync([program, ...args], { timeout, stdin: "ignore" });
    return { exitCode, stdout: stdout.toString().trim(), stderr: stderr.toString().trim() };
  } catch (error) {
    return { exitCode: null, stdout: "", stderr: (error as Error).message };
  }
}

/** Sends the packet from the network namespace of this process, and waits for what comes back. */
export function probe(request: ProbeRequest): Promise<Probed> {
  return request.packet.protocol === 6 ? probeTcp(request) : probeUdp(request);
}

/** Errors that only an answer makes. */
const ANSWERS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the packet was refused, as it is where nothing listens",
  ECONNRESET: "the connection was reset",
};

function probeTcp({ packet, patience }: ProbeRequest): Promise<Probed> {
  const { source, destination, sourcePort, destinationPort } = packet;
  return new Promise((resolve) => {
    const socket = createConnection({
      host: destination,
      port: destinationPort ?? 0,
      localAddress: source,
      ...(sourcePort === undefined ? {} : { localPort: sourcePort }),
    });
    const done = (probed: Probed): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(probed);
    };
    const timer = setTimeout(
      () => done({ outcome: "silent", detail: `no answer within ${patience / 1000} s` }),
      patience,
    );
    socket.on("connect", () => done({ outcome: "reached", detail: "the connection was accepted" }));
    socket.on("error", (error: NodeJS.ErrnoException) => done(failed(error)));
  });
}

async function probeUdp({ packet, patience }: ProbeRequest): Promise<Probed> {
  const { ipVersion, source, destination, sourcePort, destinationPort } = packet;
  const { createSocket } = await import("node:dgram");
  return new Promise((resolve) => {
    const socket = createSocket(ipVersion === 4 ? "udp4" : "udp6");
    const done = (probed: Probed): void => {
      clearTimeout(timer);
      socket.close();
      resolve(probed);
    };
    const timer = setTimeout(
      () => done(unknown(`no answer within ${patience / 1000} s, which with UDP may mean anything`)),
      patience,
    );
    socket.on("message", () => done({ outcome: "reached", detail: "the datagram was answered" }));
    socket.on("error", (error: NodeJS.ErrnoException) => done(failed(error)));
    socket.bind({ address: source, port: sourcePort ?? 0 }, () => {
      socket.connect(destinationPort ?? 0, destination, () => socket.send("calicoctl explain"));
    });
  });
}

function failed({ code, message }: NodeJS.ErrnoException): Probed {
  const detail = ANSWERS[code ?? ""];
  return detail === undefined
    ? unknown(`the packet could not be sent: ${code ?? message}`)
    : { outcome: "refused", detail };
}

/** A verification as a line of text. */
export function verificationText({ outcome, detail, agrees }: Verification): string {
  if (agrees === undefined) {
    const also = outcome === "refused" ? ", or where policy rejects (FelixConfiguration can make it so)" : "";
    return `Not verified: ${detail}${also}.`;
  }
  if (agrees) return `Verified: ${detail}, as explained.`;
  return outcome === "reached"
    ? `NOT AS EXPLAINED: ${detail}, although policy denies it. The node may not have this policy yet, or another way leads around it.`
    : `NOT AS EXPLAINED: ${detail}, although policy allows it. Something other than policy may be in the way, or nothing is there.`;
}
