/** BFD over UDP: RFC 5881 4 and 5 (single hop), RFC 5883 5 (multihop). */
import { type Address, addressBytes, addressFromBytes, parseAddress } from "../../ip/index.ts";
import { closeFd, type Namespace, SysError } from "../../sys/index.ts";
import { adoptUdp, drainUdp, openUdpSocket, sendUdp, type UdpOptions, udpAddress } from "../../sys/udp.ts";
import type { Arrival, Place, Receiver, Sender, Transport } from "./transport.ts";

const SINGLE_HOP_PORT = 3784;
const MULTIHOP_PORT = 4784;
const SOURCE_PORTS = { first: 49152, count: 16384 } as const;
/** RFC 5881 5: sent, and on a single hop required. */
const HOPS = 255;
/** CS6, network control: what keeps a link up goes before what it carries. */
const TRAFFIC_CLASS = 0xc0;
const PORT_ATTEMPTS = 100;

const portOf = (place: Place): number => (place.multihop ? MULTIHOP_PORT : SINGLE_HOP_PORT);

export function kernelTransport(random: () => number, namespace?: Namespace): Transport {
  return {
    listen: (place, arrival) => listen(place, arrival, namespace),
    sender: (place, remote, device) => openSender(place, remote, device, random, namespace),
  };
}

function listen(place: Place, arrival: Arrival, namespace: Namespace | undefined): Receiver {
  const fd = openUdpSocket({
    address: addressBytes(place.local),
    port: portOf(place),
    ...(place.device !== undefined && { device: place.device }),
    ...(!place.multihop && { requireHops: HOPS }),
    ...(namespace && { namespace }),
  });
  let closed = false;
  let close = (): void => {};
  void adoptUdp(fd, (bytes, from) => {
    if (!closed) arrival(bytes, () => parseAddress(from));
  }).then(
    (adopted) => {
      if (closed) adopted.close();
      else close = () => adopted.close();
    },
    () => {
      if (!closed) close = () => closeFd(fd);
      else closeFd(fd);
    },
  );
  return {
    drain: () => {
      if (!closed) drainUdp(fd, (bytes, from) => arrival(bytes, () => addressFromBytes(from())));
    },
    close: () => {
      closed = true;
      close();
    },
  };
}

function openSender(
  place: Place,
  remote: Address,
  device: string | undefined,
  random: () => number,
  namespace: Namespace | undefined,
): Sender {
  const to = udpAddress(addressBytes(remote), portOf(place));
  const options: Omit<UdpOptions, "port"> = {
    address: addressBytes(place.local),
    hops: HOPS,
    trafficClass: TRAFFIC_CLASS,
    sendOnly: true,
    ...(device !== undefined && { device }),
    ...(namespace && { namespace }),
  };
  const fd = bindSomewhere(options, random);
  return { send: (bytes) => sendUdp(fd, bytes, to), close: () => closeFd(fd) };
}

/** The kernel knows which ports are taken, also by others than us. */
function bindSomewhere(options: Omit<UdpOptions, "port">, random: () => number): number {
  for (let attempt = 1; ; attempt++) {
    const port = SOURCE_PORTS.first + Math.floor(random() * SOURCE_PORTS.count);
    try {
      return openUdpSocket({ ...options, port });
    } catch (error) {
      if (attempt === PORT_ATTEMPTS || !(error instanceof SysError && error.code === "EADDRINUSE")) throw error;
    }
  }
}
