/** For tests of every folder: what needs root or a network namespace. Not for use outside of tests. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { describe, it } from "vitest";
import { inNamespace, type Namespace, openNamespace } from "./namespace.ts";
import { isRoot } from "./process.ts";

const WITHOUT_ROOT = "skipped: needs root";

/** `it`, which without root skips and says so in its name. */
export function itAsRoot(name: string, body: () => unknown, timeout?: number): void {
  if (isRoot()) it(name, async () => void (await body()), timeout);
  else it.skip(`${name} [${WITHOUT_ROOT}]`, () => {});
}

/** `describe`, which without root skips and says so in its name. */
export function describeAsRoot(name: string, body: () => void): void {
  if (isRoot()) describe(name, body);
  else describe.skip(`${name} [${WITHOUT_ROOT}]`, body);
}

/** A network namespace of a test's own. */
export interface TestNamespace extends Disposable {
  /** As `ip netns` knows it. */
  readonly name: string;
  /** /run/netns/<name> */
  readonly path: string;
  readonly namespace: Namespace;
  /** Runs a synchronous function inside. */
  run<T>(action: () => T extends PromiseLike<unknown> ? never : T): T;
  /** Runs a command inside; its standard output. Throws with its standard error when it fails. */
  exec(command: string, ...args: string[]): string;
  /** Removes it; again does nothing. */
  dispose(): void;
}

/** Makes a namespace with a unique name; `using ns = makeNamespace()` or `dispose()` removes it. `lo` is down, as in a new pod. */
export function makeNamespace(prefix = "calico-test"): TestNamespace {
  const name = `${prefix}-${process.pid}-${randomBytes(4).toString("hex")}`;
  runCommand("ip", ["netns", "add", name]);
  const path = `/run/netns/${name}`;
  const namespace = openNamespace(path);
  let gone = false;
  const dispose = (): void => {
    if (gone) return;
    gone = true;
    namespace.close();
    spawnSync("ip", ["netns", "delete", name]);
  };
  return {
    name,
    path,
    namespace,
    run: (action) => inNamespace(namespace, action),
    exec: (command, ...args) => inNamespace(namespace, () => runCommand(command, args)),
    dispose,
    [Symbol.dispose]: dispose,
  };
}

function runCommand(command: string, args: readonly string[]): string {
  const result = spawnSync(command, args, { encoding: "utf8" });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`${command} ${args.join(" ")}: ${result.stderr.trim() || `status ${result.status}`}`);
  return result.stdout;
}
