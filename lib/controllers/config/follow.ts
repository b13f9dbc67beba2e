import { KubeControllersConfiguration } from "../../api/kubecontrollersconfiguration.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import type { Logger } from "../../telemetry/index.ts";
import { orAborted } from "../../wait/index.ts";
import { type Live, Setting } from "../controller.ts";
import { systemTime, type Time } from "../time.ts";
import { defaultConfiguration, type Environment, mergeConfig, type RunConfig } from "./run-config.ts";

/** Until the resource is looked at again after a failure, in milliseconds; and where the cluster does not know the kind. */
const RETRY = { first: 1_000, most: 30_000 };
const RETRY_MISSING = 60_000;

export interface FollowOptions {
  readonly client: Client;
  /** `process.env`; of it ENVIRONMENT and DATASTORE_TYPE. */
  readonly environment: Environment;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly time?: Time;
}

export interface FollowedConfig {
  readonly config: Live<RunConfig>;
  /** Ends when the signal aborts. Never rejects. */
  readonly done: Promise<void>;
}

/**
 * The configuration in force, as soon as there is one, and from then on. Waits for a datastore that cannot be reached. Throws
 * ConfigError for the environment, and the signal's reason when that aborts first.
 */
export async function followConfig(options: FollowOptions): Promise<FollowedConfig> {
  // A wrong variable is wrong whatever the resource says, and afterwards none is.
  const setting = new Setting(mergeConfig(options.environment, defaultConfiguration().spec).config);
  const follower = new Follower(options, setting);
  const done = follower.run();
  await orAborted(follower.known, options.signal);
  return { config: setting, done };
}

class Follower {
  readonly known: Promise<void>;
  readonly #options: FollowOptions;
  readonly #setting: Setting<RunConfig>;
  #tellKnown = () => {};
  /** What was warned of last. */
  #warned = "";
  /** The status that was written last, and what the datastore made of it: an older definition of the kind drops what it does not know. */
  #written = { asked: "", kept: "" };

  constructor(options: FollowOptions, setting: Setting<RunConfig>) {
    this.#options = options;
    this.#setting = setting;
    this.known = new Promise((resolve) => {
      this.#tellKnown = resolve;
    });
  }

  async run(): Promise<void> {
    const { signal, time = systemTime } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      let wait: number;
      try {
        await this.#follow(() => {
          failures = 0;
        });
        wait = RETRY.first;
      } catch (error) {
        if (signal.aborted) return;
        const isMissing = error instanceof DatastoreError && error.kindMissing;
        if (isMissing) this.#take(defaultConfiguration());
        wait = isMissing ? RETRY_MISSING : Math.min(RETRY.most, RETRY.first * 2 ** Math.min(failures++, 10));
        const state = isMissing ? "the cluster does not have the kind; its defaults count" : "it is tried again";
        this.#warn(`KubeControllersConfiguration default: ${state}: ${(error as Error).message}`);
      }
      await time.sleep(wait * (1 + time.random() / 4), signal);
    }
  }

  async #follow(onHeard: () => void): Promise<void> {
    const { client, log, signal } = this.#options;
    let isThere = false;
    for await (const event of client.watch(KubeControllersConfiguration, { signal })) {
      onHeard();
      if (event.type === "synced") {
        if (!isThere) await this.#create();
        continue;
      }
      if (event.type === "invalid") {
        this.#warn(`a KubeControllersConfiguration cannot be read; what was in force stays: ${event.error.message}`);
        continue;
      }
      const { name } = event.resource.metadata;
      if (name !== "default") {
        log.warning("a KubeControllersConfiguration that is not named default does not count", { name });
      } else if (event.type === "deleted") {
        isThere = false;
        await this.#create();
      } else {
        isThere = true;
        await this.#writeStatus(event.resource, this.#take(event.resource));
      }
    }
  }

  /** The watch tells of it then. One that is there but cannot be read stays as it is. */
  async #create(): Promise<void> {
    try {
      await this.#options.client.create(KubeControllersConfiguration, defaultConfiguration());
    } catch (error) {
      if (!(error instanceof DatastoreError && error.code === "EXISTS")) throw error;
    }
  }

  /** Puts it in force, and answers the status. */
  #take({ spec }: KubeControllersConfiguration): NonNullable<KubeControllersConfiguration["status"]> {
    const { config, status, warnings } = mergeConfig(this.#options.environment, spec);
    if (warnings.length > 0) this.#warn(`KubeControllersConfiguration default: ${warnings.join("; ")}`);
    this.#setting.set(config);
    this.#tellKnown();
    return status;
  }

  async #writeStatus(
    resource: KubeControllersConfiguration,
    status: NonNullable<KubeControllersConfiguration["status"]>,
  ): Promise<void> {
    if (Bun.deepEquals(resource.status, status)) return;
    const asked = JSON.stringify(status);
    if (this.#written.asked === asked && this.#written.kept === JSON.stringify(resource.status)) return;
    try {
      const written = await this.#options.client.update(KubeControllersConfiguration, { ...resource, status });
      this.#written = { asked, kept: JSON.stringify(written.status) };
    } catch (error) {
      // Somebody was quicker: the watch tells of that.
      if (error instanceof DatastoreError && ["CONFLICT", "NOT_FOUND"].includes(error.code)) return;
      throw error;
    }
  }

  /** Once for as long as it is the same. */
  #warn(message: string): void {
    if (message !== this.#warned) this.#options.log.warning(message);
    this.#warned = message;
  }
}
