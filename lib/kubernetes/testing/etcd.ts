/** The API server's etcd, past the API server: through its JSON gateway, on its unix socket. */
export class EtcdKeys {
  constructor(readonly socket: string) {}

  async healthy(): Promise<boolean> {
    await this.#call("/v3/kv/range", { key: base64("health") });
    return true;
  }

  async compact(): Promise<void> {
    const answer = (await this.#call("/v3/kv/range", { key: base64("health") })) as { header: { revision: string } };
    await this.#call("/v3/kv/compaction", { revision: answer.header.revision, physical: true });
  }

  async write(key: string, value: object | undefined): Promise<void> {
    if (value === undefined) await this.#call("/v3/kv/deleterange", { key: base64(key) });
    else await this.#call("/v3/kv/put", { key: base64(key), value: base64(JSON.stringify(value)) });
  }

  async #call(path: string, body: object): Promise<unknown> {
    const response = await fetch(`http://localhost${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      unix: this.socket,
      signal: AbortSignal.timeout(5000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${path}: ${text}`);
    return JSON.parse(text) as unknown;
  }
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
