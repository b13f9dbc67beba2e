/** For tests of this folder: a machine as a test says it is. */
import { parseAddress } from "../ip/index.ts";
import type { Fields, Logger } from "../telemetry/index.ts";
import type { HostFacts, HostInterface } from "./types.ts";

/** `eth0 10.0.0.1/24 fd00::1/64`, later ones with higher indexes; `wg0:wireguard …` has a kind, `!eth1 …` is down. */
export function machine(lines: readonly string[], over: Partial<HostFacts> = {}): HostFacts {
  const interfaces = lines.map((line, i): HostInterface => {
    const [label = "", ...addresses] = line.split(" ");
    const [name = "", kind] = label.replace("!", "").split(":");
    return {
      index: i + 1,
      name,
      up: !label.startsWith("!"),
      addresses: addresses.map((text) => {
        const [address = "", length] = text.split("/");
        return { address: parseAddress(address), length: Number(length), flags: 0 };
      }),
      ...(kind !== undefined && { kind }),
    };
  });
  return {
    interfaces: () => interfaces,
    sourceTowards: () => undefined,
    resolve: async () => {
      throw new Error("no such name");
    },
    ipv6: true,
    hostname: "machine",
    ...over,
  };
}

export interface KeptLog extends Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields?: Fields }[];
  /** Messages of one level. */
  of(level: "debug" | "info" | "warning" | "error"): string[];
}

export function keptLog(): KeptLog {
  const lines: KeptLog["lines"] = [];
  const keep = (level: string) => (message: string, fields?: Fields) =>
    void lines.push({ level, message, ...(fields && { fields }) });
  return {
    level: "debug",
    lines,
    of: (level) => lines.filter((line) => line.level === level).map(({ message }) => message),
    debug: keep("debug"),
    info: keep("info"),
    warning: keep("warning"),
    error: keep("error"),
  };
}
