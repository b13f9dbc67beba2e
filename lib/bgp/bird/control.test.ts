import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Control, connectControl, ReplyParser } from "./control.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("replies", () => {
  const said =
    "0001 BIRD 2.0.12 ready.\n1002-A  BGP\n1006-  BGP state: Up\n     Hold: 3\n\n+asynchronous\n0013 done\n9001 syntax error\n";

  it("are read whole in whatever pieces they come", () => {
    const whole = new ReplyParser().push(bytes(said));
    expect(whole).toEqual([
      { code: 1, text: "BIRD 2.0.12 ready.", lines: [{ code: 1, text: "BIRD 2.0.12 ready." }] },
      {
        code: 13,
        text: "done",
        lines: [
          { code: 1002, text: "A  BGP" },
          { code: 1006, text: "  BGP state: Up" },
          { code: 1006, text: "    Hold: 3" },
          { code: 1006, text: "" },
          { code: 13, text: "done" },
        ],
      },
      { code: 9001, text: "syntax error", lines: [{ code: 9001, text: "syntax error" }] },
    ]);
    fc.assert(
      fc.property(fc.array(fc.nat({ max: said.length }), { maxLength: 8 }), (cuts) => {
        const parser = new ReplyParser();
        const at = [0, ...cuts.toSorted((a, b) => a - b), said.length];
        const pieces = at.slice(1).map((end, index) => bytes(said.slice(at[index], end)));
        expect(pieces.flatMap((piece) => parser.push(piece))).toEqual(whole);
      }),
    );
  });

  it("come out of anything, or nothing does, but nothing is thrown", () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.constantFrom("0013 ", "1002-", "\n", " x\n", "+\n", "00", "-").map(bytes),
    );
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 30 }), (chunks) => {
        const parser = new ReplyParser();
        for (const chunk of chunks) {
          for (const reply of parser.push(chunk)) expect(reply.lines.at(-1)?.text).toBe(reply.text);
        }
        const after = parser.push(bytes("\n0000 still here\n"));
        expect(after.at(-1)).toMatchObject({ code: 0, text: "still here" });
      }),
    );
  });

  it("have a limit", () => {
    const parser = new ReplyParser(100);
    expect(() => parser.push(bytes("1002-".padEnd(101, "x")))).toThrow("more than 100 bytes");
  });
});

describe("a connection", () => {
  let folder: string;
  let server: Server;
  let answer: (socket: Socket, command: string) => void;
  const sockets: Socket[] = [];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "calico-bird-control-"));
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.write("0001 BIRD 2.0.12 ready.\n");
      socket.on("data", (chunk) => answer(socket, chunk.toString().trim()));
    });
    await new Promise<void>((listening) => server.listen(join(folder, "ctl"), listening));
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const connect = (timeoutMs = 5000): Promise<Control> => connectControl(join(folder, "ctl"), { timeoutMs });

  it("gives each command its own answer, in order", async () => {
    answer = (socket, command) => socket.write(`1000-for ${command}\n0000 \n`);
    await using control = await connect();
    expect(control.welcome).toBe("BIRD 2.0.12 ready.");
    const replies = await Promise.all(["a", "b", "c"].map((command) => control.ask(command)));
    expect(replies.map(({ lines }) => lines[0]?.text)).toEqual(["for a", "for b", "for c"]);
  });

  it("gives up when no answer comes, and stays given up", async () => {
    answer = () => {};
    await using control = await connect(50);
    await expect(control.ask("show status")).rejects.toThrow("BIRD_CONTROL: control socket");
    await expect(control.ask("show status")).rejects.toThrow('no answer to "show status" within 50 ms');
    await control.closed;
  });

  it("tells that the other end is gone, also in the middle of a reply", async () => {
    answer = (socket) => socket.end("1002-A\n");
    await using control = await connect();
    await expect(control.ask("show protocols")).rejects.toThrow("the connection was closed");
    await control.closed;
  });

  it("is not for others than BIRD, nor for commands of two lines", async () => {
    answer = (socket) => socket.write("0000 \n");
    await using control = await connect();
    expect(() => control.ask("show status\ndown")).toThrow(RangeError);
    await expect(connectControl(join(folder, "none"), { timeoutMs: 1000 })).rejects.toMatchObject({
      code: "BIRD_CONTROL",
    });
  });
});
