import { SysError } from "./errno.ts";
import { OPEN, openFile, statFd, writeAll } from "./files.ts";
import { closeFd, syscall } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;

/** An open network namespace. It exists at least until it is closed, whatever happens to its path. */
export interface Namespace extends Disposable {
  readonly fd: number;
  /** The path that it was opened by. */
  readonly path: string;
  /** Equal for two descriptors of one namespace, different for two namespaces: nsfs numbers them uniquely. */
  readonly inode: number;
  /** Closes the descriptor; closing again does nothing. */
  close(): void;
}

/**
 * Opens the namespace at `path`, such as /run/netns/a or /proc/1234/ns/net. Throws ENOENT when there is none. A file that
 * is no namespace (one left of an unmounted namespace is an empty regular file) is refused with EINVAL.
 */
export function openNamespace(path: string): Namespace {
  const fd = openFile(path, OPEN.READ, `open the network namespace ${path}`);
  let closed = false;
  const close = (): void => {
    if (!closed) closeFd(fd);
    closed = true;
  };
  try {
    const status = statFd(fd, `look at the network namespace ${path}`);
    // The empty file that is left of a namespace is a regular one too: only entering tells the two apart.
    if (!status.isRegular) throw new SysError("open", 22, `${path} is not a network namespace`);
    return { fd, path, inode: status.inode, close, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The network namespace that this thread is in. */
export function currentNamespace(): Namespace {
  // thread-self, not self: the main thread may be elsewhere than the process's first task was.
  return openNamespace("/proc/thread-self/ns/net");
}

/** Refuses functions that return promises at compile time. */
type Synchronous<T> = T extends PromiseLike<unknown> ? never : T;

/**
 * Runs `action` with this thread inside `namespace` and comes back, also when it throws. `action` is strictly
 * synchronous: what it starts asynchronously runs in no defined namespace; a returned promise is an error. System calls, node's
 * `…Sync` functions, spawned processes and /proc/sys follow the thread; sockets keep the namespace that they were opened in.
 * When coming back fails the process ends at once: nothing it would do next could be trusted.
 * `at` is the namespace that the thread is in, for callers that have it open already.
 */
export function inNamespace<T>(namespace: Namespace, action: () => Synchronous<T>, at?: Namespace): T {
  const home = at ?? currentNamespace();
  try {
    if (home.inode === namespace.inode) return action();
    enter(namespace);
    try {
      const result: unknown = action();
      if (typeof result === "object" && result !== null && "then" in result) {
        throw new TypeError("inNamespace takes a synchronous function: a promise would run in another namespace");
      }
      return result as T;
    } finally {
      comeBack(home);
    }
  } finally {
    if (!at) home.close();
  }
}

function enter(namespace: Namespace): void {
  const result = syscall("setns", namespace.fd, CLONE_NEWNET);
  if (result < 0) throw new SysError("setns", -result, `enter the network namespace ${namespace.path}`);
}

function comeBack(home: Namespace): void {
  const result = syscall("setns", home.fd, CLONE_NEWNET);
  if (result >= 0) return;
  const message = `fatal: cannot return to the own network namespace (errno ${-result}); ending at once\n`;
  try {
    writeAll(2, message, "report a fatal error");
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
}
