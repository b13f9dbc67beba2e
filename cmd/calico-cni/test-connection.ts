import { attachLogger, localHost, testDatastore } from "../../lib/attach/index.ts";
import { CniError, errorCode, parseJsonObject, parseNetworkConfig } from "../../lib/cni/index.ts";

/** `-t`: undefined when the datastore of the configuration can be used, else the error to print, as upstream words it. */
export async function testConnection(
  stdin: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<CniError | undefined> {
  try {
    const raw = parseJsonObject(stdin);
    // Only the datastore is of interest: a configuration whose other half is still to be written will do.
    const config = parseNetworkConfig({ name: "test", ...raw, ipam: { type: "calico-ipam" } });
    await testDatastore({ config }, localHost(env, attachLogger(config)));
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    const details = error instanceof CniError && error.details ? `${message}; ${error.details}` : message;
    return new CniError(errorCode.usage, "data store connection failed", details);
  }
}
