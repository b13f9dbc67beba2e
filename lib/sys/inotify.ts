/**
 * Watching files for what `fs.watch` does not tell: that they are opened and closed (include/uapi/linux/inotify.h). A door of its own,
 * because the plugin watches nothing.
 */
import { basename, dirname } from "node:path";
import { SysError } from "./errno.ts";
import { closeFd, syscall } from "./libc.ts";
import { cString } from "./memory.ts";

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;
const EVENT = 16; // struct inotify_event: wd i32, mask u32, cookie u32, length of the name u32; then the name, padded with NULs
const ENOENT = 2;

/** What can happen to a file or folder. UNMOUNT, OVERFLOW and IGNORED are told unasked. */
export const IN = {
  ACCESS: 0x1,
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  CLOSE_NOWRITE: 0x10,
  OPEN: 0x20,
  MOVED_FROM: 0x40,
  MOVED_TO: 0x80,
  CREATE: 0x100,
  DELETE: 0x200,
  DELETE_SELF: 0x400,
  MOVE_SELF: 0x800,
  UNMOUNT: 0x2000,
  OVERFLOW: 0x4000,
  IGNORED: 0x8000,
} as const;

export interface FileEvent {
  /** IN bits. OVERFLOW: events were lost, anything may have happened. */
  readonly mask: number;
  /** Of the file within a watched folder; "" for the watched file itself. */
  readonly name: string;
  /** The name stands for another file than before ({@link IN}.CREATE) or for none (DELETE_SELF). */
  readonly replaced: boolean;
}

export interface FileWatchOptions {
  /** The watching has stopped for good. */
  readonly onError: (error: Error) => void;
}

export interface FileWatch extends Disposable {
  /** Whether there is a file of that name now that is watched. */
  readonly present: boolean;
  close(): void;
}

/**
 * Calls back for what happens to the file at `path` (`mask`: bits of {@link IN}), within about 1 ms and in order; events that come
 * together and are equal are one. The file may be absent, be deleted, and be replaced by another: what is
 * watched is the name. Its folder must exist (ENOENT) and is not followed when it is itself moved. Equal files by another name (links)
 * count as the file. The callback also hears of what this process itself does to the file.
 */
export function watchFile(
  path: string,
  mask: number,
  callback: (event: FileEvent) => void,
  options: FileWatchOptions,
): FileWatch {
  return new NameWatch(path, mask, callback, options);
}

class NameWatch implements FileWatch {
  readonly #fd: number;
  readonly #path: string;
  readonly #name: string;
  readonly #mask: number;
  readonly #callback: (event: FileEvent) => void;
  readonly #onError: (error: Error) => void;
  readonly #folderWatch: number;
  #fileWatch = -1;
  #closed = false;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(path: string, mask: number, callback: (event: FileEvent) => void, options: FileWatchOptions) {
    this.#path = path;
    this.#name = basename(path);
    this.#mask = mask;
    this.#callback = callback;
    this.#onError = options.onError;
    const fd = syscall("inotify_init1", IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) throw new SysError("inotify_init1", -fd, `watch ${path}`);
    this.#fd = fd;
    try {
      this.#folderWatch = this.#add(dirname(path), IN.CREATE | IN.MOVED_TO | IN.DELETE | IN.MOVED_FROM);
      if (this.#folderWatch < 0) throw new SysError("inotify_add_watch", -this.#folderWatch, `watch ${dirname(path)}`);
      this.#arm();
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    // Bun waits for a descriptor that does not block in its event loop; it reads a copy, so that this one is ours to close.
    this.#reader = Bun.file(fd).stream().getReader() as ReadableStreamDefaultReader<Uint8Array>;
    void this.#read();
  }

  get present(): boolean {
    return this.#fileWatch >= 0;
  }

  #add(path: string, mask: number): number {
    return syscall("inotify_add_watch", this.#fd, cString(path), mask);
  }

  /** Watches the file that has the name now; whether it is another one than before. */
  #arm(): boolean {
    // DELETE_SELF comes when the last link and the last open descriptor are gone; ATTRIB tells of the link count before.
    const watch = this.#add(this.#path, this.#mask | IN.DELETE_SELF);
    if (watch < 0 && watch !== -ENOENT) throw new SysError("inotify_add_watch", -watch, `watch ${this.#path}`);
    const before = this.#fileWatch;
    this.#fileWatch = Math.max(-1, watch);
    if (before >= 0 && before !== this.#fileWatch) syscall("inotify_rm_watch", this.#fd, before);
    return this.#fileWatch >= 0 && before !== this.#fileWatch;
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (this.#closed) return;
        if (done) throw new SysError("read", 5, `watch ${this.#path}: the events ended`);
        this.#deliver(value);
      }
    } catch (error) {
      if (this.#closed) return;
      this.close();
      this.#onError(error as Error);
    }
  }

  #deliver(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + EVENT <= bytes.length && !this.#closed; ) {
      const watch = view.getInt32(at, true);
      const mask = view.getUint32(at + 4, true);
      const end = at + EVENT + view.getUint32(at + 12, true);
      const name = new TextDecoder().decode(bytes.subarray(at + EVENT, end)).replace(/\0+$/, "");
      at = end;
      if (mask & IN.OVERFLOW) this.#callback({ mask, name: "", replaced: this.#arm() });
      else if (watch === this.#folderWatch) this.#folderEvent(mask, name);
      else if (watch === this.#fileWatch) this.#fileEvent(mask, name);
    }
  }

  #folderEvent(mask: number, name: string): void {
    if (mask & (IN.IGNORED | IN.UNMOUNT)) {
      throw new SysError("inotify", ENOENT, `watch ${dirname(this.#path)}: the folder is gone`);
    }
    if (name !== this.#name) return;
    this.#compare();
  }

  #fileEvent(mask: number, name: string): void {
    // That the name went is told by the folder, also when somebody has the file open still.
    if (mask & this.#mask & ~IN.DELETE_SELF) this.#callback({ mask, name, replaced: false });
    else if (mask & IN.IGNORED) this.#compare(true); // the kernel has dropped the watch, as the file is gone
  }

  /** Tells whether the name stands for another file than before; what happened in between is one event. */
  #compare(dropped = false): void {
    const had = this.present;
    if (dropped) this.#fileWatch = -1;
    if (this.#arm()) this.#callback({ mask: IN.CREATE, name: "", replaced: true });
    else if (had && !this.present) this.#callback({ mask: IN.DELETE_SELF, name: "", replaced: true });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#reader.cancel().catch(() => {});
    closeFd(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
