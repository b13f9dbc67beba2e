/** What docs/install.md says that is to be changed in the manifest, done to the manifest's objects word by word. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { CHECKOUT } from "../lab/index.ts";

interface Variable {
  readonly name: string;
  readonly value: string;
}

interface ManifestObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

interface ConfigMap extends ManifestObject {
  readonly data: { cni_network_config: string };
}

interface DaemonSet extends ManifestObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { readonly env: Variable[] }[] } };
  };
}

/** A section's blocks: variables for the DaemonSet, and what stands in the network configuration instead of what. */
export interface Changes {
  readonly variables: readonly Variable[];
  readonly ipam: { readonly from: string; readonly to: string };
}

/** Of several sections, of which a later one counts before an earlier one. Throws where one is not there, or not made of what it was. */
export function changesOf(...headings: readonly [string, ...string[]]): Changes {
  const page = readFileSync(join(CHECKOUT, "docs/install.md"), "utf8");
  const sections = page.split(/^(?=##+ )/m);
  const all = headings.map((heading): Changes => {
    const section = sections.find((text) => text.startsWith(`### ${heading}\n`)) ?? "";
    const variables = /^```yaml\n(.*?)^```$/ms.exec(section)?.[1];
    const from = /instead of `("ipam": .*?)`:$/m.exec(section)?.[1];
    const to = /^```json\n(.*?)\n```$/ms.exec(section)?.[1];
    if (variables === undefined || from === undefined || to === undefined)
      throw new Error(`docs/install.md, ${heading}: no variables and network configuration to be read`);
    return { variables: parse(variables) as Variable[], ipam: { from, to } };
  });
  return { variables: all.flatMap(({ variables }) => variables), ipam: all.at(-1)!.ipam };
}

/** The manifest with them. */
export function changed(manifest: string, { variables, ipam }: Changes): string {
  const objects = parseAllDocuments(manifest).map((document) => document.toJS() as ManifestObject);
  const find = <T extends ManifestObject>(kind: string, name: string): T => {
    const found = objects.find((one) => one.kind === kind && one.metadata.name === name);
    if (found === undefined) throw new Error(`the manifest has no ${kind} ${name}`);
    return found as T;
  };
  const { data } = find<ConfigMap>("ConfigMap", "calico-config");
  if (!data.cni_network_config.includes(ipam.from)) throw new Error(`the network configuration has no ${ipam.from}`);
  data.cni_network_config = data.cni_network_config.replace(ipam.from, ipam.to);
  const { env } = find<DaemonSet>("DaemonSet", "calico-node").spec.template.spec.containers[0]!;
  for (const variable of variables) {
    const at = env.findIndex(({ name }) => name === variable.name);
    env.splice(at < 0 ? env.length : at, at < 0 ? 0 : 1, variable);
  }
  return objects.map((object) => JSON.stringify(object)).join("\n---\n");
}
