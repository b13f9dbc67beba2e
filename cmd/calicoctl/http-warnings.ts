import { API_VERSION, type Resource } from "../../lib/api/meta.ts";

/** Rules with a clause that the kernel does not enforce, as one warning for each policy. */
export function httpWarnings(resources: readonly Resource[]): string[] {
  return resources.flatMap((resource) => {
    if (resource.apiVersion !== API_VERSION || !resource.kind.endsWith("NetworkPolicy")) return [];
    const rules = (resource.spec as { ingress?: unknown } | undefined)?.ingress;
    const paths = (Array.isArray(rules) ? (rules as { http?: unknown }[]) : []).flatMap((rule, i) =>
      rule?.http ? [`spec.ingress[${i}].http`] : [],
    );
    if (paths.length === 0) return [];
    const verb = paths.length === 1 ? "is" : "are";
    return [
      `Warning: ${resource.kind} ${titleOf(resource)}: ${paths.join(", ")} ${verb} not enforced in the kernel: the rest of the rule decides, whatever the HTTP request`,
    ];
  });
}

const titleOf = ({ metadata: { namespace, name } }: Resource): string =>
  namespace === undefined ? name : `${namespace}/${name}`;
