/** Objects of any kind, written as an administrator would with `kubectl apply --server-side`. */
import { RequestFailed } from "./types.ts";

type Send = <T>(method: string, path: string, body?: object, contentType?: string) => Promise<T>;

interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface ApiResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

interface Crd extends KubernetesObject {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly served: boolean }[];
  };
}

const STRICT = "fieldManager=test&force=true&fieldValidation=Strict";
const SETTLE = 30_000;

export class ObjectWriter {
  readonly #send: Send;
  /** apiVersion → its resources. */
  readonly #discovered = new Map<string, readonly ApiResource[]>();

  constructor(send: Send) {
    this.#send = send;
  }

  /** In their order, but all CRDs of a stretch at once; each is served when this resolves. */
  async apply(objects: readonly object[]): Promise<void> {
    const all = objects as readonly KubernetesObject[];
    const crds = all.filter((object): object is Crd => object.kind === "CustomResourceDefinition");
    await Promise.all(crds.map((crd) => this.#applyOne(crd)));
    await Promise.all(crds.map((crd) => this.#served(crd)));
    for (const object of all) if (object.kind !== "CustomResourceDefinition") await this.#applyOne(object);
  }

  /** Admission policies act some time after they are written, when the server's own watch has seen them. */
  async applyPolicies(policies: readonly object[]): Promise<void> {
    await this.apply(policies);
    const mutates = policies.some((policy) => (policy as KubernetesObject).kind === "MutatingAdmissionPolicyBinding");
    if (!mutates) return;
    const path = "/apis/projectcalico.org/v3/globalnetworkpolicies?dryRun=All";
    const probe = {
      apiVersion: "projectcalico.org/v3",
      kind: "GlobalNetworkPolicy",
      metadata: { name: "probe-of-the-admission-policies" },
      spec: { egress: [{ action: "Allow" }] },
    };
    await until("the admission policies do not act", async () => {
      try {
        const made = await this.#send<{ spec?: { types?: unknown } }>("POST", path, probe);
        return made.spec?.types !== undefined;
      } catch (error) {
        // Until the server has found the kind that a policy is for, it refuses to serve it.
        if (error instanceof RequestFailed && error.status === 503) return false;
        throw error;
      }
    });
  }

  async #applyOne(object: KubernetesObject): Promise<void> {
    const path = await this.#path(object);
    await this.#send("PATCH", `${path}?${STRICT}`, object, "application/apply-patch+yaml");
  }

  async #path({ apiVersion, kind, metadata }: KubernetesObject): Promise<string> {
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const find = () => this.#discovered.get(apiVersion)?.find((one) => one.kind === kind && !one.name.includes("/"));
    if (!find()) {
      const list = await this.#send<{ resources: ApiResource[] }>("GET", root);
      this.#discovered.set(apiVersion, list.resources);
    }
    const resource = find();
    if (!resource) throw new Error(`${apiVersion} ${kind}: the API server has no such kind`);
    const namespace = resource.namespaced ? `/namespaces/${metadata.namespace ?? "default"}` : "";
    return `${root}${namespace}/${resource.name}/${metadata.name}`;
  }

  async #served({ metadata, spec }: Crd): Promise<void> {
    const version = spec.versions.find(({ served }) => served);
    await until(`${metadata.name} is not served`, async () => {
      try {
        await this.#send("GET", `/apis/${spec.group}/${version?.name}/${spec.names.plural}?limit=1`);
        return true;
      } catch (error) {
        if (error instanceof RequestFailed && error.status < 500 && error.status !== 429 && error.status !== 404)
          throw error;
        return false;
      }
    });
    for (const { name } of spec.versions) this.#discovered.delete(`${spec.group}/${name}`);
  }
}

async function until(complaint: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + SETTLE;
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`${complaint} after ${SETTLE / 1000} s`);
    await Bun.sleep(20);
  }
}
