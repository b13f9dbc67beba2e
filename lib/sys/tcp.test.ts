import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd } from "./libc.ts";
import {
  adoptListener,
  beginConnect,
  bindTcp,
  bindToDevice,
  connectStream,
  interfaceIndex,
  listenTcp,
  localEnd,
  openTcpSocket,
  parseTcpDrops,
  remoteEnd,
  setMd5Key,
  setTtl,
  type TcpListener,
  type TcpStream,
} from "./tcp.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "./testing.ts";

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const descriptors = () => readdirSync("/proc/self/fd").length;

async function until(what: string, test: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!test()) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What a stream tells. */
class Ear {
  bytes = 0;
  writable = 0;
  lost: string | undefined;
  constructor(readonly stream: TcpStream) {
    stream.listen({
      data: ({ length }) => {
        this.bytes += length;
      },
      writable: () => {
        this.writable++;
      },
      lost: (errno) => {
        this.lost = errno ?? "closed";
      },
    });
  }
}

describe("TCP sockets", () => {
  let listener: TcpListener;
  let port: number;
  let accepted: TcpStream[];
  let before: number;
  beforeEach(() => {
    before = descriptors();
    accepted = [];
    const fd = openTcpSocket(4);
    listenTcp(fd, { bytes: LOOPBACK, port: 0 }, 16, "listen");
    port = localEnd(fd)!.port;
    listener = adoptListener(fd, (stream) => accepted.push(stream));
  });
  afterEach(async () => {
    listener.close();
    for (const stream of accepted) stream.close();
    await until("every descriptor is closed", () => descriptors() <= before);
  });

  const begin = (to: number, prepare: (fd: number) => void = () => {}): number => {
    const fd = openTcpSocket(4);
    prepare(fd);
    beginConnect(fd, { bytes: LOOPBACK, port: to }, "connect");
    return fd;
  };
  const connect = (to = port, prepare?: (fd: number) => void) =>
    new Promise<TcpStream>((resolve, reject) => {
      connectStream(begin(to, prepare), resolve, (errno) => reject(new Error(errno)));
    });

  it("connect, from the address they are bound to, and both ends know each other's", async () => {
    const from = Uint8Array.of(127, 0, 0, 7);
    const stream = await connect(port, (fd) => bindTcp(fd, { bytes: from, port: 0 }, "bind"));
    await until("it is accepted", () => accepted.length === 1);
    expect(localEnd(stream.fd)?.bytes).toEqual(from);
    expect(remoteEnd(accepted[0]!.fd)).toEqual(localEnd(stream.fd));
    expect(remoteEnd(stream.fd)).toEqual({ bytes: LOOPBACK, port });
    stream.close();
    expect([stream.fd, localEnd(stream.fd)]).toEqual([-1, undefined]);
  });

  it("say with the errno's name why they do not", async () => {
    const spare = openTcpSocket(4);
    bindTcp(spare, { bytes: LOOPBACK, port: 0 }, "bind");
    await expect(connect(localEnd(spare)!.port)).rejects.toThrow("ECONNREFUSED");
    expect(() => bindTcp(spare, { bytes: Uint8Array.of(192, 0, 2, 1), port: 0 }, "speak from 192.0.2.1")).toThrow(
      /speak from 192\.0\.2\.1: bind: E(ADDRNOTAVAIL|INVAL)/,
    );
    closeFd(spare);
  });

  it("given up while they connect are closed, and nothing is told", async () => {
    let told = 0;
    for (let i = 0; i < 20; i++)
      connectStream(
        begin(port),
        () => told++,
        () => told++,
      ).cancel();
    await until("they are closed", () => descriptors() <= before + 1 + accepted.length);
    expect(told).toBe(0);
  });

  it("keep what comes until somebody listens, also when the other has gone by then", async () => {
    const stream = await connect();
    await until("it is accepted", () => accepted.length === 1);
    expect(stream.write(new Uint8Array(1000))).toBe(1000);
    stream.close();
    const ear = new Ear(accepted[0]!);
    await until("the end is told", () => ear.lost !== undefined);
    expect([ear.bytes, ear.lost]).toEqual([1000, "closed"]);
  });

  it("finished, still read to the end", async () => {
    const near = new Ear(await connect());
    await until("it is accepted", () => accepted.length === 1);
    const far = new Ear(accepted[0]!);
    far.stream.pause();
    near.stream.write(new Uint8Array(21));
    near.stream.finish();
    far.stream.write(new Uint8Array(5));
    await until("the answer comes", () => near.bytes === 5);
    expect(far.bytes).toBe(0);
    expect(far.stream.readable()).toBe(true);
    far.stream.resume();
    await until("both have come to their end", () => far.lost !== undefined && near.lost !== undefined);
    expect(far.bytes).toBe(21);
  });

  it("take no more than there is room for, say when there is again, and lose nothing", async () => {
    const near = new Ear(await connect());
    await until("it is accepted", () => accepted.length === 1);
    const far = new Ear(accepted[0]!);
    far.stream.pause();
    const chunk = new Uint8Array(1 << 20);
    let written = 0;
    for (;;) {
      const taken = near.stream.write(chunk);
      written += taken;
      if (taken < chunk.length) break;
    }
    expect(near.stream.write(chunk)).toBe(0);
    const { writable } = near;
    expect(far.bytes).toBe(0);
    far.stream.resume();
    await until("everything is read", () => far.bytes === written);
    await until("there is room again", () => near.writable > writable);
    near.stream.close();
  });
});

