import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { API_VERSION } from "../meta.ts";
import { KINDS } from "../registry.ts";
import { admissionPolicies, crdsOf, type JsonSchema, toYaml } from "./index.ts";

const GROUPS = ["v1", "v3"] as const;
const byPlural = (group: "v1" | "v3") => Object.fromEntries(crdsOf(group).map((crd) => [crd.spec.names.plural, crd]));
const specOf = (group: "v1" | "v3", plural: string): JsonSchema =>
  byPlural(group)[plural]!.spec.versions[0].schema.openAPIV3Schema.properties!.spec!;

/** Every schema in a schema, with its path. */
function* walk(schema: JsonSchema, path: string): Generator<[string, JsonSchema]> {
  yield [path, schema];
  for (const [name, inner] of Object.entries(schema.properties ?? {})) yield* walk(inner, `${path}.${name}`);
  if (schema.items) yield* walk(schema.items, `${path}[]`);
  if (schema.additionalProperties) yield* walk(schema.additionalProperties, `${path}{}`);
}

test("every kind of ours has a definition, but those that Kubernetes' own objects stand for", () => {
  const own = KINDS.filter(({ apiVersion }) => apiVersion === API_VERSION);
  const without = ["Node", "Profile", "WorkloadEndpoint"];
  expect(crdsOf("v3").map(({ spec }) => spec.names.kind)).toEqual(
    own.map(({ kind }) => kind).filter((kind) => !without.includes(kind)),
  );
});

test("names are upstream's", () => {
  const names = (group: "v1" | "v3") =>
    crdsOf(group).map(({ metadata, spec }) => {
      const { kind, listKind, shortNames = [] } = spec.names;
      expect(listKind).toBe(`${kind}List`);
      return [metadata.name, kind, spec.scope, ...shortNames].join(" ");
    });
  expect(names("v3")).toEqual([
    "bgpconfigurations.projectcalico.org BGPConfiguration Cluster bgpconfig bgpconfigs",
    "bgpfilters.projectcalico.org BGPFilter Cluster",
    "bgppeers.projectcalico.org BGPPeer Cluster",
    "blockaffinities.projectcalico.org BlockAffinity Cluster affinity affinities",
    "caliconodestatuses.projectcalico.org CalicoNodeStatus Cluster",
    "clusterinformations.projectcalico.org ClusterInformation Cluster clusterinfo clusterinfos",
    "felixconfigurations.projectcalico.org FelixConfiguration Cluster felixconfig felixconfigs",
    "globalnetworkpolicies.projectcalico.org GlobalNetworkPolicy Cluster gnp cgnp",
    "globalnetworksets.projectcalico.org GlobalNetworkSet Cluster gns",
    "hostendpoints.projectcalico.org HostEndpoint Cluster hep heps",
    "ipamblocks.projectcalico.org IPAMBlock Cluster",
    "ipamconfigurations.projectcalico.org IPAMConfiguration Cluster ipamconfig ipamconfigs",
    "ipamhandles.projectcalico.org IPAMHandle Cluster",
    "ippools.projectcalico.org IPPool Cluster",
    "ipreservations.projectcalico.org IPReservation Cluster",
    "kubecontrollersconfigurations.projectcalico.org KubeControllersConfiguration Cluster kcc kccs",
    "networkpolicies.projectcalico.org NetworkPolicy Namespaced cnp caliconetworkpolicy",
    "networksets.projectcalico.org NetworkSet Namespaced",
    "stagedglobalnetworkpolicies.projectcalico.org StagedGlobalNetworkPolicy Cluster sgnp",
    "stagedkubernetesnetworkpolicies.projectcalico.org StagedKubernetesNetworkPolicy Namespaced sknp",
    "stagednetworkpolicies.projectcalico.org StagedNetworkPolicy Namespaced scnp snp",
    "tiers.projectcalico.org Tier Cluster",
  ]);
  expect(names("v1")).toEqual([
    "bgpconfigurations.crd.projectcalico.org BGPConfiguration Cluster",
    "bgpfilters.crd.projectcalico.org BGPFilter Cluster",
    "bgppeers.crd.projectcalico.org BGPPeer Cluster",
    "blockaffinities.crd.projectcalico.org BlockAffinity Cluster",
    "caliconodestatuses.crd.projectcalico.org CalicoNodeStatus Cluster",
    "clusterinformations.crd.projectcalico.org ClusterInformation Cluster",
    "felixconfigurations.crd.projectcalico.org FelixConfiguration Cluster",
    "globalnetworkpolicies.crd.projectcalico.org GlobalNetworkPolicy Cluster",
    "globalnetworksets.crd.projectcalico.org GlobalNetworkSet Cluster",
    "hostendpoints.crd.projectcalico.org HostEndpoint Cluster",
    "ipamblocks.crd.projectcalico.org IPAMBlock Cluster",
    "ipamconfigs.crd.projectcalico.org IPAMConfig Cluster",
    "ipamhandles.crd.projectcalico.org IPAMHandle Cluster",
    "ippools.crd.projectcalico.org IPPool Cluster",
    "ipreservations.crd.projectcalico.org IPReservation Cluster",
    "kubecontrollersconfigurations.crd.projectcalico.org KubeControllersConfiguration Cluster",
    "networkpolicies.crd.projectcalico.org NetworkPolicy Namespaced",
    "networksets.crd.projectcalico.org NetworkSet Namespaced",
    "stagedglobalnetworkpolicies.crd.projectcalico.org StagedGlobalNetworkPolicy Cluster",
    "stagedkubernetesnetworkpolicies.crd.projectcalico.org StagedKubernetesNetworkPolicy Namespaced",
    "stagednetworkpolicies.crd.projectcalico.org StagedNetworkPolicy Namespaced",
    "tiers.crd.projectcalico.org Tier Cluster",
  ]);
});

