import { SysError } from "../../sys/index.ts";
import { IN, watchFile } from "../../sys/inotify.ts";
import { lockPath } from "./file.ts";

/** How often to look whether another process wrote, in milliseconds: where nothing tells, and where the lock does. One look costs a microsecond. */
const POLL = { untold: 25, told: 250 };

/**
 * Calls `look` when another process may have written: at once when a writer lets go of the lock, and every so often for those who
 * take none (SQLite's own shell) and where files cannot be watched. The log itself would tell too early: a commit counts once it is
 * in the index beside it, which is changed through a memory map, and of that the kernel tells nothing.
 */
export function noticeWrites(file: string, look: () => void): Disposable {
  let timer: ReturnType<typeof setInterval> | undefined;
  const lookEvery = (milliseconds: number): void => {
    clearInterval(timer);
    timer = setInterval(look, milliseconds);
  };
  const watch = watchLock(file, look, () => lookEvery(POLL.untold));
  lookEvery(watch ? POLL.told : POLL.untold);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      watch?.close();
    },
  };
}

/** Undefined where it cannot be watched: no watches left (fs.inotify), or no such thing. */
function watchLock(file: string, look: () => void, onError: () => void) {
  try {
    return watchFile(lockPath(file), IN.CLOSE_WRITE, look, { onError });
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
