import { allowance, liveReserve, turn, waitForBlocksMs } from "./bill.ts";
import { corrupt } from "./checksum.ts";
import { LaneReader } from "./lane-reader.ts";
import { alarmLane, numberIn, priorityLanes } from "./lanes.ts";
import {
  bodyOf,
  bodyOverhead,
  compressed,
  entryOverhead,
  headerBytes,
  type MessageClass,
  type MessageForm,
  type MessageFormat,
} from "./message-body.ts";
import type { Outbox, WaitingRow } from "./outbox.ts";
import { dueNow } from "./packing.ts";

export interface ComposeSettings {
  /** How long a finished entry may wait for company. */
  readonly maxDelayMs: number;
  readonly maxMessageBytes: number;
  /** What the hub bills by. */
  readonly blockBytes: number;
  readonly output: string;
  readonly format: MessageFormat;
  readonly compression: "none" | "gzip";
  /** Older than this, an entry is backlog. */
  readonly backfillAfterMs: number;
  /** What may be billed in a day (UTC); alarms go all the same. */
  readonly dailyBlocks?: number | undefined;
}

/** How many messages of a class may wait composed; none while the hub takes none. */
export interface Demand extends Readonly<Record<MessageClass, number>> {
  /** Composed, and not sent for now because the hub ends the connection at them: they must not be in the way of others. */
  readonly leftOut?: Readonly<Record<MessageClass, number>>;
}

/**
 * Messages composed ahead of the hub. Their composition is final, so what stands in them can neither be thinned nor
 * evicted; a few are enough to keep a fast hub busy from one commit to the next.
 */
export const fullDemand: Demand = { alarm: 64, live: 64, backfill: 64 };
export const noDemand: Demand = { alarm: 0, live: 0, backfill: 0 };

/** One go at composing. */
interface Round {
  /** Steady ms; and wall ms, which says what day it is. */
  readonly nowMs: number;
  readonly wallMs: number;
  readonly settings: ComposeSettings;
  readonly demand: Demand;
  /** Composed entries cannot make room in a full store, so they are no more than this. */
  readonly aheadBytes: number;
}

/** How well gzip does, until it is known. */
const firstRatio = 3;
/** Of what the ratio promises, so that most messages fit at once. */
const caution = 0.9;

/**
 * Composes messages of the entries that wait: alarms at once; what is new when a message is full, or when its oldest
 * entry has waited long enough; what is backlog behind that.
 */
