import { type FileHandle, open } from "node:fs/promises";
import type { ReplaySourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { expectPlainFile } from "../core/plain-file.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { isHeader, parseLine } from "./capture.ts";
import type { FrameSink } from "./framer.ts";
import { framerOf } from "./framing.ts";
import { LoopSource } from "./loop-source.ts";
import type { SourceStatus, WaitingSink } from "./source.ts";
import { Unavailable } from "./unavailable.ts";

const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 0 };
/** Until a capture without frames, which is to be repeated for ever, is looked at again. */
const emptyMs = 1_000;
const chunkBytes = 65_536;
/** Until room is looked for again. */
const roomMs = 20;
/** Timers hold 32 bits. */
const longestSleepMs = 3_600_000;
/** Of a frame's line beside its bytes: its time, its origin, which may be a topic of 65,535 bytes, and the keys. */
const besideBytes = 70_000;
/** JSON writes a byte as six characters at most. */
const escaped = 6;

/** What a line of the file was, or that it was too long or cut off. */
type Line =
  | { readonly text: string }
  | { readonly discard: "overlong" | "truncated"; readonly bytes: number };

/** The frames of a capture, at their pace or faster, with room or not at all. */
export class ReplaySource extends LoopSource {
  readonly #config: ReplaySourceConfig;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  #frames = 0;

  constructor(config: ReplaySourceConfig, sink: WaitingSink, clock: Clock) {
    super(sink);
    this.#config = config;
    this.#sink = sink;
    this.#clock = clock;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    let end: string | undefined;
    this.set({ state: "opening", reason: undefined });
    for (let attempt = 0; !signal.aborted && end === undefined; ) {
      const before = this.#frames;
      try {
        await this.#play(signal);
        attempt = 0;
        if (this.#config.repeat === "once") end = `the capture is at its end, after ${this.#frames} frames`;
        else if (this.#frames === before) await this.#clock.sleep(emptyMs, signal);
      } catch (error) {
        if (signal.aborted) break;
        this.set(failure(this.#config.path, error));
        // From the beginning again, what was played before would come twice.
        if (this.#frames > before && this.#config.repeat === "once")
          end = `${messageOf(error)}, after ${this.#frames} frames`;
        else
          await this.#clock
            .sleep(backoffMs(schedule, attempt++, Math.random()), signal)
            .catch(() => undefined);
      }
    }
    this.set({ state: "stopped", reason: signal.aborted ? undefined : end });
  }

  /** Once through the file. @throws Unavailable, and what the system says */
  async #play(signal: AbortSignal): Promise<void> {
    await expectPlainFile(this.#config.path);
    const file = await open(this.#config.path, "r");
    try {
      const startedMs = this.#clock.monotonic();
      let isFirst = true;
      for await (const line of this.#lines(file, signal)) {
        if (isFirst) {
          if (!("text" in line && isHeader(line.text)))
            throw new Unavailable("CAPTURE_UNREADABLE", "failed", "its first line is no header of a capture");
          this.set({ state: "open", reason: undefined });
        } else await this.#line(line, startedMs, signal);
        isFirst = false;
      }
      if (isFirst) throw new Unavailable("CAPTURE_UNREADABLE", "failed", "it is empty");
    } finally {
      await file.close();
    }
  }

  async *#lines(file: FileHandle, signal: AbortSignal): AsyncGenerator<Line> {
    let lines: Line[] = [];
    const maxBytes = escaped * this.#config.maxFrameBytes + besideBytes;
    const sink: FrameSink = {
      frame: (bytes) => void lines.push({ text: Buffer.from(bytes).toString("utf8") }),
      discard: (reason, bytes) => {
        if (reason === "overlong" || reason === "truncated") lines.push({ discard: reason, bytes });
      },
    };
    const framer = framerOf({ kind: "lines", maxBytes, first: "keep" }, sink, this.#clock);
    const chunk = Buffer.alloc(chunkBytes);
    for (let isEnd = false; !isEnd; ) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(chunk, 0, chunkBytes, null);
      isEnd = bytesRead === 0;
      if (isEnd) framer.reset();
      else framer.push(chunk.subarray(0, bytesRead));
      yield* lines;
      lines = [];
    }
  }

  async #line(line: Line, startedMs: number, signal: AbortSignal): Promise<void> {
    if (!("text" in line)) {
      this.#sink.discard(line.discard, line.bytes);
      return;
    }
    const captured = parseLine(line.text);
    if (!captured) {
      this.#sink.discard("malformed", Buffer.byteLength(line.text));
      return;
    }
    const { speed } = this.#config;
    if (speed > 0) await this.#until(startedMs + captured.t / speed, signal);
    if ("discard" in captured) this.#sink.discard(captured.discard, captured.bytes);
    else if (captured.bytes.length > this.#config.maxFrameBytes)
      this.#sink.discard("overlong", captured.bytes.length);
    else await this.#frame(captured.bytes, captured.origin, signal);
  }

  async #frame(bytes: Uint8Array, origin: string | undefined, signal: AbortSignal): Promise<void> {
    while (!this.#sink.hasRoom(bytes.length) || !this.#sink.frame(bytes, origin))
      await this.#clock.sleep(roomMs, signal);
    this.#frames++;
  }

  async #until(dueMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const waitMs = dueMs - this.#clock.monotonic();
      if (waitMs <= 0) return;
      await this.#clock.sleep(Math.min(waitMs, longestSleepMs), signal);
    }
  }
}

function failure(path: string, error: unknown): SourceStatus {
  return {
    state: hasCode(error, "ENOENT") ? "absent" : "failed",
    reason: `capture ${path}: ${messageOf(error)}`,
  };
}
