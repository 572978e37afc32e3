import type { JsonObject } from "../../src/core/json.ts";
import type { TimeQuality } from "../../src/core/reading.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { t0 } from "./running-pipeline.ts";

/** Writes the journal of a box whose wall clock steps and which boots; true time is in it nowhere. */
export class SteppingBox {
  /** True ms since `t0`; the monotonic clock follows it from the boot on. */
  nowMs = 0;
  #bootedMs = -1_000;
  #boots = 0;
  /** How far the wall clock is ahead of the truth. */
  wrongMs = 0;

  get wallMs(): number {
    return t0 + this.nowMs + this.wrongMs;
  }
  get monotonicMs(): number {
    return this.nowMs - this.#bootedMs;
  }

  pass(ms: number): void {
    this.nowMs += ms;
  }
  /** A boot after `downMs`, to a clock wrong by that much. */
  boot(downMs: number, wrongMs: number): void {
    this.nowMs += downMs;
    this.#bootedMs = this.nowMs - 10;
    this.#boots++;
    this.wrongMs = wrongMs;
  }

  frame(fields: JsonObject, source = "s", oddMs = 0): JournalEntry {
    const { wallMs, monotonicMs } = this;
    const bytes = Buffer.from(JSON.stringify(fields));
    return { type: "frame", source, wallMs: wallMs + oddMs, monotonicMs, bytes, origin: "" };
  }
  tick(): JournalEntry {
    const { wallMs, monotonicMs } = this;
    return { type: "tick", wallMs, monotonicMs };
  }
  clock(quality: TimeQuality): JournalEntry {
    const { wallMs, monotonicMs } = this;
    return { type: "clock", wallMs, monotonicMs, bootId: `boot ${this.#boots}`, quality };
  }
  configuration(sections: JsonObject): JournalEntry {
    const { wallMs, monotonicMs } = this;
    return { type: "configuration", wallMs, monotonicMs, config: pipelineOf(sections) };
  }
}
