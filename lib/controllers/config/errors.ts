/** What is wrong with an environment variable of the controllers; the process cannot go on, as upstream's does not. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code = "CONTROLLERS_ENVIRONMENT";

  constructor(
    readonly variable: string,
    value: string,
    must: string,
  ) {
    super(`${variable}=${JSON.stringify(value)}: must be ${must}`);
  }
}
