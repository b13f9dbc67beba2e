/** Linux errno names by number (include/uapi/asm-generic/errno-base.h and errno.h), "-" where a number has none. */
const NAMES =
  "- EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST " +
  "EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM " +
  "ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG " +
  "EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET " +
  "ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG " +
  "ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE " +
  "EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE " +
  "EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN " +
  "ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL " +
  "EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD " +
  "ENOTRECOVERABLE ERFKILL EHWPOISON";

/** Numbers that never leave the kernel by the book, but do by netlink (include/linux/errno.h). */
const INTERNAL: Readonly<Record<number, string>> = { 512: "ERESTARTSYS", 524: "ENOTSUPP" };

let table: readonly string[] | undefined;

/** "EEXIST" for 17; "errno 4711" for a number that has no name. */
export function errnoName(errno: number): string {
  table ??= NAMES.split(" ");
  const name = table[errno];
  return name !== undefined && name !== "-" && errno > 0 ? name : (INTERNAL[errno] ?? `errno ${errno}`);
}

/** A system call that failed. */
export class SysError extends Error {
  override readonly name = "SysError";
  /** The errno's name, e.g. "EEXIST". */
  readonly code: string;
  constructor(
    /** The call, e.g. "setns". */
    readonly call: string,
    /** The errno as a positive number. */
    readonly errno: number,
    /** What was attempted, on which object: "enter the network namespace /run/netns/a". */
    readonly detail: string,
    options?: { cause?: unknown },
  ) {
    const code = errnoName(errno);
    super(`${detail}: ${call}: ${code}`, options);
    this.code = code;
  }
}
