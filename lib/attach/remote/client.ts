import { CniError, errorCode, type Invocation, type Result } from "../../cni/index.ts";
import { allocate, closeFd, currentNamespace, OPEN, openFile, SysError } from "../../sys/index.ts";
import { connectUnix, receiveStream, sendFd, sendStream, setTimeouts, shutDown } from "../../sys/unix.ts";
import type { DeletePlan } from "../../veth/index.ts";
import { attachLogger } from "../log.ts";
import {
  type Answer,
  LARGEST_ANSWER,
  LARGEST_REQUEST,
  PROTOCOL_VERSION,
  type Removed,
  type Request,
  type Sockets,
  socketsIn,
} from "./protocol.ts";

/** Upstream's folder of sockets and locks. */
const SOCKETS = socketsIn("/var/run/calico");

export interface Patience {
  /** How long the agent may take to say that it takes the call, in milliseconds. */
  readonly takenMs: number;
  /** How long it may take over it, beside what the configuration allows for gates and policy: longer than all its own bounds. */
  readonly answerMs: number;
}

const PATIENCE: Patience = { takenMs: 10_000, answerMs: 180_000 };
const GATE_MS = 35_000;

/** What begins so in the environment says where the datastore is and what things are called. */
const PASSED = ["CNI_", "CALICO_", "DATASTORE_", "ETCD_", "K8S_", "KUBE", "FELIX_INTERFACEPREFIX"] as const;

/** `result` is there after an ADD. */
export type Served =
  | { readonly served: true; readonly result?: Result }
  | { readonly served: false; readonly why: string };

/**
 * Has the node's agent carry out an ADD, DEL or CHECK. Not served: nobody is at work on it and whoever asks does it himself, all
 * verbs being safe to repeat. Throws the CniError that the agent's work ended with, and CniError 11 when the agent has taken the call and
 * does not answer.
 */
export async function attachByAgent(
  call: Invocation,
  sockets: Sockets = SOCKETS,
  patience: Patience = PATIENCE,
): Promise<Served> {
  if (call.config.ipam.type !== "calico-ipam") return notServed("another IPAM plugin assigns the addresses");
  const conversation = begin(call, sockets, patience);
  if (typeof conversation === "string") return notServed(conversation);
  try {
    return await converse(call, conversation, patience);
  } finally {
    conversation.close();
  }
}

/** An ADD that was not served, and whose pod waits for policy where there is none yet: see boot.ts. */
export async function attachAfterBoot(call: Invocation): Promise<Served> {
  return (await import("./boot.ts")).attachAfterBoot(call, () => attachByAgent(call));
}

const notServed = (why: string): Served => ({ served: false, why });

/** Says what is to be done; answers why it could not. */
function begin(call: Invocation, sockets: Sockets, { takenMs }: Patience): Conversation | string {
  const request = encode({
    version: PROTOCOL_VERSION,
    cookie: newCookie(),
    namespace: ownNamespace(),
    env: passedEnvironment(call.env),
    stdin: call.stdin,
  });
  if (request.line.length > LARGEST_REQUEST) return "the network configuration is too long";
  let connection = -1;
  let netns: number | undefined;
  try {
    // First of all: where there is no agent, this is all that asking costs.
    connection = connectUnix(sockets.stream, takenMs);
    netns = openNetns(call);
    sendFd(sockets.descriptors, request.cookie, netns, takenMs);
    sendStream(connection, request.line, "ask the agent");
    return new Conversation(connection);
  } catch (error) {
    if (connection >= 0) closeFd(connection);
    if (error instanceof SysError) return error.message;
    throw error;
  } finally {
    if (netns !== undefined) closeFd(netns);
  }
}

/** Undefined: a DEL, whose namespace may be gone. */
function openNetns({ environment: { command, netns } }: Invocation): number | undefined {
  try {
    return openFile(netns, OPEN.READ, `open ${netns}`);
  } catch (error) {
    if (command === "DEL") return undefined;
    throw error;
  }
}

function ownNamespace(): number {
  const own = currentNamespace();
  own.close();
  return own.inode;
}

function passedEnvironment(env: Invocation["env"]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name in env) {
    const value = env[name];
    if (value === undefined) continue;
    for (const prefix of PASSED) if (name.startsWith(prefix)) passed[name] = value;
  }
  return passed;
}

function newCookie(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
}

