import type { SrvRecord } from "node:dns";
import { resolveSrv } from "node:dns/promises";
import { DatastoreError } from "../errors.ts";

/** The endpoints that a domain's SRV records name: `_etcd-client-ssl._tcp` speak TLS, `_etcd-client._tcp` do not. */
export async function discoverEndpoints(
  domain: string,
  resolve: (name: string) => Promise<SrvRecord[]> = resolveSrv,
): Promise<string[]> {
  const services = [
    ["_etcd-client-ssl._tcp", "https"],
    ["_etcd-client._tcp", "http"],
  ] as const;
  let failure: unknown;
  const found = await Promise.all(
    services.map(async ([service, scheme]) => {
      try {
        const records = await resolve(`${service}.${domain}`);
        records.sort((a, b) => a.priority - b.priority || b.weight - a.weight);
        return records.map(({ name, port }) => `${scheme}://${name.replace(/\.$/, "")}:${port}`);
      } catch (error) {
        failure = error;
        return [];
      }
    }),
  );
  const endpoints = found.flat();
  if (endpoints.length > 0) return endpoints;
  const why = failure instanceof Error ? ` (${failure.message})` : "";
  throw new DatastoreError(
    "UNAVAILABLE",
    `etcd: ${domain} has no SRV records _etcd-client-ssl._tcp or _etcd-client._tcp${why}`,
    { cause: failure },
  );
}