describe("counters of what was dropped", () => {
  it("are found by their names, wherever they stand", () => {
    const text =
      "TcpExt: A TCPMD5Failure B TCPMD5NotFound TCPMinTTLDrop TCPMD5Unexpected\nTcpExt: 9 1 9 2 4 8\nIpExt: C\nIpExt: 1\n";
    expect(parseTcpDrops(text)).toEqual({ md5: 11, unexpectedMd5: 8, ttl: 4 });
    expect(parseTcpDrops("")).toBeUndefined();
  });
});

describeAsRoot("TCP sockets' options", () => {
  let space: TestNamespace;
  let fds: number[];
  beforeEach(() => {
    space = makeNamespace("calico-tcp");
    space.exec("ip", "link", "set", "lo", "up");
    fds = [];
  });
  afterEach(() => {
    for (const fd of fds) closeFd(fd);
    space.dispose();
  });
  const open = (version: 4 | 6): number => {
    const fd = space.run(() => openTcpSocket(version));
    fds.push(fd);
    return fd;
  };

  it("keys of TCP-MD5 come and go, of an address or a network, and too long ones are refused in words", async () => {
    const key = new TextEncoder().encode("key");
    const listening = open(4);
    listenTcp(listening, { bytes: LOOPBACK, port: 179 }, 4, "listen");
    setMd5Key(listening, Uint8Array.of(127, 0, 0, 0), key, "set the key", 24);
    const connects = async (using: Uint8Array | undefined): Promise<boolean> => {
      const fd = space.run(() => openTcpSocket(4));
      setMd5Key(fd, LOOPBACK, using, "set the key");
      beginConnect(fd, { bytes: LOOPBACK, port: 179 }, "connect");
      return await new Promise((resolve) => {
        const attempt = connectStream(
          fd,
          (stream) => {
            stream.close();
            clearTimeout(timer);
            resolve(true);
          },
          () => resolve(false),
        );
        const timer = setTimeout(() => {
          attempt.cancel();
          resolve(false);
        }, 300);
      });
    };
    expect(await connects(key)).toBe(true);
    expect(await connects(new TextEncoder().encode("another"))).toBe(false);
    setMd5Key(listening, Uint8Array.of(127, 0, 0, 0), undefined, "remove the key", 24);
    setMd5Key(listening, Uint8Array.of(127, 0, 0, 0), undefined, "remove what is not there", 24);
    expect(await connects(undefined)).toBe(true);
    expect(() => setMd5Key(listening, LOOPBACK, new Uint8Array(81), "set the key")).toThrow("1 to 80 bytes, not 81");
  });

  it.each([4, 6] as const)("TTL, interface and index are set and found (IPv%i)", (version) => {
    const fd = open(version);
    setTtl(fd, version, { ttl: 255, least: 254 });
    setTtl(fd, version, { ttl: -1, least: 0 });
    expect(() => setTtl(fd, version, { ttl: 300, least: 0 })).toThrow("set a time to live of 300");
    bindToDevice(fd, "lo");
    expect(() => bindToDevice(fd, "there-is-none")).toThrow("ENODEV");
    expect([interfaceIndex(fd, "lo"), interfaceIndex(fd, "there-is-none")]).toEqual([1, undefined]);
  });
});
