/** For tests: a node's folders, and what is in them. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Env, type Places, placesOf } from "./conflist.ts";

export interface FakeHost extends Disposable {
  /** Where the node's folders are "mounted". */
  readonly host: string;
  readonly bin: string;
  readonly net: string;
  /** The pod's service account. */
  readonly secrets: string;
  places(env?: Env): Places;
  /** Names in a folder, without the lock. */
  names(folder: string): string[];
}

export function fakeHost(): FakeHost {
  const root = mkdtempSync(join(tmpdir(), "install-test-"));
  const host = join(root, "host");
  const folders = { bin: join(host, "opt/cni/bin"), net: join(host, "etc/cni/net.d"), secrets: join(root, "secrets") };
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true });
  return {
    host,
    ...folders,
    places: (env = {}) => placesOf(env, host),
    names: (folder) =>
      readdirSync(folder)
        .filter((name) => name !== ".calico-install.lock")
        .sort(),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** An executable of some length, told from others by its seed. */
export function writeExecutable(path: string, seed: number, length = 3_000_000): void {
  writeFileSync(path, Buffer.alloc(length, `#!/bin/true ${seed}\n`), { mode: 0o755 });
}

/** A token that says of itself what it is asked to; nobody signed it. Milliseconds since 1970. */
export function fakeToken(issuedAt: number, expiresAt: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const seconds = (ms: number): number => Math.floor(ms / 1000);
  return `${part({ alg: "none" })}.${part({ iat: seconds(issuedAt), exp: seconds(expiresAt) })}.c2lnbmVk`;
}
