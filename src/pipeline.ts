import { type Calibrate, compileCalibration } from "./calibrate/calibration.ts";
import type { PipelineConfig } from "./config/schema.ts";
import type { Entry } from "./core/entry.ts";
import type { TimeQuality } from "./core/reading.ts";
import { ChannelNames } from "./decode/channel-names.ts";
import { compileDecoder, type Decode } from "./decode/decoder.ts";
import { Dedupe, type DedupeSnapshot } from "./dedupe/dedupe.ts";
import { type JournalEntry, readBatch } from "./journal/batch.ts";
import { PipelineFault } from "./journal/fault.ts";
import {
  type Account,
  accountOf,
  countDiscard,
  countFrameDiscard,
  countNote,
  type Ledger,
} from "./ledger/ledger.ts";
import { gapEntry } from "./outbox/gap-entry.ts";
import { compileValidation, type Validate } from "./validate/validation.ts";
import type { EntryContext } from "./window/window-entry.ts";
import { Windows, type WindowsSnapshot } from "./window/windows.ts";

/** What a batch brought forth: entries for the outbox and what the ledger has to add. */
export interface PipelineOutput {
  readonly entries: Entry[];
  readonly ledger: Ledger;
  /** How many journal entries the batch held. */
  journalEntries: number;
}

export interface PipelineSnapshot {
  readonly config: PipelineConfig | undefined;
  /** How many configuration entries came so far. */
  readonly generation: number;
  readonly timeQuality: TimeQuality;
  readonly nowMs: number;
  readonly monotonicMs: number;
  readonly windows: WindowsSnapshot;
  /** Per source with times of its own, gone ones too: when it was last heard, and the newest of its times. */
  readonly heard: Readonly<Record<string, Heard>>;
  readonly gaps?: number;
  /** Absent in snapshots of versions that knew no dedupe. */
  readonly dedupe?: DedupeSnapshot;
}
interface Heard {
  /** Monotonic: a step of the wall clock must not pass for silence. */
  receivedMs: number;
  newestMs: number;
}

interface Compiled {
  readonly config: PipelineConfig;
  readonly decoders: ReadonlyMap<string, Decode>;
  readonly calibrate: Calibrate;
  readonly validate: Validate;
  readonly context: EntryContext;
}

/**
 * The pure stages behind the journal, one after the other: decode, calibrate, validate, window.
 * It reads no clock and no configuration but what the journal brings, so the same batches give the same entries.
 */
export class Pipeline {
  readonly #storeId: string;
  readonly #windows = new Windows();
  readonly #heard = new Map<string, Heard>();
  readonly #dedupe = new Dedupe();
  #compiled: Compiled | undefined;
  #generation = 0;
  #timeQuality: TimeQuality = "unsynced";
  #nowMs = 0;
  #monotonicMs = 0;
  /** How many gaps were told, for their ids. */
  #gaps = 0;

  constructor(storeId: string) {
    this.#storeId = storeId;
  }

  apply(batch: Uint8Array): PipelineOutput {
    const output: PipelineOutput = { entries: [], ledger: new Map(), journalEntries: 0 };
    for (const entry of readBatch(batch)) {
      try {
        this.#applyEntry(entry, output);
      } catch (error) {
        throw new PipelineFault(output.journalEntries, error);
      }
      output.journalEntries++;
    }
    return output;
  }

  get config(): PipelineConfig | undefined {
    return this.#compiled?.config;
  }

  /** Readings in open windows that no entry accounts for yet, per source. */
  held(): Record<string, number> {
    return this.#windows.held();
  }

  /** A part of what the open windows held is lost; they say so when they are told. */
  markDamaged(): void {
    this.#windows.markDamaged();
  }

  get openWindows(): number {
    return this.#windows.openCount;
  }

  /** Wall ms at which a tick would close a window, if nothing else comes; undefined without open windows. */
  wakeAtMs(): number | undefined {
    let wake: number | undefined;
    for (const [source, due] of this.#windows.due()) {
      const at = this.#wakeFor(source, due);
      wake = wake === undefined ? at : Math.min(wake, at);
    }
    return wake;
  }

