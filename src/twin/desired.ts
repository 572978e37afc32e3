import { mergePatch } from "../config/layers.ts";
import { ConfigError, messageOf } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import type { DesiredPatch, TwinDocument } from "../hub/hub-client.ts";

/** The answer to a desired configuration, in the form edgeAgent and edgeHub use for theirs. */
export interface DesiredStatus {
  readonly code: 200 | 400 | 500;
  readonly description: string;
  /** JSON path of the first problem; empty when it is not about one place. */
  readonly path: string;
}

export interface DesiredOptions {
  /**
   * Puts a twin layer in force; `patch` is what has just changed in it, unless it was read as a whole.
   * @throws ConfigError when it is refused; the running configuration stays then.
   */
  readonly apply: (
    twin: JsonObject,
    version: number | undefined,
    patch: JsonObject | undefined,
  ) => Promise<void>;
  readonly answered: (version: number | undefined, status: DesiredStatus) => void;
  /** Gets the whole twin again. Its failure is the link's to handle. */
  readonly refresh: () => Promise<TwinDocument>;
  readonly log: Logger;
}

/**
 * Keeps the desired half of the twin and has each version applied, one after the other.
 * A full twin comes with every connection, because changes made while offline are not pushed afterwards.
 */
export class Desired {
  readonly #options: DesiredOptions;
  #desired: JsonObject = {};
  #version: number | undefined;
  /** Patches that came before the full twin of this connection, which may hold them already. */
  #early: DesiredPatch[] | undefined = [];
  #queue: Promise<void> = Promise.resolve();
  #closed = false;
  /** Counts hubs: what waits of the one before counts no more. */
  #hub = 0;

  constructor(options: DesiredOptions) {
    this.#options = options;
  }

  /** A new connection stands: until its full twin is there, patches wait. */
  connecting(): void {
    this.#early = [];
  }

  /** The next full twin is that of another hub: its version says nothing of what was applied. */
  forget(): void {
    this.connecting();
    this.#hub++;
    this.#version = undefined;
  }

  full(document: TwinDocument): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    this.#enqueue(async () => {
      await this.#whole(document);
    });
    for (const patch of early) this.patch(patch);
  }

  patch(patch: DesiredPatch): void {
    if (this.#early) {
      this.#early.push(patch);
      return;
    }
    this.#enqueue(async () => {
      const { version } = patch;
      if (version !== undefined && this.#version !== undefined && version <= this.#version) return;
      if (version === undefined || this.#version === undefined || version !== this.#version + 1) {
        // At once and not behind the queue: patches that wait there are compared with what this brings.
        await this.#whole(await this.#options.refresh());
        return;
      }
      await this.#apply(mergePatch(this.#desired, patch.patch), version, patch.patch);
    });
  }

  /** Resolves when everything that came so far is answered. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  /** Nothing is applied any more; resolves when what is under way is done. */
  async stop(): Promise<void> {
    this.#closed = true;
    await this.settled();
  }

  async #whole(document: TwinDocument): Promise<void> {
    if (document.desiredVersion === undefined) {
      // Edge hub's first start offline answers with an empty twin: that is no wish to forget everything.
      const message = "the hub does not know the desired properties yet; the last good configuration stays";
      this.#options.log.warn({}, message);
    } else if (document.desiredVersion !== this.#version) {
      await this.#apply(document.desired, document.desiredVersion);
    }
  }

  async #apply(desired: JsonObject, version: number, patch?: JsonObject): Promise<void> {
    if (this.#closed) return;
    this.#desired = desired;
    this.#version = version;
    const hub = this.#hub;
    const status = await this.#try(desired, version, patch);
    // It led to another hub, whose twin knows nothing of it.
    if (hub !== this.#hub) return;
    // Not the configuration's fault: the next full twin tries it again.
    if (status.code === 500) this.#version = undefined;
    this.#options.answered(version, status);
  }

  async #try(desired: JsonObject, version: number, patch?: JsonObject): Promise<DesiredStatus> {
    const { apply, log } = this.#options;
    try {
      await apply(desired, version, patch);
      log.info({ version }, "desired configuration applied");
      return { code: 200, description: "applied", path: "" };
    } catch (error) {
      const code = error instanceof ConfigError ? 400 : 500;
      const path = error instanceof ConfigError ? (error.problems[0]?.path ?? "") : "";
      log.warn(
        { version, code, reason: messageOf(error) },
        "desired configuration refused; the running one stays",
      );
      return { code, description: cut(messageOf(error)), path: cut(path) };
    }
  }

  #enqueue(work: () => Promise<void>): void {
    const hub = this.#hub;
    this.#queue = this.#queue
      .then(() => (this.#closed || hub !== this.#hub ? undefined : work()))
      .catch((error: unknown) => {
        // Only `refresh` can fail here: the connection broke, and the next one brings the full twin.
        this.#options.log.debug({ reason: messageOf(error) }, "getting the twin again failed");
      });
  }
}

/** Twin strings end at 4 KB; a cut must not leave half a character. */
const cut = (text: string) => text.slice(0, 1_000).toWellFormed();
