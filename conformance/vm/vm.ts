import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT, missingTool } from "../lab/index.ts";

/** What scripts/setup-vm leaves. */
const BUILT = join(CHECKOUT, ".cache/vm");

export interface VmOptions {
  /** Working directory. Default: the checkout. */
  readonly cwd?: string;
  /** The whole environment, beside PATH, HOME and LANG: nothing of the caller's own is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds from the start of the machine until it is ended as if by a power cut. Default: 300,000. */
  readonly timeout?: number;
  /** Megabytes; files that are written live there, too. Default: 2048. */
  readonly memory?: number;
  /** Processors. Default: 2. */
  readonly processors?: number;
  /** A TCP port of the machine's loopback; in the virtual machine it is reached at {@link MACHINE}. Default: none, and no network. */
  readonly port?: number;
  /** Text files that are in {@link FILES}, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

/** What the virtual machine knows the machine by, where it is given a port. */
export const MACHINE = "10.0.2.100";
/** Where the virtual machine has its `files`. */
export const FILES = "/run/exchange/files";

/** How the command ended and what it said. */
export interface VmOutcome {
  /** Exit status; 128 + n when signal n ended it, as a shell reports it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The machine ended, or was ended, before the command did. */
export class VmError extends Error {
  override readonly name = "VmError";
  readonly code = "VM_ENDED";

  /** `console`: what its kernel said last; `said`: what the command had written so far. */
  constructor(
    why: string,
    readonly console: string,
    readonly said: string,
  ) {
    super(`VM_ENDED: ${why}\n${tail(said)}\nThe virtual machine's console:\n${tail(console)}`);
  }
}

const tail = (text: string): string => text.slice(-4000).trim();

/** Why there can be no virtual machine here, or undefined when there can. */
export function missingForVm(): string | undefined {
  if (process.arch !== "x64") return "needs an x86-64 processor, for the kernel it boots";
  if (process.getuid?.() !== 0) return "needs root, to show the machine's files to another kernel";
  const release = readRelease();
  const files = ["initrd.cpio", `kernel/boot/vmlinuz-${release}`];
  if (missingTool("qemu-system-x86_64") || files.some((file) => !existsSync(join(BUILT, file))))
    return "needs qemu and a kernel: scripts/setup-vm gets them";
  return undefined;
}

function readRelease(): string | undefined {
  try {
    return readFileSync(join(BUILT, "release"), "utf8").trim();
  } catch {
    return undefined;
  }
}

/**
 * Boots the virtual machine, runs the command in it, and resolves when both have ended.
 * Throws {@link VmError} when the command did not end: the machine did not come up, crashed, or the time was over.
 */
export async function runInVm(command: readonly string[], options: VmOptions = {}): Promise<VmOutcome> {
  const { timeout = 300_000, memory = 2048, processors = 2 } = options;
  const folder = mkdtempSync(join(tmpdir(), "calico-vm-"));
  try {
    const exchange = join(folder, "exchange");
    mkdirSync(join(exchange, "files"), { recursive: true });
    for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(join(exchange, "files", name), text);
    writeFileSync(join(exchange, "checkout"), CHECKOUT);
    writeFileSync(join(exchange, "guest.sh"), guestScript(command, options));
    const read = (name: string): string =>
      existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : "";
    const qemu = Bun.spawn(
      // The signal: the machine ends with its owner, however that ends.
      [
        ...["setpriv", "--pdeathsig=KILL", "timeout", "--foreground", "--signal=KILL", String(timeout / 1000)],
        ...["setpriv", "--pdeathsig=KILL", ...qemuCommand(folder, memory, processors, options.port)],
      ],
      { stdin: "ignore", stdout: "ignore", stderr: Bun.file(join(folder, "qemu.log")) },
    );
    const ended = await qemu.exited;
    const status = read("exchange/status").trim();
    if (status === "") {
      const why =
        ended === 137 ? `the command did not end within ${timeout} ms` : "the machine ended before the command";
      throw new VmError(why, read("console.log") + read("qemu.log"), read("exchange/stdout") + read("exchange/stderr"));
    }
    return { status: Number(status), stdout: read("exchange/stdout"), stderr: read("exchange/stderr") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function qemuCommand(folder: string, memory: number, processors: number, port: number | undefined): string[] {
  // One nc a connection: qemu's own forwarding the other way is a single connection only. Nothing else can be reached.
  const forward = `guestfwd=tcp:${MACHINE}:${port}-cmd:/bin/busybox nc 127.0.0.1 ${port}`;
  const network =
    port === undefined
      ? ["-nic", "none"]
      : ["-netdev", `user,id=net,restrict=on,ipv6=off,${forward}`, "-device", "virtio-net-pci,netdev=net,romfile="];
  const shared = (tag: string, path: string, more: string): string[] => [
    ...["-fsdev", `local,id=${tag},path=${path.replaceAll(",", ",,")},security_model=none,multidevs=remap${more}`],
    ...["-device", `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ];
  return [
    ...["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi,tb-size=512"],
    ...["-smp", String(processors), "-m", String(memory), "-nodefaults", ...network, "-display", "none", "-no-reboot"],
    ...["-kernel", join(BUILT, "kernel/boot", `vmlinuz-${readRelease()}`), "-initrd", join(BUILT, "initrd.cpio")],
    // A panic ends it; the rest only makes it quicker.
    ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable"],
    ...shared("machine", "/", ",readonly=on"),
    ...shared("exchange", join(folder, "exchange"), ""),
    ...["-serial", `file:${join(folder, "console.log")}`],
  ];
}

/** What the initial file system of scripts/setup-vm hands over to: pid 1 of the machine. */
function guestScript(command: readonly string[], { cwd = CHECKOUT, env = {}, port }: VmOptions): string {
  const variables = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    LANG: "C.UTF-8",
    ...env,
  };
  return [
    "export PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "mkdir -p /dev/pts /dev/shm",
    "mount -t devpts devpts /dev/pts",
    "mount -t tmpfs -o mode=1777 memory /dev/shm",
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    "mount -t bpf bpf /sys/fs/bpf",
    "ln -sfn /proc/self/fd /dev/fd",
    "for name in stdin stdout stderr; do ln -sfn /proc/self/fd/$((n++)) /dev/$name; done",
    "hostname vm",
    "ip link set lo up",
    ...(port === undefined
      ? []
      : ["modprobe virtio_net", "ip address add 10.0.2.15/24 dev eth0", "ip link set eth0 up"]),
    "cd /run/exchange",
    `(cd ${quote(cwd)} && exec env -i ${Object.entries(variables)
      .map(([name, value]) => quote(`${name}=${value}`))
      .join(" ")} ${command.map(quote).join(" ")}) </dev/null >stdout 2>stderr`,
    "echo $? >status",
    "exec busybox poweroff -f",
    "",
  ].join("\n");
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
