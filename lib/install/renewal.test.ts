import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Metrics } from "../telemetry/daemon.ts";
import { addTokenMetrics, lifeOf, renderKubeconfig } from "./index.ts";
import { readKubeconfig } from "./kubeconfig.ts";
import { isNear, renewAt, whyRenew } from "./renewal.ts";
import { fakeHost, fakeToken } from "./testing.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2030, 0, 1);
const life = { issuedAt: START, expiresAt: START + 24 * HOUR };
const endpoint = {
  server: "https://10.96.0.1:443",
  ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
};

function file(changes: object = {}) {
  const token = fakeToken(life.issuedAt, life.expiresAt);
  const text = renderKubeconfig({ ...endpoint, token, ...changes });
  const access = readKubeconfig(text)!;
  return { text, access, life: lifeOf(access.token) };
}

describe("a kubeconfig", () => {
  test("is read as it was written", () => {
    const { access } = file();
    expect(access).toMatchObject({ ...endpoint, token: fakeToken(life.issuedAt, life.expiresAt) });
    expect(lifeOf(access.token)).toEqual(life);
  });

  test("of a server whose certificate is not verified says so", () => {
    const { text, access } = file({ ca: undefined, insecureSkipTlsVerify: true });
    expect(text).toContain("insecure-skip-tls-verify: true");
    expect(access.insecureSkipTlsVerify).toBe(true);
  });

  test.each(["", "a.b", "a.b.c.d", "a.!!.c", `a.${Buffer.from("[]").toString("base64url")}.c`])(
    "the token %j says nothing of its life",
    (token) => {
      expect(lifeOf(token)).toBeUndefined();
    },
  );

  test("whatever is in the file, reading it does not throw", () => {
    fc.assert(fc.property(fc.string(), (text) => void readKubeconfig(text)));
    fc.assert(fc.property(fc.string(), (text) => void lifeOf(text)));
  });
});

describe("a new token is due", () => {
  const why = (now: number, changes: object = {}, of: ReturnType<typeof file> | undefined = file()) =>
    whyRenew({ file: of, endpoint, now, share: 0, ...changes })?.why;

  test("from half of its life on", () => {
    expect(why(START + 12 * HOUR - 1)).toBeUndefined();
    expect(why(START + 12 * HOUR)).toMatch(/second half/);
    expect(why(START + 24 * HOUR)).toMatch(/expired/);
  });

  test("after the interval that was asked for", () => {
    expect(why(START + HOUR - 1, { interval: HOUR })).toBeUndefined();
    expect(why(START + HOUR, { interval: HOUR })).toBeDefined();
  });

  test("when there is none, or it is for another server, CA or mind", () => {
    const now = START + 1;
    expect(whyRenew({ file: undefined, endpoint, now, share: 0 })?.why).toMatch(/no file/);
    expect(why(now, { endpoint: { ...endpoint, server: "https://10.96.0.1:6443" } })).toMatch(/6443/);
    expect(why(now, { endpoint: { ...endpoint, ca: "another" } })).toMatch(/CA/);
    expect(why(now, { endpoint: { server: endpoint.server, ca: endpoint.ca, insecureSkipTlsVerify: true } })).toMatch(
      /verified/,
    );
    expect(why(now, { refused: "401" })).toMatch(/refused: 401/);
  });

  test("and the file is of no use meanwhile, unless the reason is only its age", () => {
    const isGood = (now: number, changes: object = {}) =>
      whyRenew({ file: file(), endpoint, now, share: 0, ...changes })?.isGood;
    expect(isGood(START + 12 * HOUR)).toBe(true);
    expect(isGood(START + 24 * HOUR)).toBe(false);
    expect(isGood(START + 1, { refused: "401" })).toBe(false);
    expect(isGood(START + 1, { endpoint: { ...endpoint, ca: "another" } })).toBe(false);
  });

  test("at a time that leaves room to fail, for every node, life and interval", () => {
    const lives = fc.record({
      length: fc.integer({ min: 600, max: 1e8 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        lives,
        fc.option(fc.integer({ min: 1, max: 1e12 }), { nil: undefined }),
        ({ length, share }, interval) => {
          const some = { issuedAt: START, expiresAt: START + length };
          const at = renewAt(some, share, interval);
          expect(at).toBeGreaterThan(START);
          expect(isNear(some, at)).toBe(false);
        },
      ),
    );
  });
});

describe("the metric", () => {
  test("tells when the token in the file expires, and nothing where there is none", () => {
    using host = fakeHost();
    const metrics = new Metrics();
    addTokenMetrics(metrics, {}, host.host);
    expect(metrics.text()).toBe("");
    writeFileSync(join(host.net, "calico-kubeconfig"), file().text);
    expect(metrics.text()).toContain(
      `calico_cni_token_expiry_timestamp_seconds ${(life.expiresAt / 1000).toExponential().replace("e+9", "e+09")}`,
    );
    writeFileSync(join(host.net, "calico-kubeconfig"), "{");
    expect(metrics.text()).toBe("");
    expect(readFileSync(join(host.net, "calico-kubeconfig"), "utf8")).toBe("{");
  });
});
