import { type CompiledStages, compileStages } from "./compiled-stages.ts";
import type { PipelineConfig } from "./config/schema.ts";
import { type Entry, idInSeries } from "./core/entry.ts";
import { messageOf } from "./core/errors.ts";
import type { Measurement, Reading } from "./core/reading.ts";
import { noteSkipped } from "./core/skipped.ts";
import { Dedupe } from "./dedupe/dedupe.ts";
import { Alarms, type Moment } from "./detect/alarms.ts";
import { Feeds } from "./feed/feeds.ts";
import { type JournalEntry, readBatch } from "./journal/batch.ts";
import { PipelineFault } from "./journal/fault.ts";
import { type KeyEntry, KeyMemory } from "./journal/key-memory.ts";
import { type TimedEntry, type TimedStages, Timekeeper } from "./journal/timekeeper.ts";
import {
  type Account,
  accountOf,
  countDiscard,
  countFrameDiscard,
  countNote,
  discardFrame,
} from "./ledger/ledger.ts";
import { gapEntry } from "./outbox/gap-entry.ts";
import { maxChannels, readingEntry } from "./outbox/reading-entry.ts";
import type { PipelineOutput, PipelineSnapshot } from "./pipeline-contract.ts";
import { TextStage } from "./sentiment/text-stage.ts";
import { Watermarks } from "./window/watermarks.ts";
import type { EntryContext } from "./window/window-entry.ts";
import { Windows } from "./window/windows.ts";

/**
 * The pure stages behind the journal, one after the other: decode, calibrate, validate, detect, window.
 * It reads no clock and no configuration but what the journal brings, so the same batches give the same entries.
 */
export class Pipeline {
  readonly #storeId: string;
  readonly #windows = new Windows((told) => this.feeds.window(told, this.#time.nowMs));
  readonly #watermarks = new Watermarks();
  readonly #alarms = new Alarms();
  #keys = new KeyMemory();
  readonly #dedupe = new Dedupe();
  readonly #texts = new TextStage();
  readonly feeds = new Feeds();
  #compiled: CompiledStages | undefined;
  #generation = 0;
  readonly #time = new Timekeeper();
  /** How many gaps were told, for their ids. */
  #gaps = 0;
  /** How many readings were published by themselves, for their ids. */
  #readings = 0;

  constructor(storeId: string) {
    this.#storeId = storeId;
  }

  apply(batch: Uint8Array): PipelineOutput {
    const told = { entries: [], ledger: new Map(), skipped: [], taken: [], settled: [] };
    const output: PipelineOutput = { ...told, journalEntries: 0, uncleanStops: 0 };
    const stages: TimedStages = {
      process: (entry, wasHeld) =>
        wasHeld && entry.type === "frame" ? this.#processHeld(entry, output) : this.#process(entry, output),
      stepped: (step) => this.#windows.relabel(step, this.#watermarks.hasOwn),
      booted: (sinceMs, anewFromMs) => this.#booted(sinceMs, anewFromMs, output),
    };
    for (const entry of readBatch(batch)) {
      try {
        this.#applyEntry(entry, stages, output);
      } catch (error) {
        throw new PipelineFault(output.journalEntries, error);
      }
      output.journalEntries++;
    }
    for (const { source, ...note } of this.feeds.takeNotes())
      if ("note" in note) countNote(accountOf(output.ledger, source), note.note);
      else discardFrame(output.ledger, source, note.discard);
    for (const { kind, source } of output.entries)
      if (kind === "alarm") countNote(accountOf(output.ledger, source), "alarm");
    return output;
  }

  /** The last configuration of the journal, in force or held back. */
  get config(): PipelineConfig | undefined {
    return this.#time.heldConfig ?? this.#compiled?.config;
  }

  /** The time that the journal told. */
  get time(): Pick<Timekeeper, "boot" | "steadyBaseMs" | "steadyMs" | "isHolding" | "heldFrames"> {
    return this.#time;
  }

  /** Readings in open windows that no entry accounts for yet, per source. */
  held(): Record<string, number> {
    return this.#windows.held();
  }

  /** A part of what the open windows held is lost; they say so when they are told. */
  markDamaged(): void {
    this.#windows.markDamaged();
  }

  /** Idempotency keys remembered, oldest first. */
  get keys(): readonly KeyEntry[] {
    return this.#keys.entries();
  }