test("people look at the group v3: columns, selectable fields; both have the statuses", () => {
  const shown = (group: "v1" | "v3") =>
    Object.fromEntries(
      crdsOf(group).flatMap(({ spec }) => {
        const { additionalPrinterColumns = [], selectableFields = [], subresources } = spec.versions[0];
        const parts = [
          ...additionalPrinterColumns.map(({ name }) => name),
          ...selectableFields.map(({ jsonPath }) => jsonPath),
          ...Object.keys(subresources ?? {}),
        ];
        return parts.length === 0 ? [] : [[spec.names.plural, parts.join(" ")]];
      }),
    );
  expect(shown("v1")).toEqual({
    caliconodestatuses: "status",
    ippools: "status",
    kubecontrollersconfigurations: "status",
    tiers: "status",
  });
  expect(shown("v3")).toEqual({
    bgppeers: "Node Selector Node Local ASN Peer Selector Peer IP Peer ASN",
    blockaffinities: "CIDR Node Type",
    caliconodestatuses: "Node Classes status",
    clusterinformations: "Version Ready Types",
    globalnetworkpolicies: "Tier Order Age .spec.tier",
    globalnetworksets: "Age",
    hostendpoints: "Node Interface",
    ipamblocks: "CIDR Affinity ClaimTime",
    ipamconfigurations: "StrictAffinity MaxBlocksPerHost AutoAllocateBlocks",
    ipamhandles: "ID",
    ippools: "CIDR VXLAN IPIP NAT Allocatable Age status",
    kubecontrollersconfigurations: "status",
    networkpolicies: "Tier Order .spec.tier",
    stagedglobalnetworkpolicies: "Tier Order .spec.tier",
    stagednetworkpolicies: "Tier Order .spec.tier",
    tiers: "Order DefaultAction Status status",
  });
});

