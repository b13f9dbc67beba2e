/**
 * The test bed of every black-box suite and of the demo: several nodes on one machine.
 *
 * A node is a full set of namespaces (net, mount, pid, uts, ipc, cgroup) with a root of its own: the machine's files are
 * there to read, what it writes goes to a tmpfs of its own, and /run, /tmp, /var/lib/calico, /etc/cni and /opt/cni/bin begin
 * empty, but for the built plugins in /opt/cni/bin. The nodes' eth0 hang on a bridge in one more network namespace, the underlay; nothing
 * is ever made in the machine's own. All nodes see one directory, /mnt/share, for a datastore file. (The directory is
 * bound and not the file, because sqlite keeps files beside it.)
 *
 * A node lives as long as its first process, and that one reads a pipe of the process that made the lab: when that ends,
 * however it ends, the node ends, and the kernel removes whatever was in it. Directories and cgroups that a killed owner
 * leaves behind are swept when the next lab is made.
 *
 * `suite.ts` is a second door, for test files: `describeLab` says by name why a suite is skipped where there can be no lab.
 */

export { Daemon } from "./daemon.ts";
export { type HostNetwork, hostNetwork } from "./host.ts";
export { createLab, type Lab, type LabOptions, type LinkEnd } from "./lab.ts";
export type { Node } from "./node.ts";
export { identity } from "./owner.ts";
export { type Attachment, type CniOutcome, type CniVerb, cniArgs, type Pod } from "./pod.ts";
export { CHECKOUT, DIST, missingBuild, missingForLab, missingTool } from "./prerequisites.ts";
export { type ExecOptions, type Outcome, type Running, run, start } from "./process.ts";
