import { type CompiledStages, compileStages } from "./compiled-stages.ts";
import type { Config, PipelineConfig } from "./config/schema.ts";
import type { Clock } from "./core/clock.ts";
import type { Measurement } from "./core/reading.ts";
import type { FrameTarget } from "./sources/source-set.ts";

/** Where frames go on to. */
interface HastyTarget extends FrameTarget {
  /** What was taken last should be committed soon. */
  hasten(): void;
}
interface Peeked {
  isBad: boolean;
  /** Monotonic ms until which the pipeline would not tell another alarm. */
  quietUntilMs: number;
}

/** Hastened commits of one source are at least so far apart: each writes to the flash. */
const spacingMs = 1_000;
/** When there are more channels than this, all are forgotten; a commit too many is all that it costs. */
const maxChannels = 10_000;

/**
 * Looks at frames on their way into the journal, with the stages that will process them, so that a frame that brings an
 * alarm need not wait for `store.maxLossMs`. Only where nobody waits for the commit: elsewhere it is early anyway.
 * A hint: what becomes an alarm, the pipeline decides.
 */
export class AlarmPeek implements FrameTarget {
  readonly #target: HastyTarget;
  readonly #clock: Clock;
  #stages: CompiledStages | undefined;
  /** Sources that are looked at. */
  #sources = new Map<string, { hastenedMs: number; isOwed: boolean }>();
  readonly #channels = new Map<string, Peeked>();

  constructor(target: HastyTarget, clock: Clock) {
    this.#target = target;
    this.#clock = clock;
  }

  configure(config: PipelineConfig, { sources, hub }: Pick<Config, "sources" | "hub">): void {
    const peeked = Object.keys(config.alarms ? config.sources : {}).filter((name) =>
      waitsForNobody(sources[name], hub),
    );
    this.#sources = new Map(
      peeked.map((name) => [name, { hastenedMs: Number.NEGATIVE_INFINITY, isOwed: false }]),
    );
    this.#stages = peeked.length > 0 ? compileStages("", config, 0) : undefined;
  }

  frame(source: string, bytes: Uint8Array, origin?: string): boolean {
    const isTaken = this.#target.frame(source, bytes, origin);
    const peeked = this.#sources.get(source);
    if (!isTaken || !peeked) return isTaken;
    const nowMs = this.#clock.monotonic();
    peeked.isOwed ||= this.#bringsAlarm(source, bytes, origin, nowMs);
    if (peeked.isOwed && nowMs - peeked.hastenedMs >= spacingMs) {
      peeked.hastenedMs = nowMs;
      peeked.isOwed = false;
      this.#target.hasten();
    }
    return isTaken;
  }

  discard(...discarded: Parameters<FrameTarget["discard"]>): void {
    this.#target.discard(...discarded);
  }

  hasRoom(bytes: number): boolean {
    return this.#target.hasRoom(bytes);
  }

  committed(): Promise<void> {
    return this.#target.committed();
  }

  #bringsAlarm(source: string, bytes: Uint8Array, origin: string | undefined, nowMs: number): boolean {
    let does = false;
    for (const { device, values } of this.#measured(source, bytes, origin)) {
      for (const { channel, quality } of values) {
        const isBad = quality === "bad";
        const key = `${source}\n${device}\n${channel}`;
        const before = this.#channels.get(key);
        if (before?.isBad === isBad) continue;
        const isTold = nowMs >= (before?.quietUntilMs ?? 0) && (isBad || before !== undefined);
        if (!before && this.#channels.size >= maxChannels) this.#channels.clear();
        const spacing = this.#stages?.config.alarms?.minSpacingMs ?? 0;
        const quietUntilMs = isTold ? nowMs + spacing : (before?.quietUntilMs ?? 0);
        this.#channels.set(key, { isBad, quietUntilMs });
        does ||= isTold;
      }
    }
    return does;
  }

  #measured(source: string, bytes: Uint8Array, origin: string | undefined): Measurement[] {
    const { decoders, calibrate, validate } = this.#stages ?? {};
    try {
      const decoded = decoders?.get(source)?.(bytes, this.#clock.wall(), origin);
      if (!decoded || "discard" in decoded || !calibrate || !validate) return [];
      return decoded.readings.map((reading) => validate(calibrate(reading), source));
    } catch {
      // A stage's bug: the pipeline will find it in the journal, count the frame out and say so.
      return [];
    }
  }
}

function waitsForNobody(source: Config["sources"][string] | undefined, hub: Config["hub"]): boolean {
  switch (source?.type) {
    case undefined:
    case "http":
    case "imageFolder":
      return false;
    case "mqtt":
      return source.qos === 0;
    case "hub":
      return hub.type !== "mqtt" && hub.client === "sdk";
    default:
      return true;
  }
}