export class Composer {
  readonly #outbox: Outbox;
  /** Plain bytes for a compressed one, lately. */
  #ratio = firstRatio;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /**
   * `nowMs`: steady. Returns when the rest falls due, steady ms too, or undefined when nothing waits for that.
   * @throws PermanentError STORE_CORRUPT when rows are missing
   */
  compose(
    nowMs: number,
    settings: ComposeSettings,
    demand: Demand = fullDemand,
    aheadBytes = Number.POSITIVE_INFINITY,
    wallMs = nowMs,
  ): number | undefined {
    const round = { nowMs, wallMs, settings, demand, aheadBytes };
    const { lanes, bill } = this.#outbox.counters;
    turn(bill, wallMs);
    const expected = Object.values(lanes).map((lane) => ({ lane, entries: lane.entries }));
    // What may wait for company has not waited for the hub yet.
    const agedMs = nowMs - settings.maxDelayMs - settings.backfillAfterMs;
    for (const lane of priorityLanes) this.#age(lane, agedMs, nowMs);
    const readers = (of: readonly number[], from: "from" | "live", to: (lane: number) => number) =>
      of.flatMap((number) => {
        const lane = lanes[number];
        return lane ? [new LaneReader(this.#outbox, lane, from, to(number))] : [];
      });
    const end = (lane: number) => numberIn(lane + 1, 0);
    const alarms = readers([alarmLane], "from", end);
    const live = readers(priorityLanes, "live", end);
    const backlog = readers(priorityLanes, "from", (lane) => lanes[lane]?.live ?? 0);
    const { maxDelayMs, backfillAfterMs } = settings;
    const due = [
      this.#class("alarm", alarms, 0, round),
      this.#class("live", live, maxDelayMs, round),
      this.#class("backfill", backlog, backfillAfterMs + 2 * maxDelayMs, round),
      this.#budgetMs(live, backlog, round),
    ].filter((ms) => ms !== undefined);
    // Of a lane that was read to its end.
    for (const { lane, entries } of expected) {
      const of = [...alarms, ...live, ...backlog].filter((reader) => reader.counters === lane);
      const seen = of.reduce((sum, reader) => sum + reader.seen, 0);
      if (of.every((reader) => reader.isExhausted) && seen !== entries)
        throw corrupt(`${entries} entries wait in the outbox, and ${seen} are there`);
    }
    // Where no backlog is left it begins where the new ends, so that what was sent is not looked through again.
    for (const reader of backlog)
      if (reader.isExhausted && !reader.at(0)) reader.counters.from = reader.counters.live;
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  /** The budget keeps back what the hub would take. */
  isShort({ dailyBlocks }: ComposeSettings, wallMs: number, demand: Demand = fullDemand): boolean {
    if (dailyBlocks === undefined || demand.live === 0) return false;
    return allowance(this.#outbox.counters.bill, dailyBlocks, wallMs) < 1;
  }

  /**
   * What was finished before `untilMs` is backlog. Entries stand in the order of their making, and none says that it was
   * finished further back than `maxDelayMs` (see `Outbox.insert`), so whatever stands before an aged one has waited.
   */
  #age(number: number, untilMs: number, nowMs: number): void {
    const lane = this.#outbox.counters.lanes[number];
    if (!lane || lane.entries === 0) return;
    const end = numberIn(number + 1, 0);
    const agedFrom = (entry: number) => {
      const row = this.#outbox.firstFrom(entry, end);
      // One finished later than now was told so by another clock, before a boot.
      return row && (row.ready < untilMs || row.ready > nowMs) ? row.entry : undefined;
    };
    let aged = agedFrom(lane.live);
    if (aged === undefined) return;
    let fresh = numberIn(number, this.#outbox.counters.nextEntry);
    while (fresh - aged > 1) {
      const middle = Math.floor((aged + fresh) / 2);
      const found = agedFrom(middle);
      if (found === undefined) fresh = middle;
      else aged = found;
    }
    lane.live = fresh;
  }

  /** Messages of one class; returns when the rest falls due. */
  #class(
    of: MessageClass,
    readers: readonly LaneReader[],
    delayMs: number,
    round: Round,
  ): number | undefined {
    const { settings, nowMs } = round;
    const form: MessageForm = { class: of, format: settings.format };
    while (this.#isWanted(of, round)) {
      const { counts, isFull } = this.#gather(readers, form, round);
      if (counts.every((count) => count === 0)) return undefined;
      if (isFull) {
        this.#message(readers, counts, form, round);
        continue;
      }
      // One finished later than now was told so by another clock, before a boot: it has waited for who knows how long.
      const dueMs = ({ ready }: WaitingRow) => (ready > nowMs ? nowMs : ready + delayMs);
      const overhead = entryOverhead(form);
      const waiting = readers.map((reader, lane) =>
        reader.first(counts[lane] ?? 0).map((row) => ({ bytes: row.size + overhead, dueMs: dueMs(row) })),
      );
      const going = dueNow(waiting, nowMs, this.#fixedBytes(form, settings), settings.blockBytes);
      if (going && settings.compression === "gzip") {
        // Blocks are those of the compressed message, which may hold fewer than wait: the rest is looked at again.
        this.#message(readers, counts, form, round);
        continue;
      }
      if (going) this.#message(readers, going, form, round);
      const left = waiting.flatMap((lane, i) => lane.slice(going?.[i] ?? 0)).map((row) => row.dueMs);
      return left.length > 0 ? left.reduce((min, ms) => Math.min(min, ms)) : undefined;
    }
    return undefined;
  }

  /** When the day's budget lets what waits go on. */
  #budgetMs(live: readonly LaneReader[], backlog: readonly LaneReader[], round: Round): number | undefined {
    const { nowMs, wallMs, settings, demand } = round;
    const { dailyBlocks } = settings;
    const waits = (readers: readonly LaneReader[]) => readers.some((reader) => reader.at(0) !== undefined);
    if (dailyBlocks === undefined || demand.live === 0) return undefined;
    const needed = waits(live) ? 1 : waits(backlog) ? 1 + liveReserve(dailyBlocks) : 0;
    const waitMs = waitForBlocksMs(this.#outbox.counters.bill, dailyBlocks, wallMs, needed);
    return waitMs > 0 ? nowMs + waitMs : undefined;
  }

  #isWithinBudget(of: MessageClass, { settings: { dailyBlocks }, wallMs }: Round): boolean {
    if (dailyBlocks === undefined || of === "alarm") return true;
    const left = allowance(this.#outbox.counters.bill, dailyBlocks, wallMs);
    return left - (of === "backfill" ? liveReserve(dailyBlocks) : 0) >= 1;
  }

  #isWanted(of: MessageClass, round: Round): boolean {
    const { demand, aheadBytes } = round;
    const { composed, counters } = this.#outbox;
    if (!this.#isWithinBudget(of, round)) return false;
    const waiting = composed.countOf(of) - (demand.leftOut?.[of] ?? 0);
    if (waiting >= demand[of]) return false;
    const loose = Object.values(counters.loose).reduce((sum, size) => sum + size, 0);
    return waiting <= 0 || counters.bytes - loose < aheadBytes;
  }

  /** How many entries of each lane a message holds, and whether it is full by that. */
  #gather(readers: readonly LaneReader[], form: MessageForm, { settings }: Round) {
    const limit = this.#limitBytes(settings);
    const overhead = entryOverhead(form);
    let bytes = this.#fixedBytes(form, settings);
    const counts = readers.map(() => 0);
    for (const [lane, reader] of readers.entries()) {
      for (let count = 0; ; count++) {
        const row = reader.at(count);
        if (!row) break;
        const isFirst = counts.every((of) => of === 0);
        if (!isFirst && (form.format === "object" || bytes + row.size + overhead > limit))
          return { counts, isFull: true };
        bytes += row.size + overhead;
        counts[lane] = count + 1;
      }
    }
    return { counts, isFull: form.format === "object" || bytes > limit };
  }

  #message(
    readers: readonly LaneReader[],
    counts: readonly number[],
    form: MessageForm,
    { settings }: Round,
  ): void {
    const parts = readers.map((reader, lane) => reader.first(counts[lane] ?? 0));
    const taken =
      settings.compression === "gzip" ? this.#fitting(parts, form, settings) : { parts, body: undefined };
    const isCompressed = taken.body !== undefined;
    const fixed = headerBytes(this.#outbox.messageId(), settings.output, form, isCompressed);
    const overhead = entryOverhead(form);
    const plain = () =>
      taken.parts.flat().reduce((sum, row) => sum + row.size + overhead, bodyOverhead(form));
    const bytes = fixed + (taken.body?.length ?? plain());
    const { bill } = this.#outbox.counters;
    bill.messages++;
    bill.bytes += bytes;
    bill.blocks += Math.ceil(bytes / settings.blockBytes);
    this.#outbox.message(taken.parts, settings.output, form, taken.body);
    for (const [lane, reader] of readers.entries()) reader.drop(taken.parts[lane]?.length ?? 0);
  }

  /** As many of the entries as fit when they are compressed. */
  #fitting(
    parts: readonly (readonly WaitingRow[])[],
    form: MessageForm,
    settings: ComposeSettings,
  ): { readonly parts: readonly (readonly WaitingRow[])[]; readonly body: Uint8Array<ArrayBuffer> } {
    const plain = bodyOf(this.#outbox.bodiesOf(parts), form);
    const body = compressed(plain);
    this.#ratio = plain.length / body.length;
    const room =
      settings.maxMessageBytes - headerBytes(this.#outbox.messageId(), settings.output, form, true);
    const count = parts.reduce((sum, rows) => sum + rows.length, 0);
    if (body.length <= room || count <= 1) return { parts, body };
    let left = Math.max(1, Math.min(count - 1, Math.floor((count * caution * room) / body.length)));
    const fewer = parts.map((rows) => {
      const some = rows.slice(0, left);
      left -= some.length;
      return some;
    });
    return this.#fitting(fewer, form, settings);
  }

  /** Whole blocks, as far as there are any; before compression, where there is one. */
  #limitBytes({ maxMessageBytes, blockBytes, compression }: ComposeSettings): number {
    const whole = Math.floor(maxMessageBytes / blockBytes) * blockBytes || maxMessageBytes;
    return compression === "gzip" ? Math.max(whole, whole * this.#ratio * caution) : whole;
  }

  #fixedBytes(form: MessageForm, { output, compression }: ComposeSettings): number {
    return bodyOverhead(form) + headerBytes(this.#outbox.messageId(), output, form, compression === "gzip");
  }
}