  /** Which texts wait for their scores. */
  get texts(): Pick<TextStage, "waiting" | "queue" | "isOutcome"> {
    return this.#texts;
  }

  get openWindows(): number {
    return this.#windows.openCount;
  }

  /** Steady ms at which a tick would close a window, find an alarm or end a hold, if nothing else comes; undefined if none would. */
  wakeAtMs(): number | undefined {
    const { isHolding, heldFrames, holdEndMs } = this.#time;
    const alarmMs = this.#alarms.dueMs();
    if (isHolding) {
      const waits = heldFrames > 0 || this.openWindows > 0 || alarmMs !== undefined;
      return waits ? holdEndMs : undefined;
    }
    let wake = alarmMs === undefined ? undefined : this.#time.steadyMs(alarmMs);
    for (const [source, due] of this.#windows.due()) {
      if (this.feeds.firstMs(source) < due) continue;
      const at = this.#watermarks.wakeMs(source, due, this.#time, this.#idleMs(source));
      wake = wake === undefined ? at : Math.min(wake, at);
    }
    return wake === Number.POSITIVE_INFINITY ? undefined : wake;
  }

  snapshot(): PipelineSnapshot {
    return {
      ...this.#time.snapshot(),
      config: this.#compiled?.config,
      generation: this.#generation,
      windows: this.#windows.snapshot(),
      heard: this.#watermarks.snapshot(),
      gaps: this.#gaps,
      readings: this.#readings,
      alarms: this.#alarms.snapshot(),
      keys: this.keys,
      dedupe: this.#dedupe.snapshot(),
      texts: this.#texts.queue.snapshot(),
      feeds: this.feeds.snapshot(),
    };
  }

  restore(snapshot: PipelineSnapshot): void {
    this.#compiled = snapshot.config && compileStages(this.#storeId, snapshot.config, snapshot.generation);
    this.#generation = snapshot.generation;
    this.#time.restore(snapshot, snapshot.config);
    this.#windows.restore(snapshot.windows);
    this.#gaps = snapshot.gaps ?? 0;
    this.#readings = snapshot.readings ?? 0;
    if (this.#compiled) this.#alarms.restore(snapshot.alarms, this.#compiled.config, this.#compiled.context);
    this.#watermarks.restore(snapshot.heard);
    this.#keys = new KeyMemory(snapshot.keys);
    this.#dedupe.configure(snapshot.config?.sources ?? {});
    this.#dedupe.restore(snapshot.dedupe ?? {});
    this.#texts.use(snapshot.config?.sources ?? {});
    if (snapshot.texts) this.#texts.queue.restore(snapshot.texts);
    this.feeds.restore(snapshot.feeds, snapshot.config?.feeds);
  }

  #applyEntry(entry: JournalEntry, stages: TimedStages, output: PipelineOutput): void {
    switch (entry.type) {
      case "frame":
      case "tick":
      case "clock":
      case "configuration":
        this.#time.take(entry, stages);
        // A process tells its clock first, and nobody listened before it.
        if (entry.type === "clock") this.#alarms.listenFrom(entry.monotonicMs);
        return;
      case "discard":
        discardFrame(output.ledger, entry.source, entry.reason, entry.count);
        return;
      case "gap": {
        const { gaps } = accountOf(output.ledger, entry.source);
        if (entry.reason === "uncleanStop") output.uncleanStops++;
        if (entry.count === "unknown") gaps.unknown++;
        else gaps.counted += entry.count;
        if (this.#compiled) output.entries.push(this.#gapEntry(entry, this.#compiled.context));
        return;
      }
      case "fault":
        this.feeds.settle(entry.source, entry.origin ?? "");
        discardFrame(output.ledger, entry.source, "pipelineFault");
        return;
      case "key":
        this.#keys.add(entry);
        return;
      case "lostTexts":
        for (const source of this.#texts.lose(entry.lost)) discardFrame(output.ledger, source, "damaged");
        return;
      default:
        entry satisfies never;
    }
  }

  /** The batch that brought it is past: a frame that a stage throws at cannot be taken out of it any more. */
  #processHeld(entry: Extract<TimedEntry, { type: "frame" }>, output: PipelineOutput): void {
    const account = accountOf(output.ledger, entry.source);
    const before = structuredClone(account);
    try {
      this.#process(entry, output);
    } catch (error) {
      Object.assign(account, before);
      discardFrame(output.ledger, entry.source, "pipelineFault");
      countNote(account, `pipelineFault:${messageOf(error).slice(0, 80)}`);
    }
  }

  #process(entry: TimedEntry, output: PipelineOutput): void {
    switch (entry.type) {
      case "frame":
        this.#frame(entry, output);
        return;
      case "tick":
        this.#tick(output);
        return;
      case "configuration":
        this.#configure(entry.config, output);
        return;
      default:
        entry satisfies never;
    }
  }