  snapshot(): PipelineSnapshot {
    return {
      config: this.#compiled?.config,
      generation: this.#generation,
      timeQuality: this.#timeQuality,
      nowMs: this.#nowMs,
      monotonicMs: this.#monotonicMs,
      windows: this.#windows.snapshot(),
      heard: Object.fromEntries(this.#heard),
      gaps: this.#gaps,
      dedupe: this.#dedupe.snapshot(),
    };
  }

  restore(snapshot: PipelineSnapshot): void {
    this.#compiled = snapshot.config && this.#compile(snapshot.config);
    this.#generation = snapshot.generation;
    this.#timeQuality = snapshot.timeQuality;
    this.#nowMs = snapshot.nowMs;
    this.#monotonicMs = snapshot.monotonicMs;
    this.#windows.restore(snapshot.windows);
    this.#gaps = snapshot.gaps ?? 0;
    this.#heard.clear();
    for (const [source, heard] of Object.entries(snapshot.heard)) this.#heard.set(source, heard);
    this.#dedupe.configure(snapshot.config?.sources ?? {});
    this.#dedupe.restore(snapshot.dedupe ?? {});
  }

  #applyEntry(entry: JournalEntry, output: PipelineOutput): void {
    switch (entry.type) {
      case "frame":
        this.#at(entry);
        this.#frame(entry, output);
        return;
      case "tick":
        this.#at(entry);
        this.#tick(output);
        return;
      case "clock":
        this.#at(entry);
        this.#timeQuality = entry.quality;
        return;
      case "configuration": {
        this.#nowMs = entry.wallMs;
        const reason = this.#compiled ? "configuration" : "start";
        this.#compiled = this.#compile(entry.config);
        this.#dedupe.configure(entry.config.sources);
        for (const [name, { decode }] of Object.entries(entry.config.sources)) {
          if (!decode.time) this.#heard.delete(name);
        }
        const { context } = this.#compiled;
        const inForce = { generation: ++this.#generation, sinceMs: entry.wallMs, reason } as const;
        output.entries.push(...this.#windows.configure(entry.config.windows, inForce, context));
        return;
      }
      case "discard": {
        const account = accountOf(output.ledger, entry.source);
        account.frames += entry.count;
        countFrameDiscard(account, entry.reason, entry.count);
        return;
      }
      case "gap": {
        const { gaps } = accountOf(output.ledger, entry.source);
        if (entry.count === "unknown") gaps.unknown++;
        else gaps.counted += entry.count;
        if (this.#compiled) output.entries.push(this.#gapEntry(entry, this.#compiled.context));
        return;
      }
      case "fault": {
        const account = accountOf(output.ledger, entry.source);
        account.frames++;
        countFrameDiscard(account, "pipelineFault");
        return;
      }
      default:
        entry satisfies never;
    }
  }

  #at({ wallMs, monotonicMs }: { readonly wallMs: number; readonly monotonicMs: number }): void {
    this.#nowMs = wallMs;
    // After a boot it starts anew, and silence is reckoned from there.
    if (monotonicMs < this.#monotonicMs)
      for (const heard of this.#heard.values()) heard.receivedMs = monotonicMs;
    this.#monotonicMs = monotonicMs;
  }

  #gapEntry(gap: Extract<JournalEntry, { type: "gap" }>, { storeId, gateway }: EntryContext): Entry {
    const { source, fromMs, toMs, count, reason } = gap;
    return gapEntry(storeId, `${this.#gaps++}`, { gateway, source, fromMs, toMs, count, reason });
  }

  #tick(output: PipelineOutput): void {
    for (const source of [...this.#windows.sources()]) {
      this.#advance(source, this.#tickWatermark(source), output);
    }
    if (this.#compiled) output.entries.push(...this.#windows.revise(this.#nowMs, this.#compiled.context));
  }

  #frame(frame: Extract<JournalEntry, { type: "frame" }>, output: PipelineOutput): void {
    const account = accountOf(output.ledger, frame.source);
    account.frames++;
    if (this.#dedupe.isRepeatedFrame(frame.source, frame)) {
      countFrameDiscard(account, "duplicate");
      return;
    }
    const compiled = this.#compiled;
    const decode = compiled?.decoders.get(frame.source);
    const decoded =
      decode?.(frame.bytes, frame.wallMs, frame.origin) ?? ({ discard: "unknownSource" } as const);
    if (!compiled || "discard" in decoded) {
      countFrameDiscard(account, "discard" in decoded ? decoded.discard : "unknownSource");
      return;
    }
    account.decoded++;
    for (const note of decoded.notes) countNote(account, note);
    let newestMs = Number.NEGATIVE_INFINITY;
    for (const reading of decoded.readings) {
      account.ingested++;
      newestMs = Math.max(newestMs, reading.timeMs);
      if (this.#dedupe.isRepeatedReading(frame.source, reading)) {
        countDiscard(account, "duplicate");
        continue;
      }
      const measurement = compiled.validate(compiled.calibrate(reading));
      if (measurement.values.some((value) => value.quality === "bad")) account.bad++;
      this.#place(frame.source, measurement, compiled, account);
    }
    if (this.#hasOwnTime(frame.source)) {
      const heard = this.#heard.get(frame.source);
      newestMs = Math.max(newestMs, heard?.newestMs ?? Number.NEGATIVE_INFINITY);
      this.#heard.set(frame.source, { receivedMs: frame.monotonicMs, newestMs });
    }
    this.#advance(frame.source, newestMs, output);
  }

  #place(source: string, measurement: ReturnType<Validate>, compiled: Compiled, account: Account): void {
    const placement = this.#windows.add(source, measurement, {
      timeQuality: this.#timeQuality,
      configuration: compiled.config.hash,
      ownTime: this.#hasOwnTime(source),
    });
    if (placement.discard) countDiscard(account, placement.discard);
    for (const note of placement.notes) countNote(account, note);
  }

