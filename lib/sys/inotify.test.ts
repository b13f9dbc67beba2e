import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FileEvent, type FileWatch, IN, watchFile } from "./inotify.ts";

describe("a watched file", () => {
  let folder: string;
  let path: string;
  let watch: FileWatch | undefined;
  let events: FileEvent[];
  let errors: Error[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-inotify-"));
    path = join(folder, "file");
    events = [];
    errors = [];
  });
  afterEach(() => {
    watch?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const start = (mask: number): FileWatch => {
    watch = watchFile(path, mask, (event) => events.push(event), { onError: (error) => errors.push(error) });
    return watch;
  };
  const until = async (condition: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !condition(); ) {
      if (Date.now() > deadline) throw new Error(`it did not happen within 20 s: ${JSON.stringify(events)}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const masks = (): number => events.reduce((all, event) => all | event.mask, 0);

  it("tells that it is opened and closed, read or written, and nothing that was not asked for", async () => {
    writeFileSync(path, "1");
    expect(start(IN.OPEN | IN.CLOSE_NOWRITE).present).toBe(true);
    readFileSync(path);
    await until(() => (masks() & IN.CLOSE_NOWRITE) !== 0);
    writeFileSync(path, "2");
    readFileSync(path);
    await until(() => events.filter(({ mask }) => mask & IN.CLOSE_NOWRITE).length === 2);
    expect(events.map(({ mask }) => mask)).toEqual([IN.OPEN, IN.CLOSE_NOWRITE, IN.OPEN, IN.CLOSE_NOWRITE]);
    expect(events.every(({ replaced, name }) => !replaced && name === "")).toBe(true);
  });

  it("is watched by its name: made later, replaced by renaming, deleted, made again", async () => {
    const watching = start(IN.CLOSE_WRITE);
    expect(watching.present).toBe(false);
    writeFileSync(path, "1");
    await until(() => events.some(({ replaced }) => replaced));
    expect(watching.present).toBe(true);
    events.length = 0;

    writeFileSync(join(folder, "other"), "2");
    renameSync(join(folder, "other"), path);
    await until(() => events.some(({ replaced, mask }) => replaced && mask === IN.CREATE));
    events.length = 0;
    writeFileSync(path, "3"); // the new one is watched, too
    await until(() => events.some(({ replaced, mask }) => !replaced && mask === IN.CLOSE_WRITE));
    events.length = 0;

    rmSync(path);
    await until(() => events.some(({ mask }) => mask === IN.DELETE_SELF));
    expect([watching.present, events.length]).toEqual([false, 1]);
    events.length = 0;

    writeFileSync(path, "4");
    await until(() => events.some(({ replaced }) => replaced));
    events.length = 0;
    writeFileSync(path, "5");
    await until(() => (masks() & IN.CLOSE_WRITE) !== 0);
    expect(errors).toEqual([]);
  });

  it("is told of when its name goes although the file itself lives on", async () => {
    writeFileSync(path, "1");
    linkSync(path, join(folder, "second-name"));
    const watching = start(IN.CLOSE_WRITE);
    rmSync(path);
    await until(() => events.length > 0);
    expect([events, watching.present]).toEqual([[{ mask: IN.DELETE_SELF, name: "", replaced: true }], false]);
  });

  it("may be a folder: events name what is in it", async () => {
    mkdirSync(path);
    start(IN.CREATE);
    writeFileSync(join(path, "inside"), "");
    await until(() => events.length > 0);
    expect(events).toEqual([{ mask: IN.CREATE, name: "inside", replaced: false }]);
  });

  it("tells each of many events that come faster than they are read", async () => {
    writeFileSync(path, "1");
    start(IN.OPEN | IN.CLOSE_NOWRITE);
    for (let i = 0; i < 7000; i++) readFileSync(path);
    await until(() => events.length === 14_000);
    expect(errors).toEqual([]);
  });

  it("says when events were lost, and goes on", async () => {
    writeFileSync(path, "1");
    start(IN.OPEN | IN.CLOSE_NOWRITE);
    const limit = Number(readFileSync("/proc/sys/fs/inotify/max_queued_events", "utf8"));
    for (let i = 0; i < limit / 2 + 10; i++) readFileSync(path);
    await until(() => (masks() & IN.OVERFLOW) !== 0);
    events.length = 0;
    readFileSync(path);
    await until(() => (masks() & IN.CLOSE_NOWRITE) !== 0);
    expect(errors).toEqual([]);
  });

  it("fails when the folder is not there, and reports when it goes", async () => {
    path = join(folder, "none", "file");
    expect(() => start(IN.OPEN)).toThrow(`watch ${join(folder, "none")}: inotify_add_watch: ENOENT`);
    mkdirSync(join(folder, "none"));
    start(IN.OPEN);
    rmSync(join(folder, "none"), { recursive: true });
    await until(() => errors.length > 0);
    expect(errors[0]?.message).toContain("the folder is gone");
  });

  it("is let go: nothing is reported any more and no descriptor stays", async () => {
    const open = (): number =>
      readdirSync("/proc/self/fd").filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).includes("inotify");
        } catch {
          return false;
        }
      }).length;
    const before = open();
    writeFileSync(path, "1");
    start(IN.OPEN);
    expect(open()).toBeGreaterThan(before);
    watch?.close();
    watch?.close();
    readFileSync(path);
    await until(() => open() === before);
    expect([events, errors]).toEqual([[], []]);
  });
});
