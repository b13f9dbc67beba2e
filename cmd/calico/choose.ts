export type Program =
  | "calico-cni"
  | "calico-ipam"
  | "calico-ipam-plugin"
  | "calicoctl"
  | "calico-node"
  | "calico-kube-controllers"
  | "calico";

export interface Choice {
  readonly program: Program;
  /** The arguments that are left for the program. */
  readonly args: string[];
}

/**
 * Which program is meant. A name with a meaning of its own wins; `calico` is the CNI plugin when a runtime calls it
 * (CNI_COMMAND is set and no verb is given), because /opt/cni/bin/calico is what conflists name by `"type": "calico"`.
 */
export function chooseProgram(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Choice {
  const called = env.CNI_COMMAND !== undefined && env.CNI_COMMAND !== "";
  const rest = [...args];
  switch (name) {
    case "calico-ipam":
      return { program: called ? "calico-ipam-plugin" : "calico-ipam", args: rest };
    case "calico-cni":
      return { program: "calico-cni", args: rest };
    case "calicoctl":
      return { program: "calicoctl", args: rest };
    case "calico-node":
      return { program: "calico-node", args: rest };
    case "calico-kube-controllers":
      return { program: "calico-kube-controllers", args: rest };
  }
  const [verb, ...after] = rest;
  if (verb === "ctl") return { program: "calicoctl", args: after };
  if (verb === "ipam") return { program: "calico-ipam", args: after };
  if (verb === "component" && after[0] === "node") return { program: "calico-node", args: after.slice(1) };
  if (verb === "component" && after[0] === "kube-controllers") {
    return { program: "calico-kube-controllers", args: after.slice(1) };
  }
  // Upstream has them beside node, and its service scripts call them so.
  if (verb === "component" && (after[0] === "felix" || after[0] === "confd")) {
    return { program: "calico-node", args: after };
  }
  if (verb === "component" && after[0] === "cni") {
    // Upstream's installer is a container's main program.
    if (after[1] === "install") return { program: "calico", args: ["install", "--stay", ...after.slice(2)] };
    if (after[1] === "plugin") return { program: "calico-cni", args: after.slice(2) };
    if (after[1] === "ipam") {
      return { program: called ? "calico-ipam-plugin" : "calico-ipam", args: after.slice(2) };
    }
  }
  // `calico -v` and `calico -t` are the plugin's flags, which install scripts call to test the datastore.
  if (verb === "-v" || verb === "-t" || (called && (verb === undefined || verb.startsWith("-")))) {
    return { program: "calico-cni", args: rest };
  }
  return { program: "calico", args: rest };
}
