/**
 * Units on a serial line at its real pace, which a pseudo-terminal does not have: a request takes its time on the wire,
 * the unit waits for the silence behind it and takes its time to answer, and the answer comes as its bytes would.
 */
import { symlinkSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openPseudoTerminal } from "../../src/simulated-devices/pty.ts";
import { crc16 } from "../../src/sources/modbus-framing.ts";
import { monotonicMs } from "../../test/faults/time.ts";

export interface ModbusLineOrder {
  readonly path: string;
  readonly units: number;
  readonly registers: number;
  readonly baudRate: number;
  /** From the silence behind a request to the first byte of the answer. */
  readonly answerMs: number;
}

export interface ModbusLineProgress {
  readonly atMs: number;
  /** Answers whose last byte has left, per unit, and the longest time between two of its requests. */
  readonly answers: readonly number[];
  readonly longestMs: number;
  /** How long the wire carried bytes. */
  readonly wireMs: number;
  /** Requests that came before the silence behind the last byte was over. */
  readonly hasty: number;
  /** Longest time that this process did not look at the line: what a busy machine takes from it. */
  readonly stallMs: number;
}

/** 8E1: start, eight bits, parity, stop (MODBUS over Serial Line V1.02 section 2.5.1). */
const bitsPerByte = 11;
const requestBytes = 8;
/** Adapters hand over what has come once in a millisecond at best (USB full speed). */
const handOverMs = 1;
const lookMs = 0.2;
const never = new Int32Array(new SharedArrayBuffer(4));

/** What is counted since it began; by unit, where there are several. */
const counts = () => ({
  answers: [] as number[],
  lastRequestMs: [] as number[],
  longestMs: 0,
  wireMs: 0,
  hasty: 0,
  stallMs: 0,
});
let order: ModbusLineOrder | undefined;
let counted = counts();
let lookedMs = monotonicMs();

function answerTo(request: Buffer, registers: number): Buffer {
  const bytes = Buffer.alloc(3 + 2 * registers + 2);
  bytes.set([request.readUInt8(0), request.readUInt8(1), 2 * registers]);
  for (let i = 0; i < registers; i++)
    bytes.writeUInt16BE((counted.answers[request.readUInt8(0)] ?? 0) & 0xffff, 3 + 2 * i);
  bytes.writeUInt16LE(crc16(bytes.subarray(0, -2)), bytes.length - 2);
  return bytes;
}

async function run({ path, units, registers, baudRate, answerMs }: ModbusLineOrder): Promise<void> {
  const terminal = openPseudoTerminal();
  symlinkSync(terminal.slavePath, path);
  const byteMs = (bitsPerByte * 1_000) / baudRate;
  const silenceMs = 3.5 * byteMs;
  let held = Buffer.alloc(0);
  let answer: { readonly bytes: Buffer; readonly fromMs: number; written: number } | undefined;
  let quietSinceMs = 0;
  let handedOverMs = 0;
  let isDisturbed = false;
  for (;;) {
    await nextTurn();
    // A timer's sleep would be a millisecond or two, of the six that an answer may take.
    Atomics.wait(never, 0, 0, lookMs);
    const nowMs = monotonicMs();
    counted.stallMs = Math.max(counted.stallMs, nowMs - lookedMs);
    lookedMs = nowMs;
    for (const bytes of terminal.observe().received) {
      held = Buffer.concat([held, bytes]);
      // Whoever asks meanwhile has waited in vain: the machine was busy.
      if (answer) isDisturbed = true;
    }
    if (!answer && held.length >= requestBytes) {
      const request = held.subarray(0, requestBytes);
      held = held.subarray(requestBytes);
      const unit = request.readUInt8(0);
      if (!isDisturbed && nowMs - quietSinceMs < silenceMs) counted.hasty++;
      isDisturbed = false;
      if (unit <= units) {
        const before = counted.lastRequestMs[unit];
        if (before !== undefined) counted.longestMs = Math.max(counted.longestMs, nowMs - before);
        counted.lastRequestMs[unit] = nowMs;
        const fromMs = nowMs + requestBytes * byteMs + silenceMs + answerMs;
        answer = { bytes: answerTo(request, registers), fromMs, written: 0 };
      }
    }
    if (!answer || nowMs - handedOverMs < handOverMs) continue;
    const due = Math.min(answer.bytes.length, Math.floor((nowMs - answer.fromMs) / byteMs));
    if (due <= answer.written) continue;
    answer.written += terminal.write(answer.bytes.subarray(answer.written, due));
    handedOverMs = nowMs;
    if (answer.written < answer.bytes.length) continue;
    quietSinceMs = answer.fromMs + answer.bytes.length * byteMs;
    counted.wireMs += (requestBytes + answer.bytes.length) * byteMs;
    const unit = answer.bytes.readUInt8(0);
    counted.answers[unit] = (counted.answers[unit] ?? 0) + 1;
    answer = undefined;
  }
}

process.on("message", (message: ModbusLineOrder | "begin" | "tell") => {
  if (typeof message !== "string") {
    order = message;
    void run(message);
    return;
  }
  if (message === "begin") counted = counts();
  const { answers, longestMs, wireMs, hasty, stallMs } = counted;
  process.send?.({
    atMs: monotonicMs(),
    answers: Array.from({ length: order?.units ?? 0 }, (_, i) => answers[i + 1] ?? 0),
    longestMs,
    wireMs,
    hasty,
    stallMs,
  } satisfies ModbusLineProgress);
});
process.on("disconnect", () => process.exit(0));
