import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { NO_SPEC } from "./checks.ts";

export interface Secret extends Resource<"Secret"> {
  /** Absent is Opaque. */
  type?: string;
  /** Base64. */
  data?: Record<string, string | null>;
  /** Only in what is given: it becomes `data`. */
  stringData?: Record<string, string | null>;
  immutable?: boolean;
}

const fields = s.lazy(() =>
  s.object({
    type: s.optional(s.string({ doc: "What it is for; some types must have certain keys." })),
    data: s.optional(
      s.map(s.nullable(s.string()), { doc: "The values, in base64 (RFC 4648, section 4).", secret: true }),
    ),
    stringData: s.optional(
      s.map(s.nullable(s.string()), { doc: "Values as text; written to data, where they win.", secret: true }),
    ),
    immutable: s.optional(s.boolean({ doc: "The values cannot be changed any more." })),
  }),
);

export const DEFAULT_SECRET_TYPE = "Opaque";
/** All values together, in bytes. */
const MAX_SIZE = 1024 * 1024;
const MAX_KEY = 253;

/** Which keys a type of secret must have: all of a list (pkg/apis/core/validation, ValidateSecret). */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
};

/** Passwords, keys and certificates. No value of one is ever in a message or a table. */
export const Secret: Kind<Secret> = {
  kind: "Secret",
  apiVersion: "v1",
  plural: "secrets",
  namespaced: true,
  aliases: [],
  doc: "Passwords, keys and certificates. No value of one is ever in a message or a table.",
  verbatim: true,
  spec: NO_SPEC,
  get fields() {
    return fields();
  },
  complete(secret) {
    secret.type ||= DEFAULT_SECRET_TYPE;
    const { stringData, data } = secret;
    if (stringData === undefined || !isTexts(stringData) || !(data === undefined || isTexts(data))) return;
    const encoded = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(text ?? "").toString("base64")]);
    delete secret.stringData;
    if (encoded.length > 0) secret.data = Object.fromEntries([...Object.entries(data ?? {}), ...encoded]);
  },
  check({ type = DEFAULT_SECRET_TYPE, data = {}, metadata }) {
    const problems: s.Problem[] = [];
    const complain = (path: string, message: string) => problems.push({ path, value: undefined, message });
    let size = 0;
    for (const key of Object.keys(data)) {
      const path = `data[${JSON.stringify(key)}]`;
      if (key.length > MAX_KEY || !/^[-._a-zA-Z0-9]+$/.test(key) || key === "." || key.startsWith(".."))
        complain(path, `has a key that must be at most ${MAX_KEY} letters, digits, -, _ and .`);
      const value = (data[key] ?? "").replace(/[\r\n]/g, "");
      if (!isBase64(value)) complain(path, "must be base64; put a text under stringData instead");
      size += (value.length / 4) * 3 - (value.length - value.replace(/=+$/, "").length);
    }
    if (size > MAX_SIZE) complain("data", `must be at most ${MAX_SIZE} bytes together, not ${size}`);
    for (const key of Object.hasOwn(KEYS, type) ? KEYS[type]! : []) {
      if (!Object.hasOwn(data, key))
        complain(`data[${JSON.stringify(key)}]`, `is missing; a secret of the type ${type} must have it`);
    }
    if (type === "kubernetes.io/basic-auth" && !("username" in data || "password" in data))
      complain("data", `must have username or password in a secret of the type ${type}`);
    const account = "kubernetes.io/service-account.name";
    if (type === "kubernetes.io/service-account-token" && !metadata.annotations?.[account])
      complain(`metadata.annotations["${account}"]`, `is missing; a secret of the type ${type} must have it`);
    return problems;
  },
  checkUpdate(secret, previous) {
    const problems: s.Problem[] = [];
    const { type = DEFAULT_SECRET_TYPE } = secret;
    const { type: before = DEFAULT_SECRET_TYPE } = previous;
    if (type !== before) {
      const message = `cannot change from ${before}; delete the secret and make it anew`;
      problems.push({ path: "type", value: type, message });
    }
    if (previous.immutable !== true) return problems;
    const path = secret.immutable === true ? "data" : "immutable";
    if (path === "immutable" || !isSame(secret.data ?? {}, previous.data ?? {})) {
      const message = "cannot change in an immutable secret; delete it and make it anew";
      problems.push({ path, value: undefined, message });
    }
    return problems;
  },
  get columns(): Columns<Secret> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "TYPE", value: ({ type }) => type ?? DEFAULT_SECRET_TYPE },
      { title: "DATA", value: ({ data }) => String(Object.keys(data ?? {}).length) },
    ];
  },
};

function isTexts(map: unknown): map is Record<string, string | null> {
  if (typeof map !== "object" || map === null || Array.isArray(map)) return false;
  return Object.values(map).every((value) => typeof value === "string" || value === null);
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);

function isSame(a: Record<string, string | null>, b: Record<string, string | null>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
