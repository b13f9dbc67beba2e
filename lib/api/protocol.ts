const NUMBERS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 };

/** The IP protocol number of a protocol in a rule or port: its name in any case, or the number also as text. */
export function protocolNumber(protocol: number | string): number | undefined {
  if (typeof protocol === "number") return protocol;
  if (/^\d{1,3}$/.test(protocol)) return Number(protocol);
  const name = protocol.toLowerCase();
  return Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : undefined;
}

/** Whether rules may name ports of the protocol: TCP, UDP and SCTP. */
export function hasPorts(protocol: number | string): boolean {
  const number = protocolNumber(protocol);
  return number === 6 || number === 17 || number === 132;
}
