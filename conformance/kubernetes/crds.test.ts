/** Our CustomResourceDefinitions on a real API server: accepted as they are, and what kubectl makes of them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { admissionPolicies, crdsOf } from "../../lib/api/crd/index.ts";
import { type ApiServer, kubectl, RequestFailed, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { pool } from "../cni/cluster.ts";
import { type Outcome, run } from "../lab/index.ts";
import { GROUP_VERSION, runProgram, type StoredObject } from "./cluster.ts";
import { describeModes } from "./suite.ts";

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

describeModes("definitions", (mode) => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await startApiServer({ crds: mode });
  });
  afterAll(() => server?.stop());

  const kind = (name: string) => crdsOf(mode).find(({ spec }) => spec.names.kind === name)!;
  const resource = (object: object): object => ({ ...object, apiVersion: GROUP_VERSION[mode] });
  const create = (plural: string, object: object, query = "fieldValidation=Strict") =>
    server.request<StoredObject>("POST", `/apis/${GROUP_VERSION[mode]}/${plural}?${query}`, resource(object));

  async function refusal(work: Promise<unknown>): Promise<string> {
    const failed = await work.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failed).toBeInstanceOf(RequestFailed);
    return (failed as RequestFailed).message;
  }

  test("each is established, with a structural schema and names that nobody else has", async () => {
    for (const { metadata } of crdsOf(mode)) {
      const crd = await server.request<{ status: { conditions: Condition[] } }>(
        ...["GET", `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${metadata.name}`],
      );
      const conditions = Object.fromEntries(crd.status.conditions.map(({ type, status }) => [type, status]));
      expect(conditions, metadata.name).toMatchObject({ Established: "True", NamesAccepted: "True" });
      expect(conditions.NonStructuralSchema ?? "False", metadata.name).toBe("False");
    }
  });

  test("each has a list, and applying it again changes nothing", async () => {
    const name = kind("IPPool").metadata.name;
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`;
    type Versioned = { metadata: { resourceVersion: string; generation: number } };
    const before = await server.request<Versioned>("GET", path);
    await server.installCrds(mode);
    expect((await server.request<Versioned>("GET", path)).metadata.generation).toBe(before.metadata.generation);
    for (const { spec } of crdsOf(mode))
      await server.request("GET", `/apis/${GROUP_VERSION[mode]}/${spec.names.plural}`);
  });

  test("a field that is in no schema is refused under strict validation", async () => {
    const wrong = pool("typo", "10.0.0.0/16", { blokSize: 26 });
    expect(await refusal(create("ippools", wrong))).toContain("blokSize");
  });

  test("a value of the wrong type is refused, naming the field", async () => {
    expect(await refusal(create("ippools", pool("typed", "10.0.0.0/16", { blockSize: "26" })))).toContain("blockSize");
  });

  test("sequence numbers beyond 2^53 are kept to the last digit", async () => {
    const block = {
      kind: "IPAMBlock",
      metadata: { name: "10-9-0-0-26" },
      spec: {
        cidr: "10.9.0.0/26",
        allocations: [],
        attributes: [],
        deleted: false,
        strictAffinity: false,
        unallocated: [],
      },
    };
    const body = JSON.stringify({ ...block, apiVersion: GROUP_VERSION[mode] }).replace(
      '"cidr"',
      '"sequenceNumber":1234567890123456789,"cidr"',
    );
    const authorization = `Bearer ${server.token("admin-token")}`;
    const call = async (method: string, path: string, content?: string) => {
      const answer = await fetch(`${server.url}/apis/${GROUP_VERSION[mode]}/${path}`, {
        ...{ method, tls: { ca: server.ca }, headers: { authorization, "content-type": "application/json" } },
        ...(content === undefined ? {} : { body: content }),
      });
      return await answer.text();
    };
    expect(await call("POST", "ipamblocks", body)).toContain("1234567890123456789");
    expect(await call("GET", "ipamblocks/10-9-0-0-26")).toContain("1234567890123456789");
  });

  if (mode === "v3") {
    describe("admission policies", () => {
      const policy = (name: string, spec: object) => ({ kind: "GlobalNetworkPolicy", metadata: { name }, spec });

      test.each([
        ["no rules", {}, ["Ingress"]],
        ["ingress rules", { ingress: [{ action: "Allow" }] }, ["Ingress"]],
        ["egress rules", { egress: [{ action: "Allow" }] }, ["Egress"]],
        ["both", { ingress: [{ action: "Allow" }], egress: [{ action: "Deny" }] }, ["Ingress", "Egress"]],
      ])("types are filled in for a policy with %s", async (name, spec, types) => {
        const made = await create("globalnetworkpolicies", policy(`types-${name.replaceAll(" ", "-")}`, spec));
        expect(made.spec.types).toEqual(types);
      });

      test("the tier is written as a label", async () => {
        const made = await create("globalnetworkpolicies", policy("labelled", {}));
        expect(made.metadata).toMatchObject({ labels: { "projectcalico.org/tier": "default" } });
      });

      test("a built-in tier cannot be deleted, another one can", async () => {
        for (const [name, spec] of [
          ["default", { order: 1_000_000, defaultAction: "Deny" }],
          ["mine", { order: 7 }],
        ] as const)
          await create("tiers", { kind: "Tier", metadata: { name }, spec });
        const remove = (name: string) => server.request("DELETE", `/apis/projectcalico.org/v3/tiers/${name}`);
        expect(await refusal(remove("default"))).toContain("default");
        await remove("mine");
      });

      test("they are those of upstream, by name, so that they replace them", () => {
        expect(
          admissionPolicies()
            .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
            .sort(),
        ).toEqual([
          "MutatingAdmissionPolicy policytypes.policy.projectcalico.org",
          "MutatingAdmissionPolicy tierlabel.policy.projectcalico.org",
          "MutatingAdmissionPolicyBinding set-policytypes-binding",
          "MutatingAdmissionPolicyBinding set-tier-label-binding",
          "ValidatingAdmissionPolicy protect-builtin-tiers.projectcalico.org",
          "ValidatingAdmissionPolicyBinding protect-builtin-tiers.projectcalico.org",
        ]);
      });
    });
  }

  const program = kubectl();
  describe.skipIf(program === undefined)(
    program ? "kubectl" : "kubectl (skipped: scripts/setup-kubernetes builds it)",
    () => {
      const call = (args: string[], stdin?: object): Promise<Outcome> =>
        run([program!, "--kubeconfig", server.kubeconfig("admin-token"), ...args], {
          env: { HOME: server.folder },
          ...(stdin ? { stdin: JSON.stringify(stdin) } : {}),
        });
      async function says(args: string[], stdin?: object): Promise<string> {
        const outcome = await call(args, stdin);
        expect(outcome.status, outcome.stderr).toBe(0);
        return outcome.stdout;
      }
      const plural = (name: string) => `${kind(name).spec.names.plural}.${kind(name).spec.group}`;

      test("applies a pool with strict validation, gets it in a table, and deletes it", async () => {
        const one = resource(pool("seen", "10.5.0.0/16", mode === "v3" ? {} : { blockSize: 26 }));
        expect(await says(["apply", "--validate=strict", "-f", "-"], one)).toContain("created");
        expect(await says(["apply", "--validate=strict", "-f", "-"], one)).toContain("unchanged");
        const table = await says(["get", plural("IPPool")]);
        expect(table).toContain("seen");
        // Columns are the group v3's, as upstream has it.
        if (mode === "v3") expect(table).toContain("10.5.0.0/16");
        else expect(table.split("\n")[0]).toMatch(/^NAME\s+AGE\s*$/);
        await says(["delete", plural("IPPool"), "seen"]);
      });

      test("a definition in v3 has short names, one in v1 has none", async () => {
        const table = await says(["api-resources", `--api-group=${kind("IPPool").spec.group}`, "--no-headers"]);
        const gnp = table.split("\n").find((line) => line.startsWith("globalnetworkpolicies"));
        if (mode === "v3") {
          expect(gnp).toMatch(/gnp/);
          await says(["get", "gnp"]);
        } else {
          expect(gnp).not.toMatch(/gnp/);
        }
      });

      test("explains a field in our words", async () => {
        const text = await says(["explain", `${plural("IPPool")}.spec.cidr`]);
        expect(text).toMatch(/DESCRIPTION:\s+\S+/);
      });

      test("what it applies, calicoctl gets, and the other way round", async () => {
        await says(["apply", "-f", "-"], resource(pool("both", "10.6.0.0/16", { blockSize: 26 })));
        const admin = server.kubeconfig("admin");
        const got = await runProgram("calicoctl", ["get", "ippool", "both"], admin);
        expect(got.stdout + got.stderr).toContain("10.6.0.0/16");
        const text = JSON.stringify(pool("other", "10.7.0.0/16"));
        const applied = await runProgram("calicoctl", ["apply", "-f", "-"], admin, text);
        expect(applied.status, applied.stderr).toBe(0);
        const other = JSON.parse(await says(["get", plural("IPPool"), "other", "-o", "json"])) as StoredObject;
        expect(other.spec).toMatchObject({ cidr: "10.7.0.0/16" });
      });
    },
  );
});
