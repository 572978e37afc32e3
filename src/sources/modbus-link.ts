import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { FrameDiscard } from "../core/reading.ts";
import type { Framing } from "./modbus-framing.ts";
import { exceptionOf, type ModbusRequest } from "./modbus-pdu.ts";
import { Unavailable } from "./unavailable.ts";

/** What became of a request. `strayBytes` came meanwhile and belong to nothing that was asked. */
export type Outcome = { readonly strayBytes: number } & (
  | { readonly kind: "answer"; readonly pdu: Uint8Array }
  | { readonly kind: "exception"; readonly code: number }
  | { readonly kind: "missing"; readonly reason: FrameDiscard; readonly bytes: number }
);

export interface LinkOptions {
  readonly framing: Framing;
  /** The stream keeps a listener for errors. @throws Unavailable */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>;
  /** Never rejects. */
  readonly disconnect: (stream: Duplex) => Promise<void>;
  /** How long a byte takes on the wire; 0 where the wire is none of ours. */
  readonly byteMs: number;
  /** Silence that marks the end of a frame. */
  readonly silenceMs: number;
  /** After so many requests in a row without an answer the link is opened anew. */
  readonly maxUnanswered: number;
}

/** More than the longest answer on any link, with garbage before it. */
const maxHeldBytes = 1_024;
/** After what was no answer, the rest of it is waited for: adapters hand bytes over with pauses (FTDI's 16 ms). */
const disturbedSilenceMs = 50;
/** A line that is never silent is asked in spite of it. */
const maxSilenceWaitMs = 1_000;

/** A serial line or a connection to a server: one request and its answer at a time, which callers see to. */
export class ModbusLink {
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  #stream: Duplex | undefined;
  #closing: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** What came and was not taken. */
  #held: Uint8Array = new Uint8Array();
  #strayBytes = 0;
  #transaction = 0;
  /** When the wire was used last, as far as is known. */
  #usedMs = Number.NEGATIVE_INFINITY;
  #isDisturbed = false;
  #unanswered = 0;
  #heard: () => void = () => undefined;

