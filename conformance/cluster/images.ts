/**
 * Images made on the spot, as OCI archives: the files of the machine, and nothing else. No registry is involved.
 * (OCI image-spec 1.0: image-layout.md, manifest.md, config.md, layer.md; the archive is POSIX.1-1988 ustar.)
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, realpathSync, statSync } from "node:fs";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { run } from "../lab/index.ts";

export interface Image {
  /** With a tag: "cluster.test/busybox:1". A kubelet takes a tag other than "latest" from what was imported. */
  readonly name: string;
  /** In their order; folders are made as needed, with mode 755. */
  readonly files: readonly ImageFile[];
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface ImageFile {
  /** Without a slash in front. */
  readonly path: string;
  /** A file of the machine, or a text, or where a symbolic link leads to; none: an empty folder. */
  readonly from?: string;
  readonly text?: string;
  readonly link?: string;
  /** Default: the mode of `from`; 644 for a text; 755 for a folder. */
  readonly mode?: number;
}

const BLOCK = 512;

/** Writes an image's archive to a file, which `ctr images import` takes. */
export async function writeImage(image: Image, file: string): Promise<void> {
  const entries = withFolders(image.files);
  const size = tarSize(entries);
  const hash = createHash("sha256");
  await writeEntries(entries, async (chunk) => void hash.update(chunk));
  const layer = hash.digest("hex");

  const config = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: {
      Env: Object.entries({ PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...image.env }).map((pair) => pair.join("=")),
      ...(image.command === undefined ? {} : { Cmd: image.command }),
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
  });
  const descriptor = (mediaType: string, digest: string, length: number, more: object = {}): object => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: `sha256:${digest}`,
    size: length,
    ...more,
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("config.v1+json", sha256(config), config.length),
    layers: [descriptor("layer.v1.tar", layer, size)],
  });
  const index = JSON.stringify({
    schemaVersion: 2,
    manifests: [
      descriptor("manifest.v1+json", sha256(manifest), manifest.length, {
        annotations: { "io.containerd.image.name": image.name },
      }),
    ],
  });

  const output = createWriteStream(file);
  const write = (chunk: Uint8Array): Promise<void> => send(output, chunk);
  const blob = (text: string): TarEntry => ({ path: `blobs/sha256/${sha256(text)}`, mode: 0o644, text });
  const outer: TarEntry[] = [
    { path: "oci-layout", mode: 0o644, text: JSON.stringify({ imageLayoutVersion: "1.0.0" }) },
    { path: "index.json", mode: 0o644, text: index },
    blob(manifest),
    blob(config),
  ];
  for (const entry of outer) await writeEntry(entry, write);
  await write(header({ path: `blobs/sha256/${layer}`, mode: 0o644 }, size, "0"));
  await writeEntries(entries, write);
  await write(new Uint8Array(2 * BLOCK));
  output.end();
  await finished(output);
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Executables of the machine under the paths they have there, with the libraries that they are linked with. */
export async function withLibraries(...executables: readonly string[]): Promise<ImageFile[]> {
  const paths = new Set<string>();
  for (const executable of executables) {
    paths.add(executable);
    const { stdout } = await run(["ldd", executable]);
    for (const [, library] of stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)) paths.add(library!);
  }
  return [...paths].map((path) => ({ path: path.slice(1), from: realpathSync(path) }));
}

interface TarEntry extends ImageFile {
  readonly mode: number;
}

/** Modes are known, and every folder comes before what is in it. */
function withFolders(files: readonly ImageFile[]): TarEntry[] {
  const seen = new Set<string>();
  const entries: TarEntry[] = [];
  for (const file of files) {
    const words = file.path.split("/");
    for (let depth = 1; depth < words.length; depth++) {
      const folder = words.slice(0, depth).join("/");
      if (!seen.has(folder)) entries.push({ path: folder, mode: 0o755 });
      seen.add(folder);
    }
    if (seen.has(file.path)) continue;
    seen.add(file.path);
    const usual = file.from !== undefined ? statSync(file.from).mode & 0o7777 : file.text !== undefined ? 0o644 : 0o755;
    entries.push({ ...file, mode: file.mode ?? usual });
  }
  return entries;
}

const lengthOf = ({ from, text }: TarEntry): number =>
  from !== undefined ? statSync(from).size : Buffer.byteLength(text ?? "");
const padded = (length: number): number => Math.ceil(length / BLOCK) * BLOCK;
const tarSize = (entries: readonly TarEntry[]): number =>
  entries.reduce((sum, entry) => sum + BLOCK + padded(lengthOf(entry)), 2 * BLOCK);

type Write = (chunk: Uint8Array) => Promise<void>;

/** A whole archive, padded to blocks by nature. */
async function writeEntries(entries: readonly TarEntry[], write: Write): Promise<void> {
  for (const entry of entries) await writeEntry(entry, write);
  await write(new Uint8Array(2 * BLOCK));
}

async function writeEntry(entry: TarEntry, write: Write): Promise<void> {
  const { from, text, link } = entry;
  const length = lengthOf(entry);
  const type = link !== undefined ? "2" : from !== undefined || text !== undefined ? "0" : "5";
  await write(header(entry, length, type));
  if (from !== undefined)
    for await (const chunk of createReadStream(from, { highWaterMark: 1 << 20 })) await write(chunk);
  else if (text !== undefined) await write(Buffer.from(text));
  if (padded(length) > length) await write(new Uint8Array(padded(length) - length));
}

/** A ustar header. The same files make the same archive: nothing of the time is in it. */
function header({ path, mode, link = "" }: TarEntry, length: number, type: "0" | "2" | "5"): Uint8Array {
  const name = type === "5" ? `${path}/` : path;
  if (Buffer.byteLength(name) > 100 || Buffer.byteLength(link) > 100)
    throw new Error(`${name}: too long for a ustar header`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, "0")}\0`;
  const fields: readonly (readonly [offset: number, text: string])[] = [
    ...([
      [0, name],
      [100, octal(mode, 8)],
      [108, octal(0, 8)],
      [116, octal(0, 8)],
    ] as const),
    ...([
      [124, octal(length, 12)],
      [136, octal(0, 12)],
      [148, "        "],
      [156, type],
    ] as const),
    ...([
      [157, link],
      [257, "ustar\x0000"],
    ] as const),
  ];
  for (const [offset, text] of fields) block.write(text, offset, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function send(output: Writable, chunk: Uint8Array): Promise<void> {
  if (output.write(chunk)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    output.once("drain", () => {
      output.off("error", reject);
      resolve();
    });
    output.once("error", reject);
  });
}
