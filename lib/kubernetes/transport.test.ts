import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openKubernetes } from "./client.ts";
import { failure, POD, PODS, SECRET, useFaultServer } from "./fault-bench.ts";
import { type FaultServer, type Handler, startFaultServer, status } from "./fault-server.ts";

const bench = useFaultServer();

/** Shows a certificate for another name. */
let wrongName: FaultServer;
beforeAll(async () => {
  wrongName = await startFaultServer(bench.certificates, undefined, bench.certificates.misnamed);
});
afterAll(() => wrongName?.close());

const authorization = () => bench.server.asked.map(({ headers }) => headers.authorization);

describe("connections", () => {
  test("refused: which server", async () => {
    const error = await failure(bench.open({ server: "https://127.0.0.1:1" }).create(PODS, {}));
    expect(error).toMatchObject({ code: "CONNECTION", doubtful: false });
    expect(error.message).toContain("connection refused: no API server listens at 127.0.0.1:1");
  });

  test("a name without an address", async () => {
    const error = await failure(bench.open({ server: "https://nowhere.invalid:6443" }).get(POD));
    expect(error.message).toContain("the name of nowhere.invalid:6443 cannot be resolved");
  });

  test("a CA that does not match", async () => {
    const error = await failure(bench.open({ ca: bench.certificates.otherCa }).get(POD));
    expect(error).toMatchObject({ code: "CONNECTION" });
    expect(error.message).toContain("the server's certificate was not issued by the configured CA (");
    const file = bench.certificates.write("wrong-ca.crt", bench.certificates.otherCa);
    expect((await failure(bench.open({ ca: { file } }).get(POD))).message).toContain(`configured CA in ${file}`);
    expect(bench.server.asked).toHaveLength(0);
  });

  test("no CA at all", async () => {
    const { ca: _, ...config } = bench.server.config;
    const kubernetes = openKubernetes(config);
    expect((await failure(kubernetes.get(POD))).message).toContain("names no CA; give it the cluster's");
    await kubernetes.close();
  });

  test("a certificate for another name, and tls-server-name for it", async () => {
    bench.server.handler = (_asked, answer) => answer.json({});
    const error = await failure(bench.open({ server: wrongName.url }).get(POD));
    expect(error.message).toContain(`the server's certificate is not for 127.0.0.1:${wrongName.port}`);
    await bench.open({ server: wrongName.url, serverName: "another.example" }).get(POD);
    const other = await failure(bench.open({ server: wrongName.url, serverName: "third.example" }).get(POD));
    expect(other.message).toContain('the server\'s certificate is not for "third.example"');
  });

  test("insecure-skip-tls-verify takes whatever certificate there is", async () => {
    const insecure = { server: wrongName.url, insecureSkipTlsVerify: true, auth: { type: "none" as const } };
    const kubernetes = openKubernetes(insecure);
    await kubernetes.get(POD);
    await kubernetes.close();
  });

  test("certificate and key that do not belong together are our own fault", async () => {
    const [a, b] = [bench.certificates.client("a"), bench.certificates.client("b")];
    const error = await failure(bench.open({ auth: { type: "certificate", cert: a.cert, key: b.key } }).get(POD));
    expect(error).toMatchObject({ code: "CONFIG" });
    expect(error.message).toContain("the client certificate and its key cannot be used");
  });

  test("a read goes on after its kept-alive connection was closed, a write says that it is in doubt", async () => {
    let drops = 1;
    const dropping: Handler = (_asked, answer) => (drops-- > 0 ? answer.drop() : answer.json({}));
    const kubernetes = bench.open({}, dropping);
    await kubernetes.get(POD);
    expect(bench.server.asked).toHaveLength(2);
    drops = 1;
    bench.server.asked.length = 0;
    const error = await failure(kubernetes.patch(POD, "merge", {}));
    expect(error).toMatchObject({ code: "CONNECTION", doubtful: true });
    expect(error.message).toContain(
      "the connection broke off before the answer was complete; the write may or may not",
    );
    expect(bench.server.asked).toHaveLength(1);
  });

  // fetch itself sends PUT and DELETE again, which HTTP calls idempotent; with a revision in them they are not.
  test.each(["PUT", "DELETE", "POST", "PATCH"] as const)(
    "a %s on a kept-alive connection that breaks is sent once",
    async (method) => {
      const kubernetes = bench.open({}, (asked, answer) => (asked.method === "GET" ? answer.json({}) : answer.drop()));
      await kubernetes.get(POD);
      bench.server.asked.length = 0;
      const error = await failure(
        kubernetes.request(method, "/api/v1/namespaces/default/pods/web-0", { body: { a: 1 } }),
      );
      expect(error).toMatchObject({ code: "CONNECTION", doubtful: true });
      expect(bench.server.asked.map((asked) => [asked.method, asked.body])).toEqual([[method, '{"a":1}']]);
    },
  );

  test("a server that does not answer", async () => {
    const kubernetes = bench.open({ timeout: 50 }, () => {});
    expect((await failure(kubernetes.get(POD))).message).toContain("get pods default/web-0: no answer within 0.05 s");
    expect(await failure(kubernetes.create(PODS, {}, { timeout: 30 }))).toMatchObject({ doubtful: true });
  });
});

