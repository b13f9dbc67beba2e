import { connect as connectTcp } from "node:net";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import { Listeners } from "./listeners.ts";

const LOOPBACK = parseAddress("127.0.0.1");
const HERE = { port: 0, onlyNodeAddresses: true };

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 5_000; !condition(); ) {
    if (performance.now() > deadline) throw new Error(`not so after 5 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("listeners", () => {
  test("a peer whose password the kernel does not take is told of, and keeps nobody else out", async () => {
    const listeners = new Listeners(silentLogger);
    const standing = listeners.for(4);
    let accepted = 0;
    // TCP_MD5SIG_MAXKEYLEN is 80.
    const bad = standing.register({ address: parseAddress("127.0.0.9"), password: "x".repeat(100), accept: () => {} });
    standing.register({
      address: LOOPBACK,
      accept: (connection) => {
        accepted++;
        connection.close();
      },
    });
    try {
      expect(listeners.move(HERE, ["127.0.0.1"])).toEqual([expect.stringMatching(/^127\.0\.0\.9 cannot connect/)]);
      const connect = () => {
        const socket = connectTcp(standing.port, "127.0.0.1");
        socket.on("close", () => socket.destroy()).on("error", () => {});
      };
      connect();
      await until(() => accepted === 1);
      expect(listeners.move(HERE, ["127.0.0.1"])).toHaveLength(1);
      bad.close();
      expect(listeners.move(HERE, ["127.0.0.1"])).toEqual([]);
      connect();
      await until(() => accepted === 2);
      // Moved away and back: whoever was registered still is.
      expect(listeners.move(HERE, [])).toEqual([]);
      expect(standing.port).toBe(0);
      expect(listeners.move(HERE, ["127.0.0.1"])).toEqual([]);
      connect();
      await until(() => accepted === 3);
    } finally {
      listeners.close();
    }
  });
});
