import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { compare, readArrived } from "../kill/arrived.ts";
import { parse, readJournal, expect as recompute } from "../kill/oracle.ts";
import { branch } from "../support/random.ts";
import { numbersIn } from "./kept-journal.ts";
import { NumberedDevice, promisesBroken } from "./numbered-device.ts";
import { type DaemonStatus, RunningDaemon } from "./running-daemon.ts";
import { type DaemonConfigOptions, daemonConfig } from "./shared-config.ts";
import { TearableLink } from "./tearable-link.ts";
import { monotonicMs } from "./time.ts";

export const sizeMs = 1_000;
export const latenessMs = 2_000;

export interface FieldOptions {
  readonly folder: string;
  readonly random: () => number;
  readonly maxLossMs: number;
  /** Otherwise readings have the time of their receipt. */
  readonly ownTime: boolean;
  readonly pauseMs?: number;
  readonly root?: string;
  readonly more?: DaemonConfigOptions["more"];
  readonly moreStore?: DaemonConfigOptions["moreStore"];
}

export interface Drained {
  readonly problems: readonly string[];
  readonly committed: number;
  /** Readings that once were in the journal and are not any more. */
  readonly committedLost: number;
  /** Windows that are missing, too much or not as the oracle has them. */
  readonly entriesThatDiffer: number;
  readonly sent: number;
  readonly late: number;
  readonly windows: number;
  readonly repeats: number;
}

/** A device, a daemon and a hub, and the oracle that judges them when everything has run out. */
export class Field {
  readonly hub: EmbeddedHub;
  readonly link: TearableLink;
  readonly device: NumberedDevice;
  readonly daemon: RunningDaemon;
  readonly #options: FieldOptions;
  readonly #store: string;
  #lines: string[] = [];
  #numbers = new Set<number>();
  #position = 0;

  static async open(options: FieldOptions): Promise<Field> {
    mkdirSync(options.folder, { recursive: true });
    const hub = await startEmbeddedHub({ messageLog: join(options.folder, "messages.jsonl") });
    return new Field(options, hub, await TearableLink.to(hub));
  }

  private constructor(options: FieldOptions, hub: EmbeddedHub, link: TearableLink) {
    const { folder, random, maxLossMs, ownTime, pauseMs = 4, root = folder } = options;
    this.#options = options;
    this.hub = hub;
    this.link = link;
    this.device = new NumberedDevice({ random: branch(random), pauseMs, sizeMs, ownTime });
    this.#store = join(root, "store");
    const config = daemonConfig({
      store: this.#store,
      port: this.device.path,
      sizeMs,
      latenessMs,
      maxLossMs,
      ownTime,
      ...(options.more ? { more: options.more } : {}),
      ...(options.moreStore ? { moreStore: options.moreStore } : {}),
    });
    this.daemon = new RunningDaemon(folder, config, link.environment(hub, "gateway"));
    this.device.start();
  }

  /** Numbers of the readings that stood in the journal when it was read last. */
  get stored(): ReadonlySet<number> {
    return this.#numbers;
  }

  /**
   * Takes what the journal has got since. Nobody may have the store open.
   * From a copy: whoever reads a database that was left behind tidies it up, and that is for the daemon to do.
   */
  collect(): void {
    const { lines, position } = this.#read(this.#position);
    this.#lines.push(...lines);
    for (const number of numbersIn(lines)) this.#numbers.add(number);
    this.#position = position;
  }

