/** Replaced at build time by build.mjs with the version of package.json. */
declare const CALICO_VERSION: string | undefined;

/** "v0.1.0"; "v0.0.0-source" when run from source. */
export const VERSION: string = typeof CALICO_VERSION === "string" ? CALICO_VERSION : "v0.0.0-source";
