/** What keeps routes out of the kernel, and in words. */
import { type Address, type Cidr, formatAddress, formatCidr } from "../../ip/index.ts";
import type { RouteInfo } from "../../netlink/index.ts";

export type KernelProblem =
  | {
      readonly kind: "unreachable";
      readonly nextHop: Address;
      readonly reason: string;
      /** One of them. */
      readonly destination: Cidr;
      readonly destinations: number;
    }
  /** Another's route of the same metric is in the place. */
  | { readonly kind: "taken"; readonly destination: Cidr; readonly by: RouteInfo }
  | { readonly kind: "refused"; readonly destination: Cidr; readonly error: Error }
  /** Something else changes it again and again. */
  | { readonly kind: "contested"; readonly destination: Cidr; readonly times: number }
  /** The kernel's routes cannot be read, or its events not be had. */
  | { readonly kind: "blind"; readonly error: Error };

/** So many of a kind are named one by one. */
const NAMED = 10;

/** One line a problem, those of one kind together, and at most ten of a kind: the last line of more says how many there are. */
export function describeProblems(problems: readonly KernelProblem[]): string[] {
  const lines: string[] = [];
  for (const kind of ["blind", "unreachable", "taken", "refused", "contested"] as const) {
    const those = problems.filter((problem) => problem.kind === kind);
    lines.push(...those.slice(0, NAMED).map(describe));
    const more = those.length - NAMED;
    if (more > 0) lines.push(`${more} more ${kind === "unreachable" ? "next hops" : "destinations"}: ${REST[kind]}`);
  }
  return lines;
}

const REST = {
  blind: "not to be read",
  unreachable: "nothing leads to them",
  taken: "another's route is in the place",
  refused: "the kernel refused the route",
  contested: "something else keeps changing the route",
} as const;

function describe(problem: KernelProblem): string {
  switch (problem.kind) {
    case "unreachable": {
      const more = problem.destinations - 1;
      const others = more === 0 ? "" : more === 1 ? " and 1 other" : ` and ${more} others`;
      return `next hop ${formatAddress(problem.nextHop)} of ${formatCidr(problem.destination)}${others}: ${problem.reason}`;
    }
    case "taken": {
      const { by } = problem;
      const type = by.type === "unicast" ? "route" : `${by.type} route`;
      return `${formatCidr(problem.destination)}: a ${type} of another (protocol ${by.protocol}) has its metric, ${by.metric}; not programmed`;
    }
    case "refused":
      return `${formatCidr(problem.destination)}: the kernel refused it: ${problem.error.message}`;
    case "contested":
      return `${formatCidr(problem.destination)}: something else keeps changing the route, ${problem.times} times lately`;
    case "blind":
      return `the kernel's routes are not followed: ${problem.error.message}`;
  }
}
