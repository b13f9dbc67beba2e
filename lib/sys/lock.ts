import { SysError } from "./errno.ts";
import { OPEN, openFile } from "./files.ts";
import { closeFd, syscall } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EINTR = 4;
const EAGAIN = 11;
const ETIMEDOUT = 110;
const ENOLCK = 37;

/** Back-off between attempts, in milliseconds: short waits end quickly, long ones cost little. */
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 10;

export interface LockOptions {
  /** How long to keep trying, in milliseconds: 0 tries once. Absent (sync form only): wait in the kernel without end. */
  readonly timeout?: number;
  /** Checked before every attempt; the wait ends without the lock when it answers true. */
  readonly abandon?: () => boolean;
}

/** An exclusive lock on a file, held until it is released or the process ends, however it ends. */
export interface FileLock extends Disposable {
  readonly path: string;
  /** Lets go; doing so again does nothing. The file stays: removing it would let two holders in. */
  release(): void;
}

/**
 * Takes the exclusive flock(2) on `path`, making the file (mode 0600) when it is missing, and blocks the thread meanwhile.
 *
 * Fairness: without `timeout` the kernel wakes waiters in the order in which they came, and this is the fair way to share
 * a lock. With `timeout` it is a loop of attempts with growing pauses (0.5 to 10 ms, jittered): whoever tries first after a
 * release gets it, and a blocked waiter always precedes a polling one.
 *
 * Throws SysError: ETIMEDOUT when the time is up; undefined is returned only when `abandon` ended the wait.
 */
export function lockFileSync(path: string, options?: LockOptions & { abandon?: undefined }): FileLock;
export function lockFileSync(path: string, options?: LockOptions): FileLock | undefined;
export function lockFileSync(path: string, options: LockOptions = {}): FileLock | undefined {
  const fd = openLock(path);
  // Nearly always nobody has it.
  if (syscall("flock", fd, LOCK_EX | LOCK_NB) >= 0) return held(fd, path);
  try {
    if (options.timeout === undefined && !options.abandon) {
      while (!attempt(fd, path, LOCK_EX)) {
        // EINTR: a signal arrived and its handler will run later; the wait goes on.
      }
      return held(fd, path);
    }
    const deadline = performance.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE)) {
      if (attempt(fd, path, LOCK_EX | LOCK_NB)) return held(fd, path);
      if (options.abandon?.()) {
        closeFd(fd);
        return undefined;
      }
      const left = deadline - performance.now();
      if (left <= 0) throw timedOut(path, options.timeout ?? 0);
      Bun.sleepSync(Math.min(left, pause * (0.5 + Math.random())));
    }
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Like {@link lockFileSync} with a timeout, but lets the event loop run between attempts: for daemons. */
export async function lockFile(path: string, timeout: number): Promise<FileLock> {
  const fd = openLock(path);
  try {
    const deadline = performance.now() + timeout;
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE)) {
      if (attempt(fd, path, LOCK_EX | LOCK_NB)) return held(fd, path);
      const left = deadline - performance.now();
      if (left <= 0) throw timedOut(path, timeout);
      await new Promise((resolve) => setTimeout(resolve, Math.min(left, pause * (0.5 + Math.random()))));
    }
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function openLock(path: string): number {
  return openFile(path, OPEN.BOTH | OPEN.CREATE, `open the lock file ${path}`, 0o600);
}

/** False when the lock is held elsewhere, or a signal cut the wait short. */
function attempt(fd: number, path: string, operation: number): boolean {
  const result = syscall("flock", fd, operation);
  if (result >= 0) return true;
  if (result === -EAGAIN || result === -EINTR) return false;
  const remedy = result === -ENOLCK ? " (the file system has no room for locks, or does not lock)" : "";
  throw new SysError("flock", -result, `lock ${path}${remedy}`);
}

function held(fd: number, path: string): FileLock {
  let released = false;
  const release = (): void => {
    if (!released) closeFd(fd);
    released = true;
  };
  return { path, release, [Symbol.dispose]: release };
}

function timedOut(path: string, timeout: number): SysError {
  return new SysError("flock", ETIMEDOUT, `lock ${path}: another process held it for all of ${timeout} ms`);
}