  constructor(options: LinkOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Nothing when it is open. @throws Unavailable */
  async open(signal: AbortSignal): Promise<void> {
    if (this.#stream) return;
    await this.#closing;
    const stream = await this.#options.connect(signal);
    if (this.#isClosed) {
      await this.#options.disconnect(stream);
      throw this.#lost();
    }
    this.#held = new Uint8Array();
    this.#unanswered = 0;
    stream.on("data", (chunk: Uint8Array) => {
      if (stream === this.#stream) this.#received(chunk);
    });
    for (const end of ["close", "end", "error"]) {
      stream.once(end, () => {
        if (stream === this.#stream) this.#drop();
      });
    }
    this.#stream = stream;
  }

  /** Opens the link when it is closed. @throws Unavailable when it is lost meanwhile */
  async exchange(request: ModbusRequest, timeoutMs: number, signal: AbortSignal): Promise<Outcome> {
    const { framing, byteMs, maxUnanswered } = this.#options;
    await this.open(signal);
    await this.#silence(signal);
    const stream = this.#stream;
    if (!stream) throw this.#lost();
    this.#discardStrays(framing.strays(this.#held));
    this.#transaction = (this.#transaction + 1) & 0xffff;
    const frame = framing.frame(request, this.#transaction);
    const sentMs = frame.length * byteMs;
    this.#usedMs = this.#clock.monotonic() + sentMs;
    stream.write(frame);
    const longestMs = sentMs + timeoutMs + (request.answer.length + 3) * byteMs;
    const found = await this.#answer(request, longestMs, signal);
    if (this.#stream !== stream) throw this.#lost();
    if (found === "broken") {
      const bytes = this.#held.length;
      this.#held = new Uint8Array();
      this.#drop();
      return { kind: "missing", reason: "malformed", bytes, strayBytes: this.#takeStrays() };
    }
    if (found) {
      this.#unanswered = 0;
      this.#isDisturbed = false;
      const code = found[0] === exceptionOf(request) ? found[1] : undefined;
      if (code === undefined) return { kind: "answer", pdu: found, strayBytes: this.#takeStrays() };
      return { kind: "exception", code, strayBytes: this.#takeStrays() };
    }
    const reason = framing.judge(request, this.#held);
    this.#isDisturbed = this.#held.length > 0;
    const bytes = reason === "noAnswer" ? 0 : this.#held.length;
    const isCut = framing.strays(this.#held) < this.#held.length;
    if (reason !== "noAnswer") this.#held = new Uint8Array();
    this.#unanswered++;
    // What was not sent yet would be sent later, to whoever is asked then.
    const isStuck = stream.writableLength > 0;
    if (isStuck || isCut || this.#unanswered >= maxUnanswered) this.#drop();
    if (isStuck) throw new Unavailable("MODBUS_UNAVAILABLE", "failed", "the line takes no bytes");
    return { kind: "missing", reason, bytes, strayBytes: this.#takeStrays() };
  }

  /** For good. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const stream = this.#stream;
    this.#stream = undefined;
    this.#heard();
    if (stream) this.#closing = this.#options.disconnect(stream);
    await this.#closing;
  }

  /** Undefined when it does not come in time, or the link is lost. */
  async #answer(
    request: ModbusRequest,
    longestMs: number,
    signal: AbortSignal,
  ): Promise<Uint8Array | "broken" | undefined> {
    const over = new AbortController();
    const onAbort = () => over.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const late = this.#clock.sleep(longestMs, over.signal).then(() => undefined);
      const answer = new Promise<Uint8Array | "broken" | undefined>((resolve) => {
        this.#heard = () => {
          const found = this.#stream && this.#find(request);
          if (found || !this.#stream) resolve(found);
        };
      });
      return await Promise.race([answer, late]);
    } finally {
      this.#heard = () => undefined;
      over.abort();
      signal.removeEventListener("abort", onAbort);
    }
  }

  #find(request: ModbusRequest): Uint8Array | "broken" | undefined {
    const found = this.#options.framing.find(request, this.#transaction, this.#held);
    if (found === undefined || found === "broken") return found;
    this.#discardStrays(found.before);
    this.#held = this.#held.slice(found.end - found.before);
    return found.pdu;
  }

  #received(chunk: Uint8Array): void {
    this.#usedMs = this.#clock.monotonic();
    const all = new Uint8Array(this.#held.length + chunk.length);
    all.set(this.#held);
    all.set(chunk, this.#held.length);
    this.#held = all;
    this.#heard();
    if (this.#held.length > maxHeldBytes) this.#discardStrays(this.#held.length - maxHeldBytes);
  }

  #discardStrays(count: number): void {
    this.#strayBytes += count;
    if (count > 0) this.#held = this.#held.slice(count);
  }

  #takeStrays(): number {
    const count = this.#strayBytes;
    this.#strayBytes = 0;
    return count;
  }

  /** MODBUS over Serial Line V1.02 section 2.5.1.1: frames are apart by 3.5 characters at least. */
  async #silence(signal: AbortSignal): Promise<void> {
    const { silenceMs } = this.#options;
    const quietMs = this.#isDisturbed ? Math.max(silenceMs, disturbedSilenceMs) : silenceMs;
    const latestMs = this.#clock.monotonic() + maxSilenceWaitMs;
    for (;;) {
      const restMs = Math.min(this.#usedMs + quietMs, latestMs) - this.#clock.monotonic();
      if (restMs <= 0) return;
      // Timers count whole milliseconds.
      await this.#clock.sleep(Math.ceil(restMs), signal);
    }
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#discardStrays(this.#held.length);
    this.#heard();
    if (stream) this.#closing = this.#options.disconnect(stream);
  }

  #lost(): Unavailable {
    return new Unavailable("MODBUS_UNAVAILABLE", "absent", "the connection broke");
  }
}
