/** Connections over the kernel's TCP. */
import { addressBytes, addressFromBytes, formatAddress } from "../../ip/index.ts";
import { closeFd, inNamespace, type Namespace, SysError } from "../../sys/index.ts";
import {
  beginConnect,
  bindTcp,
  connectStream,
  type Endpoint,
  interfaceIndex,
  localEnd,
  openTcpSocket,
  remoteEnd,
  setMd5Key,
  setTrafficClass,
  setTtl,
  type TcpStream,
  tcpDrops,
} from "../../sys/tcp.ts";
import type { Connection, Drops, Target, Transport } from "./environment.ts";

/** RFC 4271 appendix E: precedence of network control, which is DSCP CS6 now. */
const NETWORK_CONTROL = 0xc0;
/** RFC 5082 3: what a packet leaves with that is to show how far it came. */
const FULL_TTL = 255;

/** `namespace`: where sockets are made; absent is where the thread is. */
export function openTransport(namespace?: Namespace): Transport {
  const inside = <T>(action: () => T extends PromiseLike<unknown> ? never : T): T =>
    namespace ? inNamespace(namespace, action) : action();
  return {
    connect(target, connected, failed) {
      let pending: { cancel(): void } | undefined;
      let cancelled = false;
      const fail = (call: string, errno: string) => {
        if (!cancelled) failed({ call, errno });
      };
      try {
        const fd = inside(() => begin(target));
        pending = connectStream(
          fd,
          (stream) => {
            const connection = connectionOf(stream);
            if (cancelled) stream.close();
            else if (connection) connected(connection);
            else {
              stream.close();
              fail("getsockname", "ENOTCONN");
            }
          },
          (errno) => fail("connect", errno),
        );
      } catch (error) {
        const { call, code } = error instanceof SysError ? error : { call: "connect", code: String(error) };
        queueMicrotask(() => fail(call, code));
      }
      return {
        cancel() {
          cancelled = true;
          pending?.cancel();
        },
      };
    },
    drops: (): Drops | undefined => inside(() => tcpDrops()),
  };
}

function begin(target: Target): number {
  const { address, port, sourceAddress, password, ttlSecurity } = target;
  const purpose = `connect to ${formatAddress(address)} port ${port}`;
  const fd = openTcpSocket(address.version);
  try {
    const scope = target.interface === undefined ? undefined : interfaceIndex(fd, target.interface);
    if (target.interface !== undefined && scope === undefined) throw new SysError("ioctl", 19, purpose);
    const end = (bytes: Uint8Array, at: number): Endpoint => ({
      bytes,
      port: at,
      ...(scope !== undefined && { scope }),
    });
    const bytes = addressBytes(address);
    setTrafficClass(fd, address.version, NETWORK_CONTROL);
    if (password !== undefined) setMd5Key(fd, bytes, new TextEncoder().encode(password), purpose);
    if (ttlSecurity !== undefined) secureTtl(fd, address.version, ttlSecurity);
    if (sourceAddress) bindTcp(fd, end(addressBytes(sourceAddress), 0), purpose);
    beginConnect(fd, end(bytes, port), purpose);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** GTSM: what is sent can be checked by the other, and what came farther than so many hops is dropped by the kernel. */
export function secureTtl(fd: number, version: 4 | 6, hops: number): void {
  setTtl(fd, version, { ttl: FULL_TTL, least: Math.max(1, FULL_TTL + 1 - hops) });
}

/** Undefined: it is gone already. */
export function connectionOf(stream: TcpStream): Connection | undefined {
  const local = localEnd(stream.fd);
  const remote = remoteEnd(stream.fd);
  if (!local || !remote) return undefined;
  return {
    local: addressFromBytes(local.bytes),
    remote: addressFromBytes(remote.bytes),
    write: (bytes) => stream.write(bytes),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    readable: () => stream.readable(),
    finish: () => stream.finish(),
    close: () => stream.close(),
    listen: (events) => stream.listen(events),
  };
}
