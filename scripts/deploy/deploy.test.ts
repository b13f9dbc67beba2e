import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { IMAGE_PROGRAMS, IMAGE_TOOLS } from "../../lib/install/image.ts";
import { placesOf, renderConflist } from "../../lib/install/index.ts";
import { generated, outOfDate } from "../generate-deploy.ts";
import { ACCESS } from "./access.ts";
import { type ManifestObject, NAMESPACE } from "./common.ts";
import { imageScript } from "./containerfile.ts";
import { manifestObjects } from "./manifest.ts";

const objects = manifestObjects("some/image:1");
const of = (kind: string): ManifestObject[] => objects.filter((object) => object.kind === kind);

test("deploy/calico.yaml and Containerfile are what the code makes of them: npm run generate:deploy", () => {
  expect(outOfDate()).toEqual([]);
});

test("what is written is what was meant", () => {
  const documents = parseAllDocuments(generated()["deploy/calico.yaml"]!);
  expect(documents.map((document) => document.toJS().kind)).toEqual(objects.map(({ kind }) => kind));
  expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
});

describe("the manifest", () => {
  test("has every object once, and what is namespaced in one namespace", () => {
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { kind, metadata } of objects)
      expect(metadata.namespace, `${kind} ${metadata.name}`).toBe(
        /^(CustomRes|ClusterRole)/.test(kind) ? undefined : NAMESPACE,
      );
  });

  test("gives each program an account, and each pod one of those", () => {
    const accounts = of("ServiceAccount").map(({ metadata }) => metadata.name);
    expect(accounts).toEqual(ACCESS.map(({ account }) => account));
    for (const workload of [...of("DaemonSet"), ...of("Deployment")])
      expect(accounts).toContain((workload.spec as PodOwner).template.spec.serviceAccountName);
  });

  type Container = {
    readonly name: string;
    readonly image: string;
    readonly command: readonly string[];
    readonly volumeMounts?: readonly { readonly name: string }[];
  };
  type PodOwner = {
    readonly selector: { readonly matchLabels: object };
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly initContainers?: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };

  test.each([...of("DaemonSet"), ...of("Deployment")].map((object) => [object.kind, object] as const))(
    "the %s selects its pods, runs programs of the image, and mounts every volume that it has and no other",
    (_, object) => {
      const { selector, template } = object.spec as PodOwner;
      expect(template.metadata.labels).toMatchObject(selector.matchLabels);
      const containers = [...(template.spec.initContainers ?? []), ...template.spec.containers];
      for (const { command, image } of containers) {
        expect(["calico", ...IMAGE_PROGRAMS].map((name) => `/usr/bin/${name}`)).toContain(command[0]);
        expect(image).toBe("some/image:1");
      }
      const mounted = new Set(containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
      expect([...mounted].sort()).toEqual(template.spec.volumes.map(({ name }) => name).sort());
    },
  );

  test("has a network configuration in which every placeholder is filled in", () => {
    const { cni_network_config: template } = of("ConfigMap")[0]!.data as Record<string, string>;
    const env = { CNI_MTU: "0", KUBERNETES_NODE_NAME: "n1" };
    const conflist = renderConflist(template!, env, placesOf(env), { node: "", tls: new Set() });
    expect(conflist).toMatchObject({ types: ["calico", "calico-ipam", "portmap"], unknown: [] });
    expect(JSON.parse(conflist.text).plugins[0]).toMatchObject({ nodename: "n1", mtu: 0 });
  });

  test("names no rule, resource or verb twice", () => {
    for (const { account, rules } of ACCESS) {
      const all = rules.flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}.${group}`)),
        ),
      );
      expect(
        all.filter((one, i) => all.indexOf(one) !== i),
        account,
      ).toEqual([]);
      expect(
        all.filter((one) => one.includes("*")),
        account,
      ).toEqual([]);
    }
  });
});

describe("what the documents tell people to type", () => {
  const read = (path: string): string => readFileSync(join(import.meta.dirname, "../..", path), "utf8");

  test.each(["README.md", "docs/install.md"])("%s replaces the image's name that is in the manifest", (path) => {
    const [, name] = /s#([^#]+)#/.exec(read(path))!;
    expect(generated()["deploy/calico.yaml"]!.split(name!).length - 1).toBeGreaterThanOrEqual(3);
  });

  test("docs/upgrade.md makes a DaemonSet that changes no pod by itself", () => {
    const [, script] = /^sed '(.*)' calico.yaml >calico-ondelete.yaml$/m.exec(read("docs/upgrade.md"))!;
    const { stdout } = spawnSync("sed", [script!], { input: generated()["deploy/calico.yaml"]!, encoding: "utf8" });
    const changed = parseAllDocuments(stdout).map((document) => document.toJS() as ManifestObject);
    const strategies = changed.flatMap(
      ({ spec }) => (spec as { updateStrategy?: object } | undefined)?.updateStrategy ?? [],
    );
    expect(strategies).toEqual([{ type: "OnDelete" }]);
    expect(changed.length).toBe(manifestObjects("some/image:1").length);
  });
});

const EXECUTABLE = join(import.meta.dirname, "../../dist/calico");
const lacking = [EXECUTABLE, ...IMAGE_TOOLS].find((path) => !existsSync(path));
const missing =
  lacking !== undefined ? `no ${lacking}` : process.geteuid?.() === 0 ? undefined : "needs root, for chroot";

describe.skipIf(missing !== undefined)(missing ? `the image (skipped: ${missing})` : "the image", () => {
  const root = mkdtempSync(join(tmpdir(), "image-test-"));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test("is all that its programs need", () => {
    const made = spawnSync("sh", ["-c", imageScript(root, EXECUTABLE).join("; ")], { encoding: "utf8" });
    expect({ status: made.status, said: made.stderr }).toEqual({ status: 0, said: "" });
    const run = (...command: string[]): string => {
      const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
      // As in a container, which has these too. The mounts go with their namespace.
      const mounts = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"';
      const args = ["--mount", "--propagation=private", "sh", "-c", mounts, root, ...command];
      const { stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8", env });
      return stdout + stderr;
    };
    expect(run("calico", "help")).toMatch(/a drop-in Calico in one executable/);
    expect(run("calico-node", "--help")).toMatch(/Calico's agent on a node/);
    expect(run("nft", "--version")).toMatch(/^nftables v/);
    expect(run("ipset", "--version")).toMatch(/^ipset v/);
    expect(run("iptables-nft-save", "--version")).toMatch(/nf_tables/);
    expect(run("ip6tables-legacy-restore", "--version")).toMatch(/legacy/);
    expect(run("iptables-legacy", "-m", "conntrack", "-h")).toMatch(/conntrack match options/);
    expect(run("sh", "-c", "true")).toMatch(/No such file/);
  });
});