describe("credentials", () => {
  test("an expired token: the file is read again and the request tried once more", async () => {
    const file = bench.certificates.write("token", "old");
    const knows = (token: string): Handler => {
      return (asked, answer) =>
        asked.headers.authorization === `Bearer ${token}`
          ? answer.json({})
          : answer.json(status(401, "Unauthorized", "Unauthorized"), 401);
    };
    const kubernetes = bench.open({ auth: { type: "tokenFile", file } }, knows("old"));
    await kubernetes.get(POD);
    bench.server.handler = knows("new");
    bench.certificates.write("token", "new\n");
    await kubernetes.create(PODS, {});
    await kubernetes.get(POD);
    expect(authorization()).toEqual(["Bearer old", "Bearer old", "Bearer new", "Bearer new"]);
    bench.server.handler = knows("third");
    bench.server.asked.length = 0;
    const error = await failure(kubernetes.get(POD));
    expect(error).toMatchObject({ code: "UNAUTHORIZED" });
    expect(error.message).toContain(`does not accept the credentials (the token in ${file}): renew them`);
    expect(bench.server.asked).toHaveLength(2);
  });

  test("a credential program is run again when its token is refused", async () => {
    const output = (token: string) =>
      JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token } });
    const file = bench.certificates.write("credential.json", output("old"));
    const auth = {
      type: "exec",
      apiVersion: "client.authentication.k8s.io/v1",
      command: "cat",
      args: [file],
      env: {},
      provideClusterInfo: false,
      interactiveMode: "Never",
    } as const;
    const kubernetes = bench.open({ auth }, (_asked, answer) => answer.json({}));
    await kubernetes.get(POD);
    bench.certificates.write("credential.json", output("new"));
    bench.server.handler = (asked, answer) =>
      asked.headers.authorization === "Bearer new"
        ? answer.json({})
        : answer.json(status(401, "Unauthorized", "Unauthorized"), 401);
    await kubernetes.get(POD);
    expect(authorization()).toEqual(["Bearer old", "Bearer old", "Bearer new"]);
  });

  test("a credential program that takes too long holds no request beyond its time, nor one that is called off", async () => {
    const file = `${bench.certificates.folder}/slow-program`;
    const auth = {
      type: "exec",
      apiVersion: "client.authentication.k8s.io/v1",
      command: "sh",
      args: ["-c", `echo $$ >${file}; exec sleep 600`],
      env: {},
      provideClusterInfo: false,
      interactiveMode: "Never",
    } as const;
    const kubernetes = bench.open({ auth }, (_asked, answer) => answer.json({}));
    try {
      const error = await failure(kubernetes.create(PODS, {}, { timeout: 200 }));
      expect(error).toMatchObject({ code: "CONNECTION", doubtful: false });
      expect(error.message).toContain("no credentials within 0.2 s");
      const ending = new AbortController();
      const pending = kubernetes.get(POD, { signal: ending.signal });
      ending.abort(new Error("called off"));
      await expect(pending).rejects.toThrow("called off");
      expect(bench.server.asked).toHaveLength(0);
    } finally {
      process.kill(Number(readFileSync(file, "utf8")), "SIGKILL");
    }
  });

  test("what cannot change is not tried again", async () => {
    const refusing: Handler = (_asked, answer) => answer.json(status(401, "Unauthorized", "Unauthorized"), 401);
    const kubernetes = bench.open({ auth: { type: "token", token: SECRET } }, refusing);
    expect(await failure(kubernetes.get(POD))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(bench.server.asked).toHaveLength(1);
  });

  test("a client certificate that was renewed is shown after the old one was refused", async () => {
    const [old, renewed] = [bench.certificates.client("old"), bench.certificates.client("renewed")];
    const write = ({ cert, key }: typeof old) => ({
      cert: { file: bench.certificates.write("client.crt", cert) },
      key: { file: bench.certificates.write("client.key", key) },
    });
    const kubernetes = bench.open({ auth: { type: "certificate", ...write(old) } }, (_asked, answer) =>
      answer.json({}),
    );
    await kubernetes.get(POD);
    bench.server.handler = (asked, answer) =>
      asked.client === "renewed" ? answer.json({}) : answer.json(status(401, "Unauthorized", "expired"), 401);
    write(renewed);
    await kubernetes.get(POD);
    expect(bench.server.asked.map(({ client }) => client)).toEqual(["old", "old", "renewed"]);
  });

  test("a CA that was renewed is read when the old one no longer fits", async () => {
    const file = bench.certificates.write("ca-now.crt", bench.certificates.otherCa);
    const kubernetes = bench.open({ ca: { file } }, (_asked, answer) => answer.json({}));
    expect(await failure(kubernetes.get(POD))).toMatchObject({ code: "CONNECTION" });
    bench.certificates.write("ca-now.crt", bench.certificates.ca);
    await kubernetes.get(POD);
  });
});
