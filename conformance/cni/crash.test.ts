import { copyFileSync, rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CniOutcome, missingTool, type Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Backend, type Cluster, createCluster, interfaces, kubernetesArgs } from "./cluster.ts";
import { expectNothingLeft, expectSuccess } from "./expect.ts";
import { contradictions } from "./records.ts";

/**
 * kill -9 from outside, by strace, just before the Nth call of each kind with which the plugin changes anything, for
 * every N there is. What the runtime does next, a DEL or (every other time) a GC, must leave nothing.
 */
const CALLS: Readonly<Record<Backend, readonly string[]>> = {
  sqlite: ["write", "pwrite64", "sendto", "fsync", "unlink", "ftruncate"],
  etcd: ["write", "sendto"],
};
/** What else a program can write with. One that the plugin begins to use belongs into the list above. */
const OTHERS = (
  "write pwrite64 writev pwritev pwritev2 sendto sendmsg sendmmsg fsync fdatasync sync_file_range ftruncate " +
  "fallocate unlink unlinkat rename renameat renameat2 link linkat io_uring_enter"
).split(" ");
/** More than any verb makes of one call; only there so that a mistake here cannot run for ever. */
const MOST = 200;

const backends: Backend[] = ["sqlite", "etcd"];

describe.each(backends)("killed at every write, on %s", (backend) => {
  describeLab(
    "nothing leaks, and no address is held twice",
    () => {
      let cluster: Cluster;
      let pod: Pod;
      beforeAll(async () => {
        cluster = await createCluster({ backend, agent: false });
        pod = await cluster.nodes[0]!.pod("crash");
        if (backend === "sqlite") copyFileSync(file(), `${file()}.pools`);
      });
      afterEach(async () => {
        await cluster.clean();
        pod = await cluster.nodes[0]!.pod("crash");
      });
      afterAll(() => cluster?.dispose());

      const file = () => `${cluster.lab.machineShare}/datastore.db`;
      const conf = () => cluster.conf({ cniVersion: "1.1.0", ipam: { type: "calico-ipam", assign_ipv6: "true" } });
      const call = (verb: "ADD" | "DEL" | "GC", prefix: readonly string[] = []): Promise<CniOutcome> => {
        const extra = verb === "GC" ? { "cni.dev/valid-attachments": [] } : {};
        return pod.cni(verb, { ...conf(), ...extra }, { args: kubernetesArgs(pod), prefix });
      };
      const killedAt = (name: string, n: number) => [
        ...["strace", "--follow-forks", "--quiet=all", "--output=/dev/null"],
        ...[`--trace=${name}`, `--inject=${name}:signal=KILL:when=${n}`],
      ];

      /** Only pools, no block yet, so that an ADD goes the whole way. */
      async function startAfresh(): Promise<void> {
        if (backend === "sqlite") {
          for (const suffix of ["-wal", "-shm"]) rmSync(file() + suffix, { force: true });
          copyFileSync(`${file()}.pools`, file());
        } else {
          await pod.node.run(
            ["etcdctl", `--endpoints=${cluster.keys.etcd_endpoints}`, "del", "--prefix", "/calico/ipam/v2/"],
            { env: { ETCDCTL_API: "3" } },
          );
        }
      }

      async function expectRecovery(when: string, n: number): Promise<void> {
        const twice = contradictions(await cluster.records()).filter((text) =>
          / is held in | is the address of /.test(text),
        );
        expect(twice, when).toEqual([]);
        const verb = n % 2 === 0 ? "GC" : "DEL";
        const recovery = await call(verb);
        expect({ when, verb, status: recovery.status, said: recovery.stdout + recovery.stderr }).toEqual({
          when,
          verb,
          status: 0,
          said: "",
        });
        try {
          await expectNothingLeft(cluster);
          expect(await pod.run(["ip", "-brief", "link"])).toMatch(/^lo\s.*\n$/);
        } catch (error) {
          throw new Error(`after a kill ${when} and a ${verb}: ${(error as Error).message}`, { cause: error });
        }
      }

      test("it writes with no other calls than those it is killed at", async () => {
        const others = OTHERS.filter((name) => !CALLS[backend].includes(name));
        for (const verb of ["ADD", "DEL", "GC"] as const) {
          const trace = [`--trace=${others.join(",")}`, "--output=/tmp/trace"];
          expectSuccess(await call(verb, ["strace", "--follow-forks", "--quiet=all", ...trace]));
          expect(await pod.node.run(["cat", "/tmp/trace"]), verb).toBe("");
        }
      });

      describe.each(["ADD", "DEL"] as const)("%s", (verb) => {
        test.each(CALLS[backend])("before each %s", async (name) => {
          for (let n = 1; n <= MOST; n++) {
            const when = `before ${name} number ${n} of ${verb}`;
            await startAfresh();
            if (verb === "DEL") expectSuccess(await call("ADD"));
            const outcome = await call(verb, killedAt(name, n));
            const survived = outcome.signal === null;
            if (survived) expectSuccess(outcome);
            else expect(outcome.signal, when).toBe("SIGKILL");
            if (survived && verb === "DEL") await expectNothingLeft(cluster);
            await expectRecovery(when, n);
            // The way is free for the next pod, or the same one again.
            expectSuccess(await call("ADD"));
            expect(contradictions(await cluster.records())).toEqual([]);
            expect(await interfaces(pod.node)).toHaveLength(1);
            expectSuccess(await call("DEL"));
            await expectNothingLeft(cluster);
            if (survived) return;
          }
          expect.unreachable(`more than ${MOST} calls of ${name}`);
        });
      });

      test("an ADD that is repeated after a kill ends what the first one began", async () => {
        const points = {
          sqlite: [
            ["fsync", 3],
            ["sendto", 2],
            ["sendto", 3],
            ["write", 8],
          ],
          etcd: [
            ["sendto", 1],
            ["sendto", 3],
            ["write", 8],
            ["write", 20],
          ],
        } as const;
        for (const [name, n] of points[backend]) {
          await startAfresh();
          const killed = await call("ADD", killedAt(name, n));
          expect(killed.signal, `${name} ${n}`).toBe("SIGKILL");
          expect(await call("ADD")).toMatchObject({ status: 0 });
          const records = await cluster.records();
          expect(contradictions(records)).toEqual([]);
          expect(records.held).toHaveLength(2);
          for (const { address } of records.held) await pod.node.run(["ping", "-c1", "-W2", address]);
          expectSuccess(await call("DEL"));
          await expectNothingLeft(cluster);
        }
      });
    },
    missingTool("strace") ?? (backend === "etcd" ? (missingTool("etcd") ?? missingTool("etcdctl")) : undefined),
  );
});
