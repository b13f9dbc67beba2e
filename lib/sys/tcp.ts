/**
 * TCP sockets that have to be told something before they connect or listen: source address, TCP-MD5, TTL security, scope of a
 * link-local address. They are made and set by system calls (tcp-socket.ts), and then given to Bun's event loop (tcp-stream.ts), which reads and
 * writes. A door of its own beside index.ts: the plugins have no use for it.
 *
 * Addresses are their 4 or 16 bytes in network order.
 */
export {
  beginConnect,
  bindTcp,
  bindToDevice,
  type Endpoint,
  interfaceIndex,
  listenTcp,
  localEnd,
  MD5_KEY_MOST,
  openTcpSocket,
  parseTcpDrops,
  remoteEnd,
  setMd5Key,
  setTrafficClass,
  setTtl,
  type TcpDrops,
  takeSocketError,
  tcpDrops,
} from "./tcp-socket.ts";
export { adoptListener, connectStream, type StreamEvents, type TcpListener, TcpStream } from "./tcp-stream.ts";