  #read(position: number): { readonly lines: readonly string[]; readonly position: number } {
    if (!existsSync(join(this.#store, "headgate.db"))) return { lines: [], position };
    const copy = mkdtempSync(join(this.#options.folder, "copy-"));
    for (const name of ["headgate.db", "headgate.db-wal", "headgate.db-journal"]) {
      const file = join(this.#store, name);
      if (existsSync(file)) copyFileSync(file, join(copy, name));
    }
    try {
      return readJournal(join(copy, "headgate.db"), position);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }

  /** Readings that are nowhere although no process died: those of the last listener, since a flush takes others. */
  get lost(): number[] {
    const { sent } = this.device;
    const listener = sent.at(-1)?.listener;
    return sent
      .filter((reading) => reading.listener === listener && !reading.garbled)
      .map(({ seq }) => seq)
      .filter((seq) => !this.#numbers.has(seq));
  }

  /** Readings that the last death took although they were older than promised. */
  broken(sinceMs: number, diedMs: number): { readonly count: number; readonly longestMs: number } {
    const { maxLossMs } = this.#options;
    return promisesBroken(this.device.sent, this.#numbers, { sinceMs, untilMs: diedMs, diedMs, maxLossMs });
  }

  /** With a daemon that runs and a hub that is well: lets everything run out, stops the daemon, and judges. */
  async drain(): Promise<Drained> {
    const { ownTime, folder } = this.#options;
    await this.device.pause();
    if (ownTime) await this.device.end();
    // By their own time the last reading, which closed every window, is itself the only one that stays behind.
    const behind = ownTime ? 1 : 0;
    const { sent } = this.device;
    const last = sent.at(-1)?.seq ?? 0;
    const status = await this.daemon.untilStatus(
      "everything is out",
      unlessStuck(({ store }) => {
        const { held, frames } = store.books.oven ?? { held: -1, frames: 0 };
        return store.openWindows === behind && held === behind && frames > 0;
      }),
    );
    await this.daemon.stop();
    this.collect();
    const problems = [...imbalances(status.store.books), ...this.#unlikeTheDevice()];
    if (!this.#numbers.has(last)) problems.push(`the last reading, ${last}, is not in the journal`);
    const left = new Set(numbersIn(this.#read(0).lines));
    const committedLost = [...this.#numbers].filter((number) => !left.has(number)).length;
    if (committedLost > 0) problems.push(`${committedLost} committed readings are in the journal no more`);
    const expected = recompute(this.#lines, sizeMs, latenessMs);
    const arrived = readArrived(join(folder, "messages.jsonl"));
    const before = problems.length;
    if (ownTime) {
      for (const key of expected.windows.keys()) if (key.startsWith("end ")) expected.windows.delete(key);
      problems.push(...compare(expected, arrived));
    } else {
      problems.push(...arrived.twofold, ...arrived.missing, ...this.#unlikeInSum(arrived.finalById.values()));
    }
    const entriesThatDiffer = problems.length - before;
    const late = ownTime ? expected.late : 0;
    const { oven } = status.store.books;
    // Of a line that a death of the daemon cut in two, the next one gets the rest, and journals no frame of it.
    const { truncated = 0 } = oven?.frameDiscards ?? {};
    if (truncated >= this.daemon.starts)
      problems.push(`${truncated} lines are cut off, and the daemon was started ${this.daemon.starts} times`);
    // And of a frame that was at hand in three deaths in a row and more, each of a part of its batch.
    const { pipelineFault = 0 } = oven?.frameDiscards ?? {};
    if (pipelineFault > this.daemon.starts / 4)
      problems.push(
        `${pipelineFault} frames are blamed, and the daemon was started ${this.daemon.starts} times`,
      );
    const told = oven && {
      frames: oven.frames - truncated - pipelineFault,
      decoded: oven.decoded,
      ingested: oven.ingested,
      late: oven.discards.late ?? 0,
      published: oven.published,
      held: oven.held,
    };
    const { frames, readings } = expected;
    const published = readings - late - behind;
    const want = { frames, decoded: readings, ingested: readings, late, published, held: behind };
    if (!isDeepStrictEqual(told, want)) {
      problems.push(`the books say ${JSON.stringify(oven)}, the journal ${JSON.stringify(want)}`);
    }
    return {
      problems,
      committed: readings,
      committedLost,
      entriesThatDiffer,
      sent: sent.length,
      late: oven?.discards.late ?? 0,
      windows: arrived.final.size,
      repeats: arrived.repeats,
    };
  }

  async close(): Promise<void> {
    await this.daemon.kill();
    await this.device.stop();
    await this.link.stop();
    await this.hub.stop();
  }

  /** Readings in the journal that the device did not send like that, or that stand in it twice. */
  #unlikeTheDevice(): string[] {
    const texts = new Map(this.device.sent.map(({ seq, text }) => [seq, text]));
    const seen = new Set<number>();
    const problems: string[] = [];
    for (const line of this.#lines) {
      const reading = parse(line);
      if (!reading) continue;
      if (seen.has(reading.seq)) problems.push(`reading ${reading.seq} is in the journal twice`);
      seen.add(reading.seq);
      if (texts.get(reading.seq) !== line) {
        problems.push(`reading ${reading.seq} is ${line} in the journal, not ${texts.get(reading.seq)}`);
      }
    }
    return problems;
  }

  /**
   * Which window a reading of no time of its own belongs to is the gateway's to say; that each is in exactly one,
   * is not: the numbers of a device's readings are a channel, and their count and sum must be those of the journal.
   */
  #unlikeInSum(
    final: Iterable<{ device: string; count: number; channels: Record<string, { sum: number }> }>,
  ): string[] {
    const want = new Map<string, { count: number; sum: number }>();
    for (const line of this.#lines) {
      const reading = parse(line);
      if (reading) addTo(want, reading.device, 1, reading.seq);
    }
    const have = new Map<string, { count: number; sum: number }>();
    for (const { device, count, channels } of final) addTo(have, device, count, channels.seq?.sum ?? 0);
    if (isDeepStrictEqual(have, want)) return [];
    return [`by device, ${JSON.stringify([...have])} arrived of ${JSON.stringify([...want])}`];
  }
}

/** Nothing comes in any more: what does not change for as long as no reconnect takes will never change. */
function unlessStuck(condition: (status: DaemonStatus) => boolean): (status: DaemonStatus) => boolean {
  const stuckMs = 45_000;
  let before = "";
  let sinceMs = monotonicMs();
  return (status) => {
    const { books, openWindows } = status.store;
    const now = JSON.stringify([openWindows, books]);
    if (now !== before) sinceMs = monotonicMs();
    before = now;
    if (monotonicMs() - sinceMs > stuckMs) throw new Error(`stuck for ${stuckMs} ms`);
    return condition(status);
  };
}

function addTo(
  sums: Map<string, { count: number; sum: number }>,
  device: string,
  count: number,
  sum: number,
): void {
  const before = sums.get(device) ?? { count: 0, sum: 0 };
  sums.set(device, { count: before.count + count, sum: before.sum + sum });
}
