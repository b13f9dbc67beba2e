/** What the rules of the allocator are tested with; the same suite runs on every datastore. */
import { expect } from "vitest";
import { API_VERSION } from "../api/meta.ts";
import { Profile } from "../api/profile.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { IpamError, type IpamErrorCode } from "./errors.ts";
import { type Clock, type Cluster, cluster } from "./testing.ts";
import type { AutoAssignRequest, Ipam, IpamOptions } from "./types.ts";

/** A profile as a stand-in for whatever a caller writes with an assignment. */
export function extraObject(name: string): Profile {
  return { apiVersion: API_VERSION, kind: "Profile", metadata: { name }, spec: {} };
}

/** The operation that makes {@link extraObject}. */
export const createExtra = (name: string): Operation => ({
  op: "create",
  kind: Profile as unknown as Extract<Operation, { op: "create" }>["kind"],
  resource: extraObject(name),
});

/** The operation that deletes it. */
export const deleteExtra = (name: string): Operation => ({ op: "delete", kind: createExtra(name).kind, ref: { name } });

/** One test's datastore, and the phrases in which tests speak of it. */
export class Fixture {
  #cluster: Cluster | undefined;

  open(client: Client, make?: (client: Client, options: IpamOptions) => Ipam): void {
    this.#cluster = cluster(client, make);
  }
  get client(): Client {
    return this.#cluster!.client;
  }
  get ipam(): Ipam {
    return this.#cluster!.ipam;
  }
  get clock(): Clock {
    return this.#cluster!.clock;
  }

  async assign(host: string, handle: string, more: Partial<AutoAssignRequest> = {}): Promise<string[]> {
    const { v4, v6 } = await this.ipam.autoAssign({ num4: 1, host, handle, use: "Workload", ...more });
    return [...v4, ...v6].map(({ address }) => address);
  }

  async failure(promise: Promise<unknown>): Promise<IpamError> {
    const error = await promise.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(IpamError);
    return error as IpamError;
  }

  async refused(promise: Promise<unknown>, code: IpamErrorCode, text: RegExp): Promise<void> {
    const error = await this.failure(promise);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(text);
  }
}
