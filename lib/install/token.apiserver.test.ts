/** The plugin's token, from a real API server, with exactly the rights that calico-node has. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadKubeconfig, openKubernetes } from "../kubernetes/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../kubernetes/testing/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import { type Env, install, lifeOf, type Step, type TokenSource, tokenSourceOf } from "./index.ts";
import { type KeepKubeconfigOptions, keepKubeconfig } from "./renewal.ts";
import { type FakeHost, fakeHost, fakeToken } from "./testing.ts";
import { renewKubeconfig, tryToken } from "./token.ts";

const missing = apiServerMissing();
const HOUR = 3_600_000;

describe.skipIf(missing !== undefined)(
  missing ? `the plugin's token (skipped: ${missing})` : "the plugin's token",
  () => {
    let server: ApiServer;
    beforeAll(async () => {
      server = await startApiServer({ audit: true });
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
    });
    afterAll(() => server?.stop());

    let host: FakeHost;
    beforeEach(() => {
      host = fakeHost();
      writeFileSync(join(host.secrets, "namespace"), "kube-system");
      writeFileSync(join(host.secrets, "ca.crt"), server.ca);
      writeFileSync(join(host.secrets, "token"), server.token("node"));
      return () => host[Symbol.dispose]();
    });

    /** As kubelet starts a pod. */
    const env = (): Env => ({ KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(server.port) });
    const source = (changes: Env = {}): TokenSource => tokenSourceOf({ ...env(), ...changes }, "n1", host.secrets)!;
    const file = (): string => join(host.net, "calico-kubeconfig");
    const tokenInFile = (): string => (loadKubeconfig({ file: file() }).auth as { token: string }).token;

    test("is written with the rest of an installation, and lets the plugin's account in", async () => {
      for (const name of ["calico", "calico-ipam", "portmap", "source"])
        writeFileSync(join(host.bin, name), "#!/bin/true\n", { mode: 0o755 });
      const steps: Step[] = [];
      await install({
        ...{ env: env(), parts: ["executables", "kubeconfig", "conflist"], places: host.places(), node: "n1" },
        ...{ executable: join(host.bin, "source"), binFolders: [host.bin], secrets: host.secrets },
        ...{ onStep: (step) => void steps.push(step), warn: () => {} },
      });
      expect(steps.map(({ path, action }) => `${action} ${path.split("/").at(-1)}`)).toEqual([
        "unchanged calico",
        "unchanged calico-ipam",
        "written calico-kubeconfig",
        "written 10-calico.conflist",
      ]);
      expect(statSync(file()).mode & 0o777).toBe(0o600);
      const kubernetes = openKubernetes(loadKubeconfig({ file: file() }));
      type Review = { readonly status: { readonly userInfo: { readonly username: string } } };
      const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
      const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
      const { status } = await kubernetes.request<Review>("POST", path, { body: review });
      await kubernetes.close();
      expect(status.userInfo.username).toBe("system:serviceaccount:kube-system:calico-cni-plugin");
      const { issuedAt, expiresAt } = lifeOf(tokenInFile())!;
      expect(expiresAt - issuedAt).toBe(24 * HOUR);
    });

    test("that does not do never replaces the one that is there", async () => {
      writeFileSync(file(), "what was there", { mode: 0o600 });
      // An account that the API server makes tokens for, and that may read nothing.
      await server.apply({
        apiVersion: "v1",
        kind: "ServiceAccount",
        metadata: { name: "powerless", namespace: "kube-system" },
      });
      const cluster = loadKubeconfig({ file: server.kubeconfig("admin") });
      const powerless = { ...source(), cluster, account: "powerless" };
      await expect(renewKubeconfig(powerless, host.places())).rejects.toThrow(/of no use: .*forbidden/i);
      expect(readFileSync(file(), "utf8")).toBe("what was there");
    });

    test.each([["another account", { CALICO_CNI_SERVICE_ACCOUNT: "default" }, /serviceaccounts\/token for default/]])(
      "for %s is not given, and the message says what is needed",
      async (_, changes, message) => {
        await expect(renewKubeconfig(source(changes), host.places())).rejects.toThrow(message);
        expect(host.names(host.net)).toEqual([]);
      },
    );

    /** Runs the keeper on a clock that only its own waiting moves on; `during` is called whenever it waits. */
    async function keep(
      hours: number,
      during: (now: number) => Promise<void> | void,
      changes: Partial<KeepKubeconfigOptions> = {},
    ) {
      const stop = new AbortController();
      const troubles: (string | undefined)[] = [];
      const begun = Date.now();
      let now = begun;
      let good = 0;
      await keepKubeconfig({
        ...{ source: source(), places: host.places(), log: silentLogger, signal: stop.signal },
        watched: [join(host.secrets, "token")],
        onGood: () => void good++,
        onTrouble: (why) => void troubles.push(why),
        now: () => now,
        random: () => 0,
        wait: async (milliseconds) => {
          await during(now - begun);
          now += Math.max(milliseconds, HOUR / 2);
          if (now > begun + hours * HOUR) stop.abort();
        },
        ...changes,
      });
      return { troubles, good };
    }

    test("is made where there is none, kept while it is young, and renewed at half of its life", async () => {
      const seen = new Map<string, number>();
      const { troubles } = await keep(12.4, (at) => {
        const token = tokenInFile();
        if (!seen.has(token)) seen.set(token, at / HOUR);
      });
      expect(seen.size).toBe(2);
      expect([...seen.values()][0]).toBe(0);
      expect([...seen.values()][1]).toBeCloseTo(12, 0);
      expect(troubles.every((why) => why === undefined)).toBe(true);
    });

    test("of a file that is good from before is tried and kept", async () => {
      await renewKubeconfig(source(), host.places());
      const before = statSync(file()).ino;
      const { good } = await keep(1, () => {});
      expect(good).toBeGreaterThan(1);
      expect(statSync(file()).ino).toBe(before);
    });

    test.each([
      [
        "that is for another CA",
        (text: string) =>
          text.replace(
            /certificate-authority-data: .*/,
            `certificate-authority-data: ${btoa("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")}`,
          ),
      ],
      [
        "that the API server does not take",
        (text: string) => text.replace(/token: .*/, `token: ${fakeToken(Date.now(), Date.now() + 24 * HOUR)}`),
      ],
      ["that somebody spoiled", () => "{"],
    ])("in a file %s is replaced at once", async (_, spoil) => {
      await renewKubeconfig(source(), host.places());
      writeFileSync(file(), spoil(readFileSync(file(), "utf8")));
      await keep(0.1, () => {});
      expect(await tryToken(loadKubeconfig({ file: file() }), "n1")).toBeUndefined();
    });

    test("that somebody removed or overwrote meanwhile is there again soon", async () => {
      let spoiled = 0;
      await keep(3, (at) => {
        if (at / HOUR > 1 && spoiled++ === 0) writeFileSync(file(), "nothing");
      });
      expect(spoiled).toBeGreaterThan(1);
      expect(await tryToken(loadKubeconfig({ file: file() }), "n1")).toBeUndefined();
    });

    test("is not asked about again while nothing suggests that it is refused", async () => {
      await renewKubeconfig(source(), host.places());
      const count = async (): Promise<number> =>
        (await server.audit()).filter(({ user }) => JSON.stringify(user ?? "").includes("calico-cni-plugin")).length;
      const before = await count();
      await keep(3, () => {});
      expect((await count()) - before).toBe(1);
      await keep(3, (at) => {
        if (at === 0) writeFileSync(join(host.secrets, "token"), `${server.token("node")}\n`);
      });
      expect((await count()) - before).toBe(3);
    });

    test("that is about to expire and cannot be renewed is told of in time, and no more once it is renewed", async () => {
      await renewKubeconfig(source(), host.places());
      const before = tokenInFile();
      const right = server.token("node");
      const told: [hours: number, why: string | undefined][] = [];
      let now = 0;
      await keep(
        21,
        async (at) => {
          now = at / HOUR;
          // From the first hour to the twentieth the account has no rights.
          writeFileSync(join(host.secrets, "token"), now > 1 && now < 20 ? server.token("nobody") : right);
        },
        {
          onTrouble: (why) => void told.push([now, why]),
        },
      );
      const troubles = told.filter(([, why]) => why !== undefined);
      expect(troubles[0]![0]).toBeGreaterThan(16);
      expect(troubles[0]![0]).toBeLessThan(19);
      expect(troubles[0]![1]).toMatch(/expires at .* and is not renewed: .*(forbidden|serviceaccounts)/i);
      expect(told.at(-1)![1]).toBeUndefined();
      expect(tokenInFile()).not.toBe(before);
    });

    test.each([
      ["young", 0],
      ["in the second half of its life", 13 * HOUR],
    ])(
      "that is %s, no longer let in and cannot be renewed is told of at once, and tried again within half a minute",
      async (_, age) => {
        await renewKubeconfig(source(), host.places());
        const good = readFileSync(file(), "utf8");
        const other = fakeToken(Date.now() - age, Date.now() - age + 24 * HOUR);
        writeFileSync(file(), good.replace(/token: .*/, `token: ${other}`));
        writeFileSync(join(host.secrets, "token"), server.token("nobody"));
        const troubles: (string | undefined)[] = [];
        const waits: number[] = [];
        const stop = new AbortController();
        await keepKubeconfig({
          ...{ source: source(), places: host.places(), log: silentLogger, signal: stop.signal, watched: [] },
          ...{ onGood: () => {}, onTrouble: (why) => void troubles.push(why), random: () => 0 },
          wait: async (milliseconds) => {
            waits.push(milliseconds);
            if (waits.length === 6) stop.abort();
          },
        });
        expect(troubles[0]).toMatch(/of no use, its token is refused: .*; and there is no other: no token for the CNI/);
        expect(waits).toEqual([5_000, 10_000, 20_000, 30_000, 30_000, 30_000]);
      },
    );

    test("is kept while the API server is away, and the file stays what it was", async () => {
      await renewKubeconfig(source(), host.places());
      const before = readFileSync(file(), "utf8");
      await server.kill();
      try {
        const { good } = await keep(2, () => {});
        expect(good).toBe(0);
        expect(readFileSync(file(), "utf8")).toBe(before);
      } finally {
        await server.restart();
      }
    });

    test("without a folder to be in is a trouble with files", async () => {
      const gone = { ...host.places(), netFolder: join(host.net, "gone") };
      await expect(renewKubeconfig(source(), gone)).rejects.toMatchObject({ code: "FILES" });
    });
  },
);
