import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { allocate, closeFd, OPEN, openFile, statFd } from "./index.ts";
import {
  connectUnix,
  listenUnix,
  openFdSocket,
  receiveFd,
  receiveStream,
  removeSocket,
  sendFd,
  sendStream,
  shutDown,
} from "./unix.ts";

let folder = "";
let path = "";
const open: number[] = [];
const kept = (fd: number): number => {
  open.push(fd);
  return fd;
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calico-unix-"));
  path = join(folder, "socket");
});
afterEach(() => {
  for (const fd of open.splice(0)) closeFd(fd);
  rmSync(folder, { recursive: true, force: true });
});

function bytes(text: string): Uint8Array<ArrayBuffer> {
  const copy = allocate(Buffer.byteLength(text));
  copy.set(new TextEncoder().encode(text));
  return copy;
}

test("a descriptor arrives with its datagram, as another one of the same file, and with who sent it", () => {
  const socket = kept(openFdSocket(path));
  writeFileSync(join(folder, "file"), "x");
  const file = openFile(join(folder, "file"), OPEN.READ, "open");
  const { inode } = statFd(file, "look");
  sendFd(path, bytes("first"), file, 1000);
  sendFd(path, bytes("second"), undefined, 1000);
  closeFd(file);
  const first = receiveFd(socket)!;
  expect(new TextDecoder().decode(first.bytes)).toBe("first");
  expect(first.credentials).toEqual({ pid: process.pid, uid: process.getuid!(), gid: process.getgid!() });
  expect(first.fds).toHaveLength(1);
  expect(statFd(kept(first.fds[0]!), "look").inode).toBe(inode);
  const second = receiveFd(socket)!;
  expect({ ...second, bytes: new TextDecoder().decode(second.bytes) }).toMatchObject({ bytes: "second", fds: [] });
  expect(receiveFd(socket)).toBeUndefined();
});

test("a queue that is full is waited for no longer than was said", () => {
  kept(openFdSocket(path));
  expect(() => {
    for (let count = 0; count < 10_000; count++) sendFd(path, bytes("x"), undefined, 20);
  }).toThrow(/EAGAIN/);
});

test("what listens replaces what was there, and is its owner's alone", () => {
  writeFileSync(path, "");
  kept(listenUnix(path));
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(path).isSocket()).toBe(true);
  kept(openFdSocket(`${path}2`));
  expect(statSync(`${path}2`).mode & 0o777).toBe(0o600);
  removeSocket(path);
  removeSocket(path);
  expect(() => statSync(path)).toThrow(/ENOENT/);
});

test("where nobody listens, connecting says so", () => {
  expect(() => connectUnix(path, 100)).toThrow(/ENOENT/);
  closeFd(listenUnix(path));
  expect(() => connectUnix(path, 100)).toThrow(/ECONNREFUSED/);
  expect(() => connectUnix("x".repeat(108), 100)).toThrow(RangeError);
});

test("an answer that does not come is not waited for, and after the end the other cannot write", async () => {
  const listener = Bun.listen({
    fd: listenUnix(path),
    hostname: "",
    port: 0,
    socket: {
      data: (socket, data) => {
        said.push(data.toString());
        socket.write("answer");
        other.resolve(socket);
      },
    },
  } as Bun.TCPSocketListenOptions<undefined>);
  const said: string[] = [];
  const other = Promise.withResolvers<Bun.Socket<undefined>>();
  const fd = kept(connectUnix(path, 20));
  const buffer = allocate(100);
  expect(() => receiveStream(fd, buffer, "hear")).toThrow(/EAGAIN/);
  sendStream(fd, bytes("question"), "ask");
  const socket = await other.promise;
  expect(said).toEqual(["question"]);
  shutDown(fd);
  expect(socket.write("late")).toBeLessThan(0);
  expect(receiveStream(fd, buffer, "hear")).toBe(6);
  expect(receiveStream(fd, buffer, "hear", true)).toBe(0);
  listener.stop(true);
});
