/** The flags of upstream's `calico-node` up to 3.31, which its manifests and images call, and what they are called here. */
const LEGACY: Readonly<Record<string, readonly string[]>> = {
  felix: ["felix"],
  confd: ["confd"],
  "confd-run-once": ["confd", "--run-once"],
  init: ["init"],
  "best-effort": ["init", "--best-effort"],
  startup: ["startup"],
  shutdown: ["shutdown"],
  "complete-startup": ["complete-startup"],
  "monitor-addresses": ["monitor-addresses"],
  "allocate-tunnel-addrs": ["allocate-tunnel-addrs"],
  "allocate-tunnel-addrs-run-once": ["allocate-tunnel-addrs", "--run-once"],
  "monitor-token": ["monitor-token"],
  "status-reporter": ["status-reporter"],
  "hostpath-init": ["hostpath-init"],
  "felix-live": ["health", "--felix-live"],
  "felix-ready": ["health", "--felix-ready"],
  "bird-live": ["health", "--bird-live"],
  "bird6-live": ["health", "--bird6-live"],
  "bird-ready": ["health", "--bird-ready"],
  "bird6-ready": ["health", "--bird6-ready"],
  "threshold-time": ["health", "--threshold-time"],
};

/** A legacy command line in today's words: `-felix-live -bird-live` is `health --felix-live --bird-live`. Go reads flags with one dash as with two. */
export function modern(argv: readonly string[]): string[] {
  if (argv.length === 0) return ["run"];
  const words: string[] = [];
  let command: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const flag = /^--?([a-z0-9-]+)(?:=(.*))?$/.exec(argv[i]!);
    const [meant, option] = LEGACY[flag?.[1] ?? ""] ?? [];
    if (!flag || meant === undefined) return [...argv];
    if (flag[2] === "false") continue;
    // `-startup -complete-startup` does one after the other, as `startup` does here.
    if (command === undefined || option !== undefined) command = meant;
    if (option === undefined) continue;
    words.push(option);
    if (option === "--threshold-time") words.push(flag[2] ?? argv[++i] ?? "");
  }
  return command === undefined ? [...argv] : [command, ...words];
}
