import { admissionPolicies, crdsOf, toYaml } from "../../lib/api/crd/index.ts";

const USAGE = `usage: calico crds [--group v1|v3] [--without-admission]

Prints CustomResourceDefinitions as YAML, for "kubectl apply --server-side -f -":
  --group v3            projectcalico.org/v3 (default), and the admission policies that go with it; they need
                        Kubernetes 1.34 with MutatingAdmissionPolicy and admissionregistration.k8s.io/v1beta1 on
  --group v1            crd.projectcalico.org/v1
  --without-admission   the definitions alone
`;

/** `calico crds`: what is applied to a cluster before Calico can keep anything in it. The same text every time. */
export function main(args: readonly string[]): number {
  let group: "v1" | "v3" = "v3";
  let admission = true;
  for (let index = 0; index < args.length; index++) {
    const [flag, inline] = (args[index] ?? "").split(/=(.*)/s);
    if (flag === "-h" || flag === "--help") {
      process.stdout.write(USAGE);
      return 0;
    }
    if (flag === "--without-admission" && inline === undefined) {
      admission = false;
      continue;
    }
    const value = flag === "--group" ? (inline ?? args[++index]) : undefined;
    if (value !== "v1" && value !== "v3") {
      const wrong = flag !== "--group" ? `"${args[index]}" is not understood` : `--group must be v1 or v3`;
      process.stderr.write(`calico crds: ${wrong}\n${USAGE}`);
      return 1;
    }
    group = value;
  }
  process.stdout.write(toYaml([...crdsOf(group), ...(admission && group === "v3" ? admissionPolicies() : [])]));
  return 0;
}
