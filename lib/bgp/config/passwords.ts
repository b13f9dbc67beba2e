import type { Secret } from "../../api/kubernetes/index.ts";

/** A reference to a value of a Secret, as BGPPeer and BGPConfiguration have it. */
export interface PasswordField {
  readonly secretKeyRef?: { readonly name?: string; readonly key: string; readonly optional?: boolean };
}

/** What there is at a reference: a password; nothing, as none is asked for; or why it cannot be had. Never with a value of the Secret in words. */
export interface Password {
  readonly password?: string;
  readonly missing?: string;
}

export const NO_PASSWORD: Password = {};

/** TCP MD5 (RFC 2385) on Linux takes no longer key: TCP_MD5SIG_MAXKEYLEN, in bytes. */
const MAX_LENGTH = 80;

export const DEFAULT_NAMESPACE = "kube-system";

/**
 * Looks passwords up. Upstream connects without a password where it cannot read one; here there is no session then, as who asks for
 * authentication does not mean it to go away with a Secret. A reference that is `optional` says that it may.
 */
export function passwords(
  secrets: Iterable<Secret> | undefined,
  namespace: string,
): (field: PasswordField | undefined) => Password {
  const byName = new Map<string, Secret>();
  for (const secret of secrets ?? []) {
    if (secret.metadata.namespace === namespace) byName.set(secret.metadata.name, secret);
  }
  return (field) => {
    const ref = field?.secretKeyRef;
    if (!ref) return NO_PASSWORD;
    if (!ref.name) return { missing: "names no Secret" };
    const where = `Secret ${namespace}/${ref.name}`;
    const data = byName.get(ref.name)?.data;
    const encoded = data && Object.hasOwn(data, ref.key) ? data[ref.key] : undefined;
    if (encoded === undefined && ref.optional) return NO_PASSWORD;
    if (!byName.has(ref.name)) return { missing: `${where} is not there or may not be read` };
    if (encoded === undefined) return { missing: `${where} has no key ${JSON.stringify(ref.key)}` };
    const bytes = Buffer.from(encoded ?? "", "base64");
    const password = bytes.toString("utf8");
    if (!Buffer.from(password).equals(bytes))
      return { missing: `${where}: the value of ${JSON.stringify(ref.key)} is no text` };
    if (bytes.length === 0) return { missing: `${where} has nothing under the key ${JSON.stringify(ref.key)}` };
    if (bytes.length > MAX_LENGTH) {
      return { missing: `${where}: the value of ${JSON.stringify(ref.key)} is longer than ${MAX_LENGTH} bytes` };
    }
    return { password };
  };
}
