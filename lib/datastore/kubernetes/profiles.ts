import type { Kind } from "../../api/kind.ts";
import type { Ref, Resource } from "../../api/meta.ts";
import { describeProblem } from "../../api/schema.ts";
import {
  type Conversion,
  namespaceToProfile,
  profileSource,
  serviceAccountToProfile,
} from "../../kubernetes/conversion/index.ts";
import { KubernetesError, type KubernetesObject, type ResourcePath } from "../../kubernetes/index.ts";
import { unreadable } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { describeRef } from "../keys.ts";
import { type Connection, isThere, type KindStore, type Source } from "./connection.ts";
import { whereOf } from "./mapping.ts";

const NAMESPACES: ResourcePath = { group: "", version: "v1", plural: "namespaces" };
const SERVICE_ACCOUNTS: ResourcePath = { group: "", version: "v1", plural: "serviceaccounts" };

/** Profiles are made of Namespaces (`kns.…`) and ServiceAccounts (`ksa.…`), and cannot be written. */
export class ProfileStore implements KindStore {
  readonly kind: Kind;
  readonly #on: Connection;

  constructor(on: Connection, kind: Kind) {
    this.kind = kind;
    this.#on = on;
  }

  /** In this order: a revision is theirs, joined by a slash. */
  sources(): readonly Source[] {
    return [
      { path: NAMESPACES, read: (object) => this.#profile(NAMESPACES, object, namespaceToProfile(object)) },
      {
        path: SERVICE_ACCOUNTS,
        read: (object) => this.#profile(SERVICE_ACCOUNTS, object, serviceAccountToProfile(object)),
      },
    ];
  }

  async get(ref: Ref): Promise<Resource | undefined> {
    const source = profileSource(ref.name);
    if (!source) return undefined;
    const [namespaces, accounts] = this.sources();
    const from = source.kind === "Namespace" ? namespaces! : accounts!;
    const namespace = source.kind === "Namespace" ? undefined : source.namespace;
    try {
      const path = { ...from.path, namespace, name: source.name };
      return from.read(await this.#on.kubernetes.get<KubernetesObject>(path, { parse: JSON.parse }));
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  has(ref: Ref): Promise<boolean> {
    return isThere(this.get(ref));
  }

  create(resource: Resource): Promise<Resource> {
    return this.#refuse("created", resource.metadata);
  }

  update(resource: Resource): Promise<Resource> {
    return this.#refuse("updated", resource.metadata);
  }

  delete(ref: Ref): Promise<Resource> {
    return this.#refuse("deleted", ref);
  }

  async #refuse(what: string, ref: Ref): Promise<never> {
    throw new DatastoreError(
      "UNSUPPORTED",
      `${describeRef(this.kind, ref)} cannot be ${what} in ${this.#on.name}: ` +
        "Profiles are made of Namespaces and ServiceAccounts there, so change those, or write a policy",
    );
  }

  #profile(path: ResourcePath, object: KubernetesObject, { value, problems }: Conversion<Resource>): Resource {
    if (value) return value;
    const problem = problems[0];
    const text = problem ? describeProblem(problem) : "is no profile";
    throw unreadable(whereOf(path, object, this.#on.name), text);
  }
}
