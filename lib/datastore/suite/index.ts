/**
 * What every datastore does, as one suite that runs against each of them: the in-memory one that other tests rely on, sqlite,
 * a real etcd server, and a real Kubernetes API server. Imported by tests only.
 */
import { describe } from "vitest";
import { kubernetesTests } from "./kubernetes.ts";
import { keyListTests, listTests } from "./lists.ts";
import { objectTests, storedTests } from "./objects.ts";
import { policyTests } from "./policies.ts";
import { storeTests } from "./stores.ts";
import { type ClientSubject, prepare, prepareClient, type Subject } from "./support.ts";
import { keyWatchTests, watchTests } from "./watches.ts";

export { type ClientSubject, codeOf, type Subject, Watcher } from "./support.ts";

/** Runs the whole suite against the datastore that `make` prepares. */
export function datastoreSuite(name: string, make: () => Promise<Subject>): void {
  describe(name, () => {
    const on = prepare(make);
    objectTests(on);
    storedTests(on);
    listTests(on);
    keyListTests(on);
    policyTests(on);
    watchTests(on);
    keyWatchTests(on);
    kubernetesTests(on);
    storeTests(on);
  });
}

/** What of the suite needs nothing but a Client. What a datastore cannot do by its capabilities is skipped, and says so. */
export function clientSuite(name: string, make: () => Promise<ClientSubject>): void {
  describe(name, () => {
    const on = prepareClient(make);
    objectTests(on);
    listTests(on);
    policyTests(on);
    watchTests(on);
  });
}
