/** The kubeconfig of the CNI plugin: what it says, and how long its token is good. Pure. */
import { type ClusterConfig, loadKubeconfig } from "../kubernetes/index.ts";

/** How the plugin reaches the API server, and how it is let in. */
export interface PluginAccess {
  readonly server: string;
  /** PEM. Absent: the system's. */
  readonly ca?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean;
  readonly token: string;
}

/** The file's text; upstream's, but for the comment. */
export function renderKubeconfig({ server, ca, insecureSkipTlsVerify, token }: PluginAccess): string {
  const trust = insecureSkipTlsVerify
    ? "    insecure-skip-tls-verify: true\n"
    : ca === undefined
      ? ""
      : `    certificate-authority-data: ${JSON.stringify(Buffer.from(ca).toString("base64"))}\n`;
  return `# Of the CNI plugin. calico-node writes it, and renews the token.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: ${server}
${trust}users:
- name: calico
  user:
    token: ${token}
contexts:
- name: calico-context
  context:
    cluster: local
    user: calico
current-context: calico-context
`;
}

/** From when to when a token is good, in milliseconds since 1970. */
export interface TokenLife {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** What a token says of itself (RFC 7519, 4.1.4 and 4.1.6). Undefined: it is none that expires. */
export function lifeOf(token: string): TokenLife | undefined {
  const [, claims, signature, ...more] = token.split(".");
  if (!claims || !signature || more.length > 0) return undefined;
  try {
    const { exp, iat, nbf } = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
    if (typeof exp !== "number") return undefined;
    const issued = typeof iat === "number" ? iat : typeof nbf === "number" ? nbf : exp;
    return { issuedAt: issued * 1000, expiresAt: exp * 1000 };
  } catch {
    return undefined;
  }
}

/** The access that a kubeconfig's text gives; undefined when it gives none by a token. */
export function readKubeconfig(text: string): (PluginAccess & { readonly config: ClusterConfig }) | undefined {
  let config: ClusterConfig;
  try {
    config = loadKubeconfig({ text });
  } catch {
    return undefined;
  }
  const { server, ca, insecureSkipTlsVerify = false, auth } = config;
  if (auth.type !== "token" || typeof ca === "object") return undefined;
  return { server, ca, insecureSkipTlsVerify, token: auth.token, config };
}
