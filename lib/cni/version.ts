/** Every released version of the specification, oldest first; the answer to VERSION. */
export const SUPPORTED_VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** The newest version, which is also the one that error objects carry when the caller's is not known. */
export const CURRENT_VERSION: CniVersion = "1.1.0";

/** What a configuration without `cniVersion` means; upstream's plugin takes 0.2.0. */
export const ABSENT_VERSION: CniVersion = "0.2.0";

export function isSupported(version: string): version is CniVersion {
  return (SUPPORTED_VERSIONS as readonly string[]).includes(version);
}

/** Whether `version` is `least` or newer. */
export function isAtLeast(version: CniVersion, least: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(least);
}