  #advance(source: string, watermarkMs: number, output: PipelineOutput): void {
    if (!this.#compiled) return;
    output.entries.push(...this.#windows.advance(source, watermarkMs, this.#nowMs, this.#compiled.context));
  }

  #hasOwnTime(source: string): boolean {
    return this.#compiled?.config.sources[source]?.decode.time !== undefined;
  }

  /**
   * A tick stands behind all frames received before it, so it moves a source stamped on receipt to now.
   * A source with its own times is moved only when idle, and in its own time: its clock may be off by any amount.
   */
  #tickWatermark(source: string): number {
    const heard = this.#heard.get(source);
    if (!heard) return this.#nowMs;
    const idleMs = this.#compiled?.config.sources[source]?.idleMs ?? 0;
    return heard.newestMs + Math.max(0, this.#monotonicMs - heard.receivedMs - idleMs);
  }

  /** Wall ms at which a tick's watermark reaches `dueMs`. */
  #wakeFor(source: string, dueMs: number): number {
    const heard = this.#heard.get(source);
    if (!heard) return dueMs;
    const idleMs = this.#compiled?.config.sources[source]?.idleMs ?? 0;
    const silentMs = this.#monotonicMs - heard.receivedMs;
    return this.#nowMs + idleMs - silentMs + dueMs - heard.newestMs;
  }

  #compile(config: PipelineConfig): Compiled {
    const names = new ChannelNames(config.channels);
    const sources = Object.entries(config.sources);
    return {
      config,
      decoders: new Map(sources.map(([name, source]) => [name, compileDecoder(source, names)])),
      calibrate: compileCalibration(config.calibrate),
      validate: compileValidation(config.validate),
      context: {
        storeId: this.#storeId,
        gateway: config.gateway,
        units: new Map(
          Object.entries(config.channels).flatMap(([name, { unit }]) =>
            unit === undefined ? [] : [[name, unit]],
          ),
        ),
        intervalMs: new Map(
          sources.flatMap(([name, { intervalMs }]) => (intervalMs === undefined ? [] : [[name, intervalMs]])),
        ),
      },
    };
  }
}
