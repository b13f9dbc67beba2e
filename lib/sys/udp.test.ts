import { expect, test } from "vitest";
import { closeFd, SysError } from "./index.ts";
import { describeAsRoot, makeNamespace } from "./testing.ts";
import { adoptUdp, drainUdp, openUdpSocket, sendUdp, type UdpOptions, udpAddress } from "./udp.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (content: string): Uint8Array<ArrayBuffer> => {
  const encoded = new TextEncoder().encode(content);
  const copy = new Uint8Array(new ArrayBuffer(encoded.length));
  copy.set(encoded);
  return copy;
};

const FAMILIES: [string, Uint8Array][] = [
  ["IPv4", new Uint8Array([127, 0, 0, 1])],
  ["IPv6", new Uint8Array([...new Uint8Array(15), 1])],
];

describeAsRoot("UDP sockets", () => {
  /** `adopted`: somebody else closes it. */
  type Open = (options: Partial<UdpOptions> & { port: number; adopted?: boolean }) => number;
  const inside = (address: Uint8Array, body: (open: Open) => unknown) => {
    const namespace = makeNamespace();
    namespace.exec("ip", "link", "set", "lo", "up");
    const fds: number[] = [];
    const open: Open = ({ adopted, ...options }) => {
      const fd = openUdpSocket({ address, namespace: namespace.namespace, ...options });
      if (!adopted) fds.push(fd);
      return fd;
    };
    return (async () => {
      try {
        await body(open);
      } finally {
        for (const fd of fds) closeFd(fd);
        namespace.dispose();
      }
    })();
  };

  test.each(FAMILIES)("%s: only what has the required hop limit arrives", (_name, address) =>
    inside(address, (open) => {
      const receiver = open({ port: 3784, requireHops: 255 });
      const to = udpAddress(address, 3784);
      sendUdp(open({ port: 50001, hops: 254 }), bytes("from afar"), to);
      sendUdp(open({ port: 50002, hops: 255 }), bytes("from next door"), to);
      const got: [string, number[]][] = [];
      drainUdp(receiver, (datagram, from) => got.push([text(datagram), [...from()]]));
      expect(got).toEqual([["from next door", [...address]]]);
    }),
  );

  test.each(FAMILIES)("%s: what the event loop has not read can be drained, and is not read twice", (_name, address) =>
    inside(address, async (open) => {
      const receiver = open({ port: 3784, adopted: true });
      const got: string[] = [];
      const adopted = await adoptUdp(receiver, (datagram, from) => got.push(`${text(datagram)} from ${from}`));
      const sender = open({ port: 50001 });
      sendUdp(sender, bytes("one"), udpAddress(address, 3784));
      drainUdp(receiver, (datagram) => got.push(`drained ${text(datagram)}`));
      sendUdp(sender, bytes("two"), udpAddress(address, 3784));
      for (const deadline = performance.now() + 5000; got.length < 2 && performance.now() < deadline; ) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      expect(got).toEqual(["drained one", `two from ${address.length === 4 ? "127.0.0.1" : "::1"}`]);
      adopted.close();
    }),
  );

  test("an address that is not there can be bound, and not sent from", () =>
    inside(new Uint8Array([10, 9, 8, 7]), (open) => {
      const fd = open({ port: 50001 });
      const send = () => sendUdp(fd, bytes("x"), udpAddress(new Uint8Array([127, 0, 0, 1]), 9));
      expect(send).toThrow(SysError);
    }));

  test("a port that is taken and a device that is not there are named", () =>
    inside(new Uint8Array([127, 0, 0, 1]), (open) => {
      open({ port: 3784 });
      expect(() => open({ port: 3784 })).toThrow(/port 3784: bind: EADDRINUSE/);
      expect(() => open({ port: 3785, device: "nosuch0" })).toThrow(/interface nosuch0: setsockopt: ENODEV/);
    }));
});
