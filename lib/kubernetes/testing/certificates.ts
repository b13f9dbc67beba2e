/** What a server and its users show each other, made on the spot: a CA, certificates under it, and a service-account key. */
import { spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";

/** Paths of PEM files. */
export interface Certificates {
  readonly caCert: string;
  readonly serverCert: string;
  readonly serverKey: string;
  /** User "admin" of group system:masters. */
  readonly adminCert: string;
  readonly adminKey: string;
  readonly accountKey: string;
  readonly accountPublicKey: string;
}

/** `names` are DNS names and addresses by which the server is reached. */
export function makeCertificates(folder: string, names: readonly string[]): Certificates {
  const authority = makeAuthority(folder, "ca");
  const server = issue(folder, authority, {
    file: "server",
    subject: "/CN=kube-apiserver",
    usage: "serverAuth",
    names,
  });
  const admin = issue(folder, authority, { file: "admin", subject: "/O=system:masters/CN=admin", usage: "clientAuth" });
  const account = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "sec1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const accountKey = join(folder, "account.key");
  const accountPublicKey = join(folder, "account.pub");
  writeFileSync(accountKey, account.privateKey, { mode: 0o600 });
  writeFileSync(accountPublicKey, account.publicKey);
  return {
    caCert: authority.cert,
    serverCert: server.cert,
    serverKey: server.key,
    adminCert: admin.cert,
    adminKey: admin.key,
    accountKey,
    accountPublicKey,
  };
}

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A self-signed CA in `folder`, in files that begin with `file`. */
export function makeAuthority(folder: string, file: string): Pair {
  const pair = { cert: join(folder, `${file}.crt`), key: join(folder, `${file}.key`) };
  openssl(
    ...["req", "-x509", "-days", "2", "-subj", `/CN=${file} of a test`, ...newKey(pair.key), "-out", pair.cert],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  );
  return pair;
}

interface Issue {
  readonly file: string;
  readonly subject: string;
  readonly usage: "serverAuth" | "clientAuth";
  readonly names?: readonly string[];
}

export function issue(folder: string, authority: Pair, { file, subject, usage, names = [] }: Issue): Pair {
  const pair = { cert: join(folder, `${file}.crt`), key: join(folder, `${file}.key`) };
  const request = join(folder, `${file}.csr`);
  const extensions = join(folder, `${file}.ext`);
  const alternatives = names.map((name) => `${isIP(name) ? "IP" : "DNS"}:${name}`).join(",");
  writeFileSync(
    extensions,
    `extendedKeyUsage=${usage}\n${alternatives === "" ? "" : `subjectAltName=${alternatives}\n`}`,
  );
  openssl("req", "-new", "-subj", subject, ...newKey(pair.key), "-out", request);
  openssl(
    ...["x509", "-req", "-days", "2", "-in", request, "-CA", authority.cert, "-CAkey", authority.key],
    ...["-CAcreateserial", "-extfile", extensions, "-out", pair.cert],
  );
  return pair;
}

const newKey = (file: string): string[] => [
  ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file],
];

function openssl(...args: string[]): void {
  const { status, stderr, error } = spawnSync("openssl", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${error?.message ?? stderr}`);
}

/** A JSON Web Token signed with a key file (ES256, RFC 7518 3.4). */
export function signToken(keyFile: string, claims: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "ES256", typ: "JWT" })}.${encode(claims)}`;
  const key = createPrivateKey(readFileSync(keyFile, "utf8"));
  const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}
