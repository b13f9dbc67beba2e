/**
 * One listening socket for all peers of a family. Who connects is known by the address alone, and handed to the session that has registered it.
 * Whoever else connects is closed without a word: a Cease would tell a scanner that this is BGP, and there is no session that could explain it.
 */
import { type Address, addressBytes, addressFromBytes, formatAddress } from "../../ip/index.ts";
import { closeFd, inNamespace, type Namespace } from "../../sys/index.ts";
import {
  adoptListener,
  interfaceIndex,
  listenTcp,
  localEnd,
  openTcpSocket,
  remoteEnd,
  setMd5Key,
  setTrafficClass,
  setTtl,
  type TcpStream,
} from "../../sys/tcp.ts";
import type { Listener, ListenerPeer } from "./environment.ts";
import { connectionOf, secureTtl } from "./transport.ts";

export interface ListenerOptions {
  readonly family: 4 | 6;
  /** Absent: on every address of the family. */
  readonly address?: Address;
  /** 0: any that is free. */
  readonly port: number;
  readonly namespace?: Namespace;
  /** Somebody who is no peer connected, and was turned away without an answer. For logs. */
  readonly onStranger?: (address: Address) => void;
}

const BACKLOG = 128;
const NETWORK_CONTROL = 0xc0;
const KERNEL_DEFAULT = { ttl: -1, least: 0 };

/** Throws a SysError: the port is taken (EADDRINUSE), the address is not of this machine (EADDRNOTAVAIL). */
export function openListener(options: ListenerOptions): Listener {
  const { family, namespace } = options;
  const bytes = options.address ? addressBytes(options.address) : new Uint8Array(family === 4 ? 4 : 16);
  const purpose = `listen on ${formatAddress(addressFromBytes(bytes))} port ${options.port}`;
  const make = (): number => {
    const made = openTcpSocket(family);
    try {
      setTrafficClass(made, family, NETWORK_CONTROL);
      // A peer with TTL security looks at our SYN-ACK already, which this socket sends.
      setTtl(made, family, { ttl: 255, least: 0 });
      listenTcp(made, { bytes, port: options.port }, BACKLOG, purpose);
      return made;
    } catch (error) {
      closeFd(made);
      throw error;
    }
  };
  const fd = namespace ? inNamespace(namespace, make) : make();
  const port = localEnd(fd)?.port ?? options.port;
  /** By address; several only of link-local addresses, on interfaces of their own. */
  const peers = new Map<string, ListenerPeer[]>();

  const find = (address: Address, scope: number | undefined, at: number): ListenerPeer | undefined =>
    peers
      .get(formatAddress(address))
      // Asked when it counts: an interface that was made anew has another index.
      ?.find((peer) => peer.interface === undefined || interfaceIndex(at, peer.interface) === scope);

  const accepted = (stream: TcpStream): void => {
    const end = remoteEnd(stream.fd);
    const connection = connectionOf(stream);
    if (!end || !connection) {
      stream.close();
      return;
    }
    const peer = find(connection.remote, end.scope, stream.fd);
    if (!peer) {
      stream.close();
      options.onStranger?.(connection.remote);
      return;
    }
    try {
      if (peer.ttlSecurity === undefined) setTtl(stream.fd, family, KERNEL_DEFAULT);
      else secureTtl(stream.fd, family, peer.ttlSecurity);
    } catch {
      stream.close();
      return;
    }
    peer.accept(connection);
  };
  const listener = adoptListener(fd, accepted);

  /** The first of an address that has a password: the kernel has one key an address, whatever the interface. */
  const setKey = (address: Address): void => {
    if (listener.fd < 0) return;
    const password = peers.get(formatAddress(address))?.find((peer) => peer.password !== undefined)?.password;
    const key = password === undefined ? undefined : new TextEncoder().encode(password);
    setMd5Key(listener.fd, addressBytes(address), key, `set the TCP-MD5 key of ${formatAddress(address)}`);
  };

  return {
    port,
    register(peer) {
      const name = formatAddress(peer.address);
      const remove = () => {
        const rest = peers.get(name)?.filter((one) => one !== peer) ?? [];
        if (rest.length > 0) peers.set(name, rest);
        else peers.delete(name);
      };
      peers.set(name, [...(peers.get(name) ?? []), peer]);
      try {
        if (peer.password !== undefined) setKey(peer.address);
      } catch (error) {
        remove();
        throw error;
      }
      let closed = false;
      return {
        close() {
          if (closed) return;
          closed = true;
          remove();
          try {
            if (peer.password !== undefined) setKey(peer.address);
          } catch {
            // The key stays until the socket goes; nobody is registered who could be reached with it.
          }
        },
      };
    },
    close() {
      peers.clear();
      listener.close();
    },
  };
}
