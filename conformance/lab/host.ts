import { run } from "./process.ts";

/** What the machine's own network namespace looks like, as text that is the same as long as nobody changes it. */
export interface HostNetwork {
  readonly links: string;
  readonly addresses: string;
  readonly routes: string;
  readonly rules: string;
}

/** Reads the links, addresses, routes and rules of the network namespace the caller is in, without what only counts down. */
export async function hostNetwork(): Promise<HostNetwork> {
  const ip = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(["ip", ...args]);
    return stdout.replaceAll(/(expires|valid_lft|preferred_lft) \d+sec/g, "$1 …");
  };
  const [links, addresses, ...others] = await Promise.all([
    ip("-d", "link", "show"),
    ip("address", "show"),
    ip("-4", "route", "show", "table", "all"),
    ip("-6", "route", "show", "table", "all"),
    ip("-4", "rule"),
    ip("-6", "rule"),
  ]);
  const [routes4 = "", routes6 = "", rules4 = "", rules6 = ""] = others;
  return { links, addresses, routes: routes4 + routes6, rules: rules4 + rules6 };
}