test("what the API server asks for and fills in", () => {
  const table = (group: "v1" | "v3") =>
    Object.fromEntries(
      Object.keys(byPlural(group)).map((plural) => {
        const spec = specOf(group, plural);
        const defaults = Object.entries(spec.properties!).flatMap(([name, field]) =>
          field.default === undefined ? [] : [`${name}=${JSON.stringify(field.default)}`],
        );
        return [plural, [...(spec.required ?? []), ...defaults].join(" ")];
      }),
    );
  const both = {
    bgpconfigurations: 'serviceLoadBalancerAggregation="Enabled"',
    bgpfilters: "",
    bgppeers: "",
    caliconodestatuses: "",
    clusterinformations: "",
    felixconfigurations: "",
    globalnetworkpolicies: 'tier="default"',
    globalnetworksets: "",
    hostendpoints: "",
    ipamblocks: "allocations attributes cidr strictAffinity unallocated sequenceNumber=0",
    ipamhandles: "block handleID",
    ippools: 'cidr assignmentMode="Automatic" nodeSelector="all()"',
    ipreservations: "",
    kubecontrollersconfigurations: 'controllers healthChecks="Enabled"',
    networkpolicies: 'tier="default"',
    networksets: "",
    stagedglobalnetworkpolicies: 'stagedAction="Set" tier="default"',
    stagedkubernetesnetworkpolicies: 'stagedAction="Set"',
    stagednetworkpolicies: 'stagedAction="Set" tier="default"',
    tiers: 'defaultAction="Deny"',
  };
  expect(table("v1")).toEqual({
    ...both,
    blockaffinities: "cidr deleted node state",
    ipamconfigs: "autoAllocateBlocks strictAffinity",
  });
  expect(table("v3")).toEqual({
    ...both,
    blockaffinities: "cidr deleted node state deleted=false",
    ipamconfigurations:
      "autoAllocateBlocks strictAffinity autoAllocateBlocks=true maxBlocksPerHost=0 strictAffinity=false",
  });
});

test("where the groups differ in what they hold", () => {
  expect(specOf("v1", "blockaffinities").properties!.deleted!.type).toBe("string");
  expect(specOf("v3", "blockaffinities").properties!.deleted!.type).toBe("boolean");
  expect(specOf("v1", "ipamblocks").properties!.cidr!.format).toBeUndefined();
  expect(specOf("v3", "ipamblocks").properties!.cidr!.format).toBe("cidr");
  expect(specOf("v1", "ipamconfigs").properties!.maxBlocksPerHost!.maximum).toBe(2147483647);
  for (const field of ["ignoredInterfaces", "nodeMeshMaxRestartTime"]) {
    const text = (group: "v1" | "v3") => {
      const schema = specOf(group, "bgpconfigurations").properties![field]!;
      return schema.items ?? schema;
    };
    expect(text("v1").pattern).toBeUndefined();
    expect(text("v3").pattern).toBeDefined();
  }
});

test("schemas are structural, and documented", () => {
  for (const group of GROUPS) {
    for (const crd of crdsOf(group)) {
      const { openAPIV3Schema } = crd.spec.versions[0].schema;
      for (const [path, schema] of walk(openAPIV3Schema, crd.metadata.name)) {
        if (schema["x-kubernetes-int-or-string"]) expect(schema.type, path).toBeUndefined();
        else expect(schema.type, path).toBeDefined();
        if (/\.(spec|status)\.[^[{]*$/.test(path)) expect(schema.description, path).toBeTruthy();
      }
    }
  }
  const block = specOf("v3", "ipamblocks").properties!;
  expect(block.allocations!.items).toEqual({ type: "integer", nullable: true });
  expect(block.sequenceNumber).toMatchObject({ type: "integer", format: "int64", default: 0 });
  expect(block.sequenceNumberForAllocation!.additionalProperties).toEqual({ type: "integer", format: "int64" });
  expect(specOf("v3", "ippools").properties!.cidr!["x-kubernetes-validations"]).toMatchObject([
    { rule: "self == oldSelf", reason: "FieldValueInvalid" },
  ]);
});

test("the text is the objects, the same every time, and no caller's to change", () => {
  const objects = [...GROUPS.flatMap(crdsOf), ...admissionPolicies()];
  const text = toYaml(objects);
  expect(parseAllDocuments(text).map((document) => document.toJS())).toEqual(JSON.parse(JSON.stringify(objects)));
  (crdsOf("v3")[0]!.spec.names as { kind: string }).kind = "Changed";
  specOf("v3", "networkpolicies").properties!.tier!.default = "changed";
  expect(toYaml([...GROUPS.flatMap(crdsOf), ...admissionPolicies()])).toBe(text);
});

test("admission policies are upstream's by name", () => {
  expect(admissionPolicies().map(({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.name}`)).toEqual(
    [
      "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicy policytypes.policy.projectcalico.org",
      "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicyBinding set-policytypes-binding",
      "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicy tierlabel.policy.projectcalico.org",
      "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicyBinding set-tier-label-binding",
      "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy protect-builtin-tiers.projectcalico.org",
      "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding protect-builtin-tiers.projectcalico.org",
    ],
  );
});
