/** The effective user id of this process. */
export function geteuid(): number {
  return process.geteuid?.() ?? -1;
}

/** Whether the effective user is root. Says nothing about single capabilities. */
export function isRoot(): boolean {
  return geteuid() === 0;
}
