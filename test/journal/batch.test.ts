import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BatchWriter, type JournalEntry, readBatch } from "../../src/journal/batch.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { codeOf } from "../core/codes.ts";
import { batchOf, frame, tick } from "./batches.ts";

const ms = fc.double({ noNaN: true, noDefaultInfinity: true });
const count = fc.nat();
const source = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" });
const config = pipelineOf({ windows: { minute: { sizeMs: 60_000 } } });
/** JSON has no -0: times in rare entries are whole or positive. */
const wholeMs = fc.nat();

const entry: fc.Arbitrary<JournalEntry> = fc.oneof(
  fc.record({
    type: fc.constant("frame" as const),
    source,
    wallMs: ms,
    monotonicMs: ms,
    bytes: fc.uint8Array({ maxLength: 40 }),
    origin: fc.oneof(fc.constant(""), source),
  }),
  fc.record({ type: fc.constant("tick" as const), wallMs: ms, monotonicMs: ms }),
  fc.record({
    type: fc.constant("clock" as const),
    wallMs: wholeMs,
    monotonicMs: wholeMs,
    bootId: fc.string(),
    quality: fc.constantFrom("synced" as const, "holdover" as const, "unsynced" as const),
  }),
  fc.record({ type: fc.constant("configuration" as const), wallMs: wholeMs, config: fc.constant(config) }),
  fc.record({
    type: fc.constant("discard" as const),
    source,
    reason: fc.constantFrom("overlong" as const, "truncated" as const),
    count,
    bytes: count,
  }),
  fc.record({
    type: fc.constant("gap" as const),
    source,
    fromMs: wholeMs,
    toMs: wholeMs,
    count: fc.oneof(count, fc.constant("unknown" as const)),
    reason: fc.constantFrom("uncleanStop" as const, "overrun" as const),
  }),
  fc.record({
    type: fc.constant("key" as const),
    source,
    key: fc.string({ minLength: 1, maxLength: 128 }),
    hash: fc.string(),
    readings: count,
  }),
);

/** Entries read back, with plain byte arrays. */
const read = (batch: Uint8Array): JournalEntry[] =>
  [...readBatch(batch)].map((e) => (e.type === "frame" ? { ...e, bytes: new Uint8Array(e.bytes) } : e));

test("any entries come back as they were written, in order", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30 }), (entries) => {
      expect(read(batchOf(entries))).toEqual(entries);
    }),
    { numRuns: 500 },
  );
});

test("a batch that is a part of a larger buffer reads the same", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 10 }), fc.nat(9), (entries, offset) => {
      const batch = batchOf(entries);
      const larger = new Uint8Array(batch.length + 20).fill(0xff);
      larger.set(batch, offset);
      expect(read(larger.subarray(offset, offset + batch.length))).toEqual(entries);
    }),
  );
});

test("a writer starts anew after each batch, with its source numbers", () => {
  const writer = new BatchWriter();
  writer.frame("a", 1, 1, Buffer.from("1"));
  writer.frame("b", 2, 2, Buffer.from("2"));
  expect(writer.entryCount).toBe(2);
  const first = writer.take();
  expect([writer.entryCount, writer.byteLength]).toEqual([0, 0]);
  writer.frame("b", 3, 3, Buffer.from("3"));
  const second = writer.take();
  expect(read(first).map((e) => e.type === "frame" && e.source)).toEqual(["a", "b"]);
  expect(read(second)).toMatchObject([{ source: "b", wallMs: 3 }]);
});

test("the bytes of a frame are copied, and a batch owns its buffer", () => {
  const writer = new BatchWriter();
  const bytes = Buffer.from("before");
  writer.frame("a", 1, 1, bytes);
  bytes.fill("x");
  const batch = writer.take();
  writer.frame("a", 1, 1, Buffer.alloc(1_000, "y"));
  expect(batch.buffer.byteLength).toBe(batch.length);
  expect(read(batch)).toMatchObject([{ bytes: new Uint8Array(Buffer.from("before")) }]);
});

test("a frame larger than any before grows the batch", () => {
  const large = frame("a", 1, "z".repeat(1_000_000));
  expect(read(batchOf([tick(1), large, tick(2)])).map((e) => e.type)).toEqual(["tick", "frame", "tick"]);
});

test("the byte length is that of the batch", () => {
  const writer = new BatchWriter();
  writer.frame("a", 1, 1, Buffer.from("123"));
  writer.tick(1, 1);
  const { byteLength } = writer;
  expect(writer.take()).toHaveLength(byteLength);
});

describe("bytes that are no batch", () => {
  const good = batchOf([frame("a", 1, "123")]);

  test.each([
    ["an unknown type of record", Uint8Array.of(9)],
    ["a frame of a source that was not named", good.subarray(6)],
    ["a record that ends behind its batch", good.subarray(0, -1)],
  ])("%s is a bug of ours", async (_, bytes) => {
    expect(await codeOf(() => [...readBatch(bytes)])).toBe("INVARIANT");
  });
});
