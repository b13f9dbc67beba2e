/**
 * Another kernel, for what the machine's own may lack: a virtual machine that boots a Debian kernel (unpacked by scripts/setup-vm) and runs
 * one command in it as root. It sees the machine's files, the checkout and the built executables among them, at their own paths and through a
 * layer that keeps in memory whatever is written; /run, /tmp and /var/tmp begin empty. It has no network but its own loopback
 * and, where that is asked for, one port of the machine's.
 *
 * qemu emulates the processor (TCG), so that it works where there is no KVM: booting takes some 7 s, and everything is
 * about ten times slower than on the machine. There is nothing in it to clean up: it ends with the command, or with the process that
 * started it.
 *
 * `suite.ts` is a second door, for test files: `describeVm` says by name why a suite is skipped where there can be none.
 *
 * Known gaps: x86-64 only; no devices but a serial line and the two shared folders.
 */

export { FILES, MACHINE, missingForVm, runInVm, VmError, type VmOptions, type VmOutcome } from "./vm.ts";