  #configure(config: PipelineConfig, output: PipelineOutput): void {
    const reason = this.#compiled ? "configuration" : "start";
    const generation = ++this.#generation;
    this.#compiled = compileStages(this.#storeId, config, generation);
    this.#dedupe.configure(config.sources);
    for (const source of this.#texts.configure(config.sources, output))
      discardFrame(output.ledger, source, "unknownSource");
    this.feeds.configure(config.feeds);
    this.#alarms.configure(config, this.#compiled.context);
    const { context } = this.#compiled;
    const { nowMs: sinceMs, offsetMs } = this.#time;
    const known = new Set(this.#windows.sources());
    for (const [name, { decode }] of Object.entries(config.sources)) {
      const hasOwnTime = decode.time !== undefined;
      if (known.has(name) && hasOwnTime !== this.#watermarks.hasOwn(name))
        output.entries.push(...this.#windows.turn(name, hasOwnTime, sinceMs, context));
      if (!hasOwnTime) this.#watermarks.forget(name);
    }
    const inForce = { generation, sinceMs, reason, offsetMs } as const;
    output.entries.push(...this.#windows.configure(config.windows, inForce, context));
  }

  #booted(sinceMs: number, anewFromMs: number | undefined, output: PipelineOutput): void {
    this.#watermarks.booted(sinceMs);
    this.#alarms.booted(sinceMs, anewFromMs !== undefined);
    if (anewFromMs === undefined || !this.#compiled) return;
    const { context } = this.#compiled;
    output.entries.push(...this.#windows.beginAnew(anewFromMs, this.#watermarks.hasOwn, context));
  }

  #gapEntry(gap: Extract<JournalEntry, { type: "gap" }>, { storeId, gateway }: EntryContext): Entry {
    const { source, fromMs, toMs, count, reason } = gap;
    return gapEntry(storeId, `${this.#gaps++}`, { gateway, source, fromMs, toMs, count, reason });
  }

  #tick(output: PipelineOutput): void {
    this.#alarms.tick(this.#momentOf(this.#time.monotonicMs), output.entries);
    for (const source of [...this.#windows.sources()]) {
      this.#advance(source, this.#watermarks.atTick(source, this.#time, this.#idleMs(source)), output);
    }
    if (this.#compiled)
      output.entries.push(...this.#windows.revise(this.#time.nowMs, this.#compiled.context));
  }

  #frame(frame: Extract<JournalEntry, { type: "frame" }>, output: PipelineOutput): void {
    const account = accountOf(output.ledger, frame.source);
    account.frames++;
    const feed = this.feeds.settle(frame.source, frame.origin);
    if (feed === false || this.#dedupe.isRepeatedFrame(frame.source, frame)) {
      countFrameDiscard(account, "duplicate");
      return;
    }
    const compiled = this.#compiled;
    const hasOwnTime = this.#hasOwnTime(frame.source);
    const { nowMs } = this.#time;
    const arrival = this.#texts.arrive(frame, hasOwnTime ? nowMs + this.#time.offsetMs : nowMs, output);
    if (arrival === "taken") {
      account.decoded++;
      return;
    }
    // Steady time may have begun anew since the text or the feed came, or its source have had times of its own.
    const latestMs = hasOwnTime ? this.#time.latestMs(frame.wallMs) : nowMs;
    const textMs = !hasOwnTime && arrival && "textMs" in arrival ? arrival.textMs : undefined;
    const receivedMs = Math.min(latestMs, feed?.timeMs ?? textMs ?? latestMs);
    const decode = arrival && "discard" in arrival ? () => arrival : compiled?.decoders.get(frame.source);
    const decoded =
      decode?.(frame.bytes, receivedMs, frame.origin) ?? ({ discard: "unknownSource" } as const);
    if (!compiled || "discard" in decoded) {
      const reason = "discard" in decoded ? decoded.discard : "unknownSource";
      countFrameDiscard(account, reason);
      noteSkipped(output.skipped, frame.source, reason, frame.bytes);
      return;
    }
    account.decoded++;
    for (const note of decoded.notes) countNote(account, note);
    let newestMs = Number.NEGATIVE_INFINITY;
    const told: Entry[] = [];
    const moment = this.#momentOf(frame.monotonicMs);
    const isTold = compiled.config.sources[frame.source]?.readings === "all";
    for (const reading of decoded.readings) {
      newestMs = Math.max(newestMs, reading.timeMs);
      const isRepeated = this.#dedupe.isRepeatedReading(frame.source, reading);
      if (reading.texts) this.#takeTexts(frame.source, reading, isRepeated, output);
      if (reading.values.length === 0) continue;
      account.ingested++;
      if (isRepeated) {
        countDiscard(account, "duplicate");
        continue;
      }
      const measurement = compiled.validate(compiled.calibrate(reading), frame.source);
      if (measurement.values.some((value) => value.quality === "bad")) account.bad++;
      const unwatched = this.#alarms.judge(frame.source, measurement, moment, output.entries);
      if (unwatched > 0) countNote(account, "tooManyConditions", unwatched);
      this.#place(frame.source, measurement, isTold, compiled, account);
      this.feeds.reading(frame.source, measurement, nowMs);
      if (isTold) told.push(this.#readingEntry(frame.source, measurement, compiled, account));
    }
    if (hasOwnTime) newestMs = this.#watermarks.hear(frame.source, frame.monotonicMs, newestMs);
    this.#advance(frame.source, newestMs, output);
    // Last, so that a frame that a stage threw at has told nothing of itself.
    for (const entry of told) output.entries.push(entry);
  }

  #takeTexts(source: string, reading: Reading, isRepeated: boolean, output: PipelineOutput): void {
    if (isRepeated) countNote(accountOf(output.ledger, source), "repeatedText");
    else
      for (const full of this.#texts.take(source, reading, output))
        discardFrame(output.ledger, full, "queueFull");
  }

  #momentOf(monotonicMs: number): Moment {
    const { nowMs: steadyMs, offsetMs, timeQuality } = this.#time;
    return { monotonicMs, steadyMs, offsetMs, timeQuality };
  }

  #readingEntry(source: string, measurement: Measurement, compiled: CompiledStages, account: Account): Entry {
    const { config, context, series } = compiled;
    const { timeQuality, nowMs } = this.#time;
    const ignored = measurement.values.length - maxChannels;
    if (ignored > 0) countNote(account, "tooManyChannels", ignored);
    return readingEntry(idInSeries(series, this.#readings++), measurement, {
      ...context,
      source,
      timeQuality,
      timeMs: this.#toldMs(source, measurement.timeMs),
      readyMs: nowMs,
      configuration: config.hash,
    });
  }

  /** The time of a reading as it is told: the device's own, or wall time. */
  #toldMs(source: string, timeMs: number): number {
    return this.#hasOwnTime(source) ? timeMs : timeMs + this.#time.offsetMs;
  }

  #place(
    source: string,
    measurement: Measurement,
    isPublished: boolean,
    compiled: CompiledStages,
    account: Account,
  ): void {
    const placement = this.#windows.add(source, measurement, {
      timeQuality: this.#time.timeQuality,
      configuration: compiled.config.hash,
      ownTime: this.#hasOwnTime(source),
      isPublished,
    });
    if (placement.discard) countDiscard(account, placement.discard);
    for (const note of placement.notes) countNote(account, note);
  }

  #advance(source: string, watermarkMs: number, output: PipelineOutput): void {
    if (!this.#compiled) return;
    const { context } = this.#compiled;
    // What waits for its result comes yet, however long the model or the box was away.
    const upToMs = Math.min(watermarkMs, this.feeds.firstMs(source));
    output.entries.push(...this.#windows.advance(source, upToMs, this.#time.nowMs, context));
  }

  #hasOwnTime(source: string): boolean {
    return this.#compiled?.config.sources[source]?.decode.time !== undefined;
  }

  /** How long windows wait: for times of its own while a source is silent, for results, and for scores for ever. */
  #idleMs(source: string): number {
    if (this.#texts.isWaitingFor(source)) return Number.POSITIVE_INFINITY;
    const { decode, sentiment, idleMs = 0 } = this.#compiled?.config.sources[source] ?? {};
    return decode?.time || decode?.format === "model" || sentiment ? idleMs : 0;
  }
}
