import { DEFAULT_TIER, TIER_LABEL } from "../policy.ts";
import { BUILT_IN } from "../tier.ts";
import { GROUPS } from "./definition.ts";

/** A policy or binding of admissionregistration.k8s.io. */
export interface AdmissionObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: unknown;
}

const API = "admissionregistration.k8s.io";

/** The policies that are in a tier. Staged ones need not be defined in a cluster to be named here. */
const TIERED = ["networkpolicies", "globalnetworkpolicies", "stagednetworkpolicies", "stagedglobalnetworkpolicies"];
const STAGED_KUBERNETES = "stagedkubernetesnetworkpolicies";

const written = (resources: readonly string[]) => [
  { apiGroups: [GROUPS.v3], apiVersions: ["v3"], operations: ["CREATE", "UPDATE"], resources },
];

/** What is applied beside the definitions of the group v3 (upstream: api/admission). Names and effects are upstream's. */
export function admissionObjects(): AdmissionObject[] {
  const tiers = `protect-builtin-tiers.${GROUPS.v3}`;
  return [
    ...mutating(`policytypes.policy.${GROUPS.v3}`, "set-policytypes-binding", [...TIERED, STAGED_KUBERNETES], {
      matchConditions: [
        { name: "missing-types", expression: "!has(object.spec.types) && !has(object.spec.policyTypes)" },
      ],
      variables: [
        { name: "kubernetes", expression: "object.kind == 'StagedKubernetesNetworkPolicy'" },
        // As upstream's, and other than `defaultTypes` in policy.ts: an empty list that is written down counts. Go's clients, and
        // ours, fill in the types themselves, so this is for what kubectl writes.
        { name: "ingress", expression: "has(object.spec.ingress)" },
        { name: "egress", expression: "has(object.spec.egress)" },
        // Kubernetes' own rule: a policy that says anything of egress is about ingress as well.
        {
          name: "types",
          expression:
            "!variables.egress ? ['Ingress'] : variables.ingress || variables.kubernetes ? ['Ingress', 'Egress'] : ['Egress']",
        },
      ],
      mutations: [
        patch(
          "[JSONPatch{op: 'add', path: variables.kubernetes ? '/spec/policyTypes' : '/spec/types', value: variables.types}]",
        ),
      ],
    }),
    ...mutating(`tierlabel.policy.${GROUPS.v3}`, "set-tier-label-binding", TIERED, {
      variables: [
        {
          name: "tier",
          expression: `has(object.spec.tier) && object.spec.tier != '' ? object.spec.tier : '${DEFAULT_TIER}'`,
        },
      ],
      mutations: [
        patch("[JSONPatch{op: 'add', path: '/spec/tier', value: variables.tier}]"),
        patch(
          `(has(object.metadata.labels) ? [] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {}}]) + ` +
            `[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('${TIER_LABEL}'), value: variables.tier}]`,
        ),
      ],
    }),
    {
      apiVersion: `${API}/v1`,
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: tiers },
      spec: {
        failurePolicy: "Fail",
        matchConstraints: {
          resourceRules: [
            { apiGroups: [GROUPS.v3], apiVersions: ["v3"], operations: ["DELETE"], resources: ["tiers"] },
          ],
        },
        validations: [
          {
            expression: `!(oldObject.metadata.name in [${BUILT_IN.map(({ name }) => `'${name}'`).join(", ")}])`,
            messageExpression: "'the tier ' + oldObject.metadata.name + ' is built in and cannot be deleted'",
          },
        ],
      },
    },
    {
      apiVersion: `${API}/v1`,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: tiers },
      spec: { policyName: tiers, validationActions: ["Deny"] },
    },
  ];
}

const patch = (expression: string) => ({ patchType: "JSONPatch", jsonPatch: { expression } });

/** A MutatingAdmissionPolicy for writes of these resources, and the binding that puts it in force. */
function mutating(name: string, binding: string, resources: readonly string[], spec: object): AdmissionObject[] {
  const resourceRules = written(resources);
  return [
    {
      apiVersion: `${API}/v1beta1`,
      kind: "MutatingAdmissionPolicy",
      metadata: { name },
      spec: { matchConstraints: { resourceRules }, ...spec, failurePolicy: "Fail", reinvocationPolicy: "IfNeeded" },
    },
    {
      apiVersion: `${API}/v1beta1`,
      kind: "MutatingAdmissionPolicyBinding",
      metadata: { name: binding },
      spec: { policyName: name, matchResources: { resourceRules } },
    },
  ];
}
