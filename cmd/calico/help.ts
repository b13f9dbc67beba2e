import { VERSION } from "../../lib/telemetry/index.ts";

const HELP = `calico ${VERSION}: a drop-in Calico in one executable

What it is called by decides what it does:
  calico            the CNI plugin, when a container runtime calls it (CNI_COMMAND is set)
  calico-ipam       the IPAM plugin for a runtime; for people: show, check, release, split, configure
  calicoctl         create, apply, get and delete Calico's resources; explain what policy does with a connection
  calico-node       the agent of a node: network policy, routes to workloads
  calico-kube-controllers   the controllers of a cluster: gives back what deleted nodes and lost pods held

The same under one name:
  calico install [--dry-run]       put calico and calico-ipam into a node, and what they need; see --help
  calico crds [--group v1|v3]      print what a Kubernetes cluster needs to hold Calico's resources
  calico ipam ...                  calico-ipam
  calico ctl ...                   calicoctl
  calico component node ...        calico-node
  calico component kube-controllers ...   calico-kube-controllers
  calico version
`;

/** `calico` itself: help, version, install and crds. */
export async function main(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  switch (verb) {
    case "install":
      return (await import("./install.ts")).main(rest);
    case "crds":
      return (await import("./crds.ts")).main(rest);
    case "version":
    case "--version":
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case undefined:
    case "help":
    case "-h":
    case "--help":
      process.stdout.write(HELP);
      return 0;
    default:
      process.stderr.write(`calico: there is no command "${verb}". 'calico help' lists what there is.\n`);
      return 1;
  }
}
