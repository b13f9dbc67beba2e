import { type Call, CliError } from "../../../lib/cli/index.ts";
import { type Address, tryParseAddress } from "../../../lib/ip/index.ts";

/** The value of --ip, or undefined when it was not given. */
export function addressOption(call: Call): Address | undefined {
  const text = call.args.text("ip");
  if (text === undefined) return undefined;
  const address = tryParseAddress(text);
  if (!address) throw new CliError("USAGE", `invalid IP address specified: ${text}`);
  return address;
}