function encode(request: Request): {
  readonly cookie: Uint8Array<ArrayBuffer>;
  readonly line: Uint8Array<ArrayBuffer>;
} {
  return { cookie: toBytes(request.cookie), line: toBytes(`${JSON.stringify(request)}\n`) };
}

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  const encoded = new TextEncoder().encode(text);
  const bytes = allocate(encoded.length);
  bytes.set(encoded);
  return bytes;
}

async function converse(call: Invocation, conversation: Conversation, patience: Patience): Promise<Served> {
  let answer: Answer;
  try {
    answer = conversation.read();
  } catch (error) {
    if (!isLate(error)) return notServed((error as Error).message);
    // From now on the agent cannot say that it takes the call, and so does not; what it has said before can still be read.
    if (!conversation.endAndPeek()) return notServed("the agent does not answer");
    throw tooLate(patience.takenMs);
  }
  if (answer.type === "declined") return notServed(answer.why);
  const { readinessGates, policySetupTimeoutSeconds } = call.config;
  const milliseconds = patience.answerMs + readinessGates.length * GATE_MS + policySetupTimeoutSeconds * 1000;
  const deadline = performance.now() + milliseconds;
  for (;;) {
    try {
      conversation.setTimeout(Math.max(1, deadline - performance.now()));
      if (answer.type === "remove") conversation.write(await remove(call, answer.plan, answer.inPod));
      answer = conversation.read();
    } catch (error) {
      if (isLate(error)) throw tooLate(milliseconds);
      return notServed(`the agent was lost: ${(error as Error).message}`);
    }
    if (answer.type === "done" || answer.type === "failed") return conclude(call, answer);
  }
}

const isLate = (error: unknown): boolean => error instanceof SysError && error.code === "EAGAIN";

const tooLate = (milliseconds: number): CniError =>
  new CniError(
    errorCode.tryAgainLater,
    `calico-node has taken the call and does not answer within ${milliseconds / 1000} s`,
    "it may be overloaded or stopped; its log says what it is doing",
  );

function conclude(call: Invocation, answer: Extract<Answer, { type: "done" | "failed" }>): Served {
  if (answer.log.length > 0) {
    const log = attachLogger(call.config);
    for (const [level, message, fields] of answer.log) log[level](message, fields);
  }
  if (answer.type === "done") return { served: true, ...(answer.result ? { result: answer.result } : {}) };
  if (answer.code === undefined) throw new Error(answer.message);
  throw new CniError(answer.code, answer.message, answer.details);
}

async function remove(call: Invocation, plan: Omit<DeletePlan, "netns">, inPod: boolean): Promise<Removed> {
  const { deletePodInterface, VethError } = await import("../../veth/index.ts");
  try {
    const { netns } = call.environment;
    return { outcome: deletePodInterface({ ...plan, ...(inPod ? { netns } : {}) }) };
  } catch (error) {
    const { message } = error as Error;
    return error instanceof VethError ? { message, code: error.code } : { message };
  }
}

/** A connection on which lines are waited for. */
class Conversation {
  readonly #fd: number;
  #buffer = allocate(16 * 1024);
  #length = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The next line. Throws SysError EAGAIN when it takes too long, and whatever says that there will be none. */
  read(): Answer {
    for (;;) {
      const end = this.#buffer.subarray(0, this.#length).indexOf(0x0a);
      if (end >= 0) return this.#take(end);
      this.#receive(false);
    }
  }

  write(message: object): void {
    sendStream(this.#fd, toBytes(`${JSON.stringify(message)}\n`), "answer the agent");
  }

  setTimeout(milliseconds: number): void {
    setTimeouts(this.#fd, milliseconds);
  }

  /** Ends the connection; whether something had come by then. */
  endAndPeek(): boolean {
    shutDown(this.#fd);
    try {
      this.#receive(true);
    } catch {}
    return this.#length > 0;
  }

  close(): void {
    closeFd(this.#fd);
  }

  #take(end: number): Answer {
    const text = new TextDecoder().decode(this.#buffer.subarray(0, end));
    this.#buffer.copyWithin(0, end + 1, this.#length);
    this.#length -= end + 1;
    return JSON.parse(text) as Answer;
  }

  #receive(poll: boolean): void {
    if (this.#length === this.#buffer.length) {
      if (this.#length >= LARGEST_ANSWER) throw new Error("its answer is too long");
      const larger = allocate(this.#buffer.length * 4);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    const count = receiveStream(this.#fd, this.#buffer.subarray(this.#length), "hear the agent", poll);
    if (count === 0) throw new Error("it closed the connection");
    this.#length += count;
  }
}
