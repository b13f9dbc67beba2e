import { CliError } from "./errors.ts";

/** One object of an input, and where it came from. */
export interface Document {
  /** File name, or `standard input`. */
  readonly source: string;
  /** Which document of the source, from 1. */
  readonly index: number;
  /** Which item of a document that holds several, from 1. */
  readonly item?: number;
  /** Line where the document begins, from 1. */
  readonly line: number;
  readonly value: Readonly<Record<string, unknown>>;
}

/** `pool.yaml: document 2 (IPPool "a")`, to be put before what is wrong with it. */
export function describeDocument(document: Document): string {
  const item = document.item === undefined ? "" : `, item ${document.item}`;
  return `${document.source}: document ${document.index}${item}${titleOf(document.value)}`;
}

function titleOf(value: Readonly<Record<string, unknown>>): string {
  const metadata = value.metadata as { name?: unknown } | null | undefined;
  const kind = typeof value.kind === "string" ? value.kind : undefined;
  const name = typeof metadata?.name === "string" ? JSON.stringify(metadata.name) : undefined;
  const title = [kind, name].filter((part) => part !== undefined).join(" ");
  return title === "" ? "" : ` (${title})`;
}

/**
 * Reads YAML or JSON, of one document or many. A list (`kind: IPPoolList`, `kind: List`, or a bare sequence) comes out as
 * its items; the items of a list of one kind are of that kind when they do not say. Empty documents are skipped.
 * Integers that a double cannot hold come out as bigint. Throws CliError DOCUMENT that names source, document and line.
 */
export async function readDocuments(text: string, source: string): Promise<Document[]> {
  const parsed = parseOneJson(text) ?? (await parseYaml(text, source));
  return parsed.flatMap((document) => itemsOf(source, document));
}

interface Parsed {
  readonly index: number;
  readonly line: number;
  readonly value: unknown;
}

/** JSON is YAML but for tabs and speed; anything that is not exactly one JSON value is left to the YAML reader. */
function parseOneJson(text: string): Parsed[] | undefined {
  const start = text.search(/\S/);
  if (start < 0 || (text[start] !== "{" && text[start] !== "[")) return undefined;
  try {
    const value: unknown = JSON.parse(text, exactInteger);
    return [{ index: 1, line: text.slice(0, start).split("\n").length, value }];
  } catch {
    return undefined;
  }
}

function exactInteger(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || Number.isSafeInteger(value) || source === undefined) return value;
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

async function parseYaml(text: string, source: string): Promise<Parsed[]> {
  const { LineCounter, parseAllDocuments } = await import("yaml");
  const lineCounter = new LineCounter();
  // Errors are reworded below, with the name of the source; yaml's own pretty text would repeat the position.
  const documents = parseAllDocuments(text, { intAsBigInt: true, merge: true, lineCounter, prettyErrors: false });
  const parsed: Parsed[] = [];
  if (!Array.isArray(documents)) return parsed;
  for (const [at, document] of documents.entries()) {
    const index = at + 1;
    const error = document.errors[0];
    if (error) {
      const { line, col } = lineCounter.linePos(error.pos[0]);
      throw bad(`${source}: document ${index}: line ${line}, column ${col}: ${error.message}`, error);
    }
    const begin = document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
    let value: unknown;
    try {
      value = narrow(document.toJS({ maxAliasCount: 100 }));
    } catch (cause) {
      throw bad(`${source}: document ${index}: ${(cause as Error).message}`, cause);
    }
    parsed.push({ index, line: lineCounter.linePos(begin).line, value });
  }
  return parsed;
}

/** Integers that fit a double become numbers again. */
function narrow(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (Array.isArray(value)) return value.map(narrow);
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, narrow(field)]));
}

function itemsOf(source: string, { index, line, value }: Parsed): Document[] {
  if (value === null || value === undefined) return [];
  const here = { source, index, line };
  if (Array.isArray(value)) return value.map((item, at) => object({ ...here, item: at + 1 }, item));
  const document = object(here, value);
  const { kind, items, apiVersion } = document.value;
  if (typeof kind !== "string" || !kind.endsWith("List")) return [document];
  if (items === null || items === undefined) return [];
  if (!Array.isArray(items)) throw bad(`${describeDocument(document)}: items: must be a sequence of objects`);
  const defaults = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
  return items.map((item, at) => {
    const entry = object({ ...here, item: at + 1 }, item);
    return { ...entry, value: { ...defaults, ...entry.value } };
  });
}

function object(where: Omit<Document, "value">, value: unknown): Document {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return { ...where, value: withTextLabels(value as Record<string, unknown>) };
  }
  const found = Array.isArray(value)
    ? "a sequence"
    : `the ${typeof value} ${JSON.stringify(String(value).slice(0, 60))}`;
  throw bad(
    `${describeDocument({ ...where, value: {} })}: must be an object with apiVersion, kind and metadata, not ${found}`,
  );
}

/**
 * `rack: 1` and `route-reflector: true` are labels too: upstream's YAML reader makes text of a scalar where text is wanted, and files that say so are
 * about. What is no scalar stays, for the kind to refuse.
 */
function withTextLabels(value: Record<string, unknown>): Record<string, unknown> {
  const { metadata } = value;
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return value;
  const texts = (map: unknown): unknown => {
    if (typeof map !== "object" || map === null || Array.isArray(map)) return map;
    const isScalar = (one: unknown): boolean => ["number", "bigint", "boolean"].includes(typeof one);
    return Object.fromEntries(Object.entries(map).map(([key, one]) => [key, isScalar(one) ? String(one) : one]));
  };
  const { labels, annotations } = metadata as Record<string, unknown>;
  return {
    ...value,
    metadata: {
      ...metadata,
      ...(labels !== undefined && { labels: texts(labels) }),
      ...(annotations !== undefined && { annotations: texts(annotations) }),
    },
  };
}

function bad(message: string, cause?: unknown): CliError {
  return new CliError("DOCUMENT", message, cause === undefined ? undefined : { cause });
}
