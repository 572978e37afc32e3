import type { ModbusSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { frameOf, type RegisterRecord } from "../drivers/modbus.ts";
import { type Block, blocksOf, frameBytesOf, nameOf } from "../drivers/modbus-plan.ts";
import { lineName, type ModbusLine, type ModbusLines } from "./modbus-lines.ts";
import type { Outcome } from "./modbus-link.ts";
import { dataOf, exceptionName, readRequest } from "./modbus-pdu.ts";
import { writeRegister } from "./modbus-write.ts";
import type { PolledDevice } from "./polling-source.ts";
import type { WriteOutcome } from "./register-write.ts";
import type { SourceSink } from "./source.ts";
import { Unavailable } from "./unavailable.ts";

/** A request, and how it fared. */
interface Question {
  readonly block: Block;
  /** Without an answer in a row. */
  failures: number;
  /** Not asked before, because a question without an answer holds up the whole line. */
  notBeforeMs: number;
  /** Undefined while it is answered. */
  trouble: string | undefined;
}

/** So many of the timeouts that a question without an answer costs lie between two tries, half of them on average. */
const timeoutsApart = 20;
const leastBackoffMs = 5_000;
/** Of a caller who waits for the answer. */
const writeTimeoutMs = 10_000;
const maxWrites = 4;
/** Of a status. */
const maxToldTroubles = 3;

/** A unit on a Modbus line, read by as few requests as its registers need. */
export class ModbusDevice implements PolledDevice {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #config: ModbusSourceConfig;
  readonly #clock: Clock;
  readonly #lines: ModbusLines;
  readonly #questions: readonly Question[];
  readonly #schedule: RetrySchedule;
  readonly #closed = new AbortController();
  /** Under way. */
  #writes = 0;

  constructor(config: ModbusSourceConfig, clock: Clock, lines: ModbusLines) {
    this.#config = config;
    this.#clock = clock;
    this.#lines = lines;
    this.name = `unit ${config.unit} of ${lineName(config)}`;
    this.maxFrameBytes = frameBytesOf(config);
    this.#questions = blocksOf(config).map((block) => ({
      block,
      failures: 0,
      notBeforeMs: 0,
      trouble: undefined,
    }));
    const maxMs = Math.max(leastBackoffMs, timeoutsApart * config.timeoutMs);
    this.#schedule = { baseMs: 250, maxMs, healthyMs: 0 };
  }

  get trouble(): string | undefined {
    const troubles = this.#questions.flatMap(({ trouble }) => (trouble === undefined ? [] : [trouble]));
    if (troubles.length === 0) return undefined;
    const more = troubles.length - maxToldTroubles;
    return `${troubles.slice(0, maxToldTroubles).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
  }

  async open(signal: AbortSignal): Promise<void> {
    await this.#line().open(signal);
  }

  /** Every request is asked, also when the unit refuses another; the first without an answer is the last. */
  async ask(signal: AbortSignal, discard: SourceSink["discard"]): Promise<Uint8Array> {
    const { unit, timeoutMs } = this.#config;
    const records: RegisterRecord[] = [];
    let isHeard = false;
    let heldUpMs = 0;
    for (const question of this.#due()) {
      const { block } = question;
      const outcome = await this.#line().exchange(readRequest(unit, block), timeoutMs, signal);
      if (outcome.strayBytes > 0) discard("stray", outcome.strayBytes);
      if (outcome.kind === "answer") records.push({ ...block, bytes: dataOf(outcome.pdu) });
      if (outcome.kind === "exception") discard("deviceException", 2);
      if (outcome.kind === "missing") discard(outcome.reason, outcome.bytes);
      isHeard ||= outcome.kind !== "missing" || outcome.reason !== "noAnswer";
      this.#note(question, outcome);
      if (outcome.kind !== "missing") continue;
      heldUpMs = timeoutMs;
      break;
    }
    if (records.length > 0) return frameOf(records);
    const [state, reason] = isHeard
      ? (["failed", this.trouble ?? "no value"] as const)
      : (["absent", `no answer within ${timeoutMs} ms`] as const);
    throw new Unavailable("MODBUS_UNAVAILABLE", state, reason, { heldUpMs });
  }

  /** The line stays open for others, and for this one's next try: some adapters reset their device when opened. */
  async close(forGood: boolean): Promise<void> {
    if (!forGood) return;
    this.#closed.abort();
    await this.#lines.leave(this.#config, this);
  }

  async write(channel: string, value: number): Promise<WriteOutcome> {
    if (this.#closed.signal.aborted) return { kind: "unsent", message: "the source stops" };
    if (this.#writes >= maxWrites) return { kind: "unsent", message: `${maxWrites} writes are under way` };
    this.#writes++;
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(writeTimeoutMs)]);
    try {
      return await writeRegister(this.#line(), this.#config, channel, value, signal);
    } finally {
      this.#writes--;
    }
  }

  #line(): ModbusLine {
    return this.#lines.join(this.#config, this);
  }

  /** Those that were answered come first; those that wait for their next try are left out, unless there is no other. */
  #due(): readonly Question[] {
    const nowMs = this.#clock.monotonic();
    const inTurn = this.#questions.toSorted((a, b) => a.notBeforeMs - b.notBeforeMs);
    const due = inTurn.filter(({ notBeforeMs }) => notBeforeMs <= nowMs);
    return due.length > 0 ? due : inTurn.slice(0, 1);
  }

  #note(question: Question, outcome: Outcome): void {
    const place = nameOf(question.block);
    question.failures = outcome.kind === "missing" ? question.failures + 1 : 0;
    question.notBeforeMs = 0;
    switch (outcome.kind) {
      case "answer":
        question.trouble = undefined;
        break;
      case "exception":
        question.trouble = `exception ${outcome.code} (${exceptionName(outcome.code)}) for ${place}`;
        break;
      case "missing":
        question.trouble = `${troubles[outcome.reason] ?? outcome.reason} for ${place}`;
        question.notBeforeMs =
          this.#clock.monotonic() + backoffMs(this.#schedule, question.failures, Math.random());
        break;
      default:
        outcome satisfies never;
    }
  }
}

const troubles: Readonly<Partial<Record<string, string>>> = {
  noAnswer: "no answer",
  truncated: "an answer that is cut off",
  badChecksum: "an answer whose checksum does not hold",
  malformed: "an answer that is none",
};
