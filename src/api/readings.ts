import { createHash } from "node:crypto";
import type { Config, DecodeConfig, PipelineConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { TransientError } from "../core/errors.ts";
import { ChannelNames } from "../decode/channel-names.ts";
import { compileDecoder, type Decode } from "../decode/decoder.ts";
import type { Intake } from "../journal/intake.ts";
import { type KeyEntry, KeyMemory } from "../journal/key-memory.ts";
import type { StoreStatus } from "../store/contract.ts";
import { ApiError, retryAfter } from "./api-error.ts";
import { checkFrames, formOf, framesOf } from "./reading-bodies.ts";
import { TextPosts } from "./text-posts.ts";

export interface ReadingsOptions {
  readonly intake: Pick<Intake, "takeAll" | "flush">;
  readonly clock: Clock;
  /** Texts that wait for their scores, as of the last commit. */
  readonly waiting: () => StoreStatus["texts"];
  /** Keys of requests that earlier processes stored. */
  /** What the store remembers; undefined when it could not be opened yet. */
  readonly keys: readonly KeyEntry[] | undefined;
  /** How long a caller waits for a store that does not take data. */
  readonly commitTimeoutMs?: number;
}

export interface ReadingsRequest {
  readonly source: string | undefined;
  readonly contentType: string | undefined;
  readonly key: string | undefined;
  readonly body: Uint8Array;
}

export interface Stored {
  /** Readings; of a repeat, those of the first time. */
  readonly stored: number;
  readonly repeated?: true;
}

interface Target {
  readonly decode: Decode;
  readonly format: DecodeConfig["format"];
  /** The elements of an array are its readings. */
  readonly takesArrays: boolean;
}
interface Known {
  readonly entry: KeyEntry;
  /** Undefined when it is durable. */
  readonly durable: Promise<void> | undefined;
}

const defaultCommitTimeoutMs = 10_000;
/** Visible ASCII, and no more than a header line is good for. */
const keyPattern = /^[\x21-\x7e]{1,128}$/;

/**
 * Takes the readings of `POST /api/readings`: all of a request or nothing, answered when they are durable.
 * It decodes what it takes with the pipeline's own decoder and configuration, so what is answered with 200 is no
 * discard later for how it looks.
 */
export class Readings {
  readonly texts: TextPosts;
  readonly #options: ReadingsOptions;
  readonly #keys: KeyMemory;
  /** Taken and not yet durable. */
  readonly #pending = new Map<string, Known>();
  #targets: ReadonlyMap<string, Target> = new Map();
  #repeats = 0;
  #knowsKeys: boolean;
  #stopping = false;

  constructor(options: ReadingsOptions) {
    this.#options = options;
    this.texts = new TextPosts(
      (source, frames) => this.#take(source, frames, options.clock.wall(), undefined),
      (durable) => this.#wait(durable, undefined),
      options.waiting,
    );
    this.#keys = new KeyMemory(options.keys);
    this.#knowsKeys = options.keys !== undefined;
  }

  /** What the store remembers, when it could be opened later than callers came. */
  remember(keys: readonly KeyEntry[]): void {
    this.#knowsKeys = true;
    for (const entry of keys) if (!this.#keys.get(entry.source, entry.key)) this.#keys.add(entry);
  }

  /** Requests that were repeats of an earlier one. */
  get repeats(): number {
    return this.#repeats;
  }

  /**
   * To be called at the place in the order of entries where the pipeline changes its configuration.
   */
  configure(config: PipelineConfig, sources: Config["sources"]): void {
    const names = new ChannelNames(config.channels);
    const targets = new Map<string, Target>();
    for (const [name, source] of Object.entries(config.sources)) {
      if (sources[name]?.type !== "http") continue;
      const { format } = source.decode;
      const takesArrays = source.decode.format === "json" && source.decode.items === undefined;
      targets.set(name, { decode: compileDecoder(source, names), format, takesArrays });
    }
    this.#targets = targets;
    this.texts.configure(config);
  }

  /** Nothing is taken from here on; who waits for a commit still gets it. */
  stop(): void {
    this.#stopping = true;
  }

  /** @throws ApiError */
  async post(request: ReadingsRequest): Promise<Stored> {
    const { name, target } = this.#target(request.source);
    const { key, body } = request;
    if (key !== undefined && !keyPattern.test(key))
      throw new ApiError(400, "badKey", "Idempotency-Key must be 1 to 128 visible ASCII characters");
    if (key !== undefined && !this.#knowsKeys) {
      const message =
        "the store is not open yet, so nobody knows whether this came before; nothing was taken";
      throw new ApiError(503, "storeFailing", message, retryAfter(5));
    }
    const form = formOf(request.contentType, target.format);
    const named = key === undefined ? undefined : { key, hash: hashOf(body) };
    const known = named && this.#known(name, named.key);
    if (known) return await this.#repeat(known, named.hash);
    const frames = framesOf(body, form);
    const checkedMs = this.#options.clock.wall();
    const readings = await checkFrames(frames, target, checkedMs);
    // The check lets others do their work: they may have changed what it went by, or taken the very same request.
    const wallMs = this.#options.clock.wall();
    if (this.#targets.get(name) !== target || wallMs < checkedMs) return await this.post(request);
    const taken = named && this.#known(name, named.key);
    if (taken) return await this.#repeat(taken, named.hash);
    const entry = named && { source: name, ...named, readings };
    const bytes = frames.map((frame) => frame.bytes);
    const durable = this.#take(name, bytes, wallMs, entry);
    await this.#wait(durable, key);
    return { stored: readings };
  }

  /** Resolves when they are durable. @throws ApiError at once */
  #take(
    source: string,
    frames: readonly Uint8Array[],
    wallMs: number,
    entry: KeyEntry | undefined,
  ): Promise<void> {
    if (this.#stopping) throw new ApiError(503, "stopping", "the gateway stops", retryAfter(5));
    const { intake } = this.#options;
    switch (intake.takeAll(source, frames, wallMs, entry)) {
      case "tooLarge":
        throw new ApiError(413, "tooLarge", "what came does not fit into store.maxQueueBytes; send less");
      case "full":
        throw new ApiError(503, "busy", "there is no room at the moment; nothing was taken", retryAfter(1));
      case "taken":
    }
    const durable = intake.flush();
    if (entry) this.#remember(entry, durable);
    return durable;
  }

  #known(source: string, key: string): Known | undefined {
    const entry = this.#keys.get(source, key);
    return this.#pending.get(`${source}\n${key}`) ?? (entry && { entry, durable: undefined });
  }

  /** @throws ApiError 422 */
  async #repeat({ entry, durable }: Known, hash: string): Promise<Stored> {
    if (entry.hash !== hash) {
      const message = `the key ${entry.key} came before with another body; nothing of this one was taken`;
      throw new ApiError(422, "keyReused", message);
    }
    this.#repeats++;
    if (durable) await this.#wait(durable, entry.key);
    return { stored: entry.readings, repeated: true };
  }

  #remember(entry: KeyEntry, durable: Promise<void>): void {
    const name = `${entry.source}\n${entry.key}`;
    this.#pending.set(name, { entry, durable });
    durable.then(
      () => {
        this.#pending.delete(name);
        this.#keys.add(entry);
      },
      // It was not stored, and will not be: the process ends. The caller is told by `#wait`.
      () => this.#pending.delete(name),
    );
  }

  /** @throws ApiError 503 when it takes too long */
  async #wait(durable: Promise<void>, key: string | undefined): Promise<void> {
    const timeoutMs = this.#options.commitTimeoutMs ?? defaultCommitTimeoutMs;
    try {
      await within(durable, timeoutMs, "the commit", undefined, "STORE_UNUSABLE");
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      const repeat =
        key === undefined
          ? "a repeat of the request then stores it twice"
          : "repeat the request with the same Idempotency-Key";
      const message = `the store does not take data at the moment; what came may still be stored later: ${repeat}`;
      throw new ApiError(503, "storeFailing", message, retryAfter(5));
    }
  }

  /** @throws ApiError 404 for an unknown source, 400 when none is named and it is not plain which is meant */
  #target(name: string | undefined): { readonly name: string; readonly target: Target } {
    if (name !== undefined) {
      const target = this.#targets.get(name);
      if (target) return { name, target };
      throw new ApiError(404, "unknownSource", `there is no source ${JSON.stringify(name)} of type http`);
    }
    const [only, ...others] = this.#targets;
    if (!only) throw new ApiError(404, "unknownSource", "there is no source of type http");
    if (others.length > 0) {
      const names = [...this.#targets.keys()].join(", ");
      throw new ApiError(400, "sourceMissing", `add ?source= with one of ${names}`);
    }
    return { name: only[0], target: only[1] };
  }
}

const hashOf = (body: Uint8Array) => createHash("sha256").update(body).digest("base64url");
