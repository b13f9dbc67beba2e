/**
 * What every datastore does, as one suite that runs against each of them: the in-memory one that other tests rely on, sqlite,
 * and a real etcd server. Imported by tests only.
 */
import { describe } from "vitest";
import { listTests } from "./lists.ts";
import { objectTests } from "./objects.ts";
import { storeTests } from "./stores.ts";
import { prepare, type Subject } from "./support.ts";
import { watchTests } from "./watches.ts";

export { codeOf, type Subject, Watcher } from "./support.ts";

/** Runs the whole suite against the datastore that `make` prepares. */
export function datastoreSuite(name: string, make: () => Promise<Subject>): void {
  describe(name, () => {
    const on = prepare(make);
    objectTests(on);
    listTests(on);
    watchTests(on);
    storeTests(on);
  });
}
