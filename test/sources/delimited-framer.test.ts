import fc from "fast-check";
import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { framerOf } from "../../src/sources/framing.ts";

/** What a framer made of chunks: frames as hex, discards as reason and bytes. */
function framed(
  maxBytes: number,
  chunks: readonly Uint8Array[],
  reset = false,
  first: "discard" | "keep" = "keep",
): string[] {
  const seen: string[] = [];
  const sink = {
    frame: (bytes: Uint8Array) => seen.push(Buffer.from(bytes).toString("hex")),
    discard: (reason: string, bytes: number) => seen.push(`${reason} ${bytes}`),
  };
  const framer = framerOf({ kind: "lines", maxBytes, first }, sink, systemClock);
  for (const chunk of chunks) framer.push(chunk);
  if (reset) framer.reset();
  return seen;
}
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

test("a frame split inside itself is one frame", () => {
  expect(framed(16, [hex("31 32"), hex("33"), hex("0a 34 0a")])).toEqual(["313233", "34"]);
});

test("what is discarded is shown by its beginning, in chunks of any size", () => {
  const shown: string[] = [];
  const sink = {
    frame: () => undefined,
    discard: (reason: string, _: number, frame: Uint8Array = new Uint8Array()) =>
      shown.push(`${reason} ${Buffer.from(frame).toString("latin1")}`),
  };
  const framer = framerOf({ kind: "lines", maxBytes: 16, first: "discard" }, sink, systemClock);
  for (const chunk of ["tail\n", "0123456789", "abcdefghijkl\n", "0123456789abcdefgh", "i\nok\n", "begun"])
    framer.push(Buffer.from(chunk));
  framer.reset();
  expect(shown).toEqual([
    "truncated tail",
    "overlong 0123456789abcdef",
    "overlong 0123456789abcdef",
    "truncated begun",
  ]);
});

test("several frames in one chunk, and the beginning of the next", () => {
  expect(framed(16, [hex("31 0a 32 0a 33"), hex("34 0a")])).toEqual(["31", "32", "3334"]);
});

test("a carriage return before the line feed is dropped, also when a chunk ends between them", () => {
  expect(framed(16, [hex("31 0d 0a 32 0d"), hex("0a")])).toEqual(["31", "32"]);
});

test("a carriage return elsewhere belongs to the frame", () => {
  expect(framed(16, [hex("0d 31 0d 32 0d 0d 0a")])).toEqual(["0d310d320d"]);
});

test("empty lines are no frames and no discards", () => {
  expect(framed(16, [hex("0a 0a 0d 0a 31 0a 0d 0a")])).toEqual(["31"]);
});

test("a line of exactly the limit is a frame, one byte more is a discard", () => {
  expect(framed(4, [Buffer.from("abcd\nabcde\nab\n")])).toEqual(["61626364", "overlong 5", "6162"]);
});

test("a carriage return counts against the limit, in one chunk as in two", () => {
  expect(framed(4, [Buffer.from("abcd\r\nab\n")])).toEqual(["overlong 5", "6162"]);
  expect(framed(4, [Buffer.from("abcd\r"), Buffer.from("\nab\n")])).toEqual(["overlong 5", "6162"]);
});

test("an over-long line is skipped up to its end and is one discard, and of 10 MB no more than the limit is held", () => {
  const seen: string[] = [];
  const sink = {
    frame: (bytes: Uint8Array) => seen.push(Buffer.from(bytes).toString("hex")),
    discard: (reason: string, bytes: number) => seen.push(`${reason} ${bytes}`),
  };
  const framer = framerOf({ kind: "lines", maxBytes: 4_096, first: "keep" }, sink, systemClock);
  const chunk = Buffer.alloc(10_000, "x");
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1_000; i++) framer.push(chunk);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  framer.push(hex("0a 31 0a"));
  expect(seen).toEqual(["overlong 10000000", "31"]);
});

test("a reset discards the beginning of a line as truncated", () => {
  expect(framed(16, [hex("31 0a 32 33")], true)).toEqual(["31", "truncated 2"]);
});

test("a reset inside an over-long line discards it as over-long", () => {
  expect(framed(4, [Buffer.from("abcdef")], true)).toEqual(["overlong 6"]);
});

test("a reset between two lines discards nothing, and the next line is whole", () => {
  const seen: string[] = [];
  const sink = {
    frame: (bytes: Uint8Array) => seen.push(Buffer.from(bytes).toString("hex")),
    discard: (reason: string, bytes: number) => seen.push(`${reason} ${bytes}`),
  };
  const framer = framerOf({ kind: "lines", maxBytes: 8, first: "keep" }, sink, systemClock);
  framer.push(hex("31 0a"));
  framer.reset();
  framer.push(hex("32 33"));
  framer.reset();
  framer.push(hex("34 0a"));
  expect(seen).toEqual(["31", "truncated 2", "34"]);
});

test("a first line whose beginning nobody saw is one discard, and what follows its end is kept", () => {
  expect(framed(16, [hex("31 32 0a 33 0a")], false, "discard")).toEqual(["truncated 2", "33"]);
  expect(framed(16, [hex("31"), hex("32"), hex("0a 33"), hex("0a")], false, "discard")).toEqual([
    "truncated 2",
    "33",
  ]);
});

test("a first line that is empty is no discard, and the second is kept", () => {
  expect(framed(16, [hex("0a 31 0a")], false, "discard")).toEqual(["31"]);
});

test("a first line longer than a line may be is one discard with its size", () => {
  expect(framed(4, [Buffer.alloc(100, "x"), hex("0a 31 0a")], false, "discard")).toEqual([
    "truncated 100",
    "31",
  ]);
});

/** Short lines of few bytes, so that ends, empty lines and over-long ones are frequent. */
const stream = fc.array(fc.constantFrom(0x0a, 0x0d, 0x00, 0x31, 0x32, 0xff), { maxLength: 120 });

test("any split of the same bytes gives the same frames and discards", () => {
  fc.assert(
    fc.property(
      stream,
      fc.array(fc.nat(120)),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      (bytes, cuts, max, reset) => {
        const whole = Uint8Array.from(bytes);
        const at = [0, ...cuts.filter((cut) => cut <= whole.length).sort((a, b) => a - b), whole.length];
        const chunks = at.slice(1).map((end, i) => whole.subarray(at[i], end));
        expect(framed(max, chunks, reset)).toEqual(framed(max, [whole], reset));
      },
    ),
    { numRuns: 1_000 },
  );
});

test("a headless first line: any split of any bytes discards what comes before the first end, and frames the rest", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(120)), fc.integer({ min: 1, max: 12 }), (bytes, cuts, max) => {
      const whole = Uint8Array.from([...bytes, 0x0a]);
      const at = [0, ...cuts.filter((cut) => cut <= whole.length).sort((a, b) => a - b), whole.length];
      const chunks = at.slice(1).map((end, i) => whole.subarray(at[i], end));
      const first = whole.indexOf(0x0a);
      expect(framed(max, chunks, true, "discard")).toEqual([
        ...(first > 0 ? [`truncated ${first}`] : []),
        ...framed(max, [whole.subarray(first + 1)], true),
      ]);
    }),
    { numRuns: 1_000 },
  );
});

test("every byte of a line is in a frame, in a discard, or is an end of line", () => {
  fc.assert(
    fc.property(stream, fc.integer({ min: 1, max: 12 }), (bytes, max) => {
      const expected = Buffer.from(bytes)
        .toString("latin1")
        .split("\n")
        .flatMap((line, index, lines) => {
          if (line.length > max) return [`overlong ${line.length}`];
          if (index === lines.length - 1) return line.length > 0 ? [`truncated ${line.length}`] : [];
          const frame = line.endsWith("\r") ? line.slice(0, -1) : line;
          return frame.length > 0 ? [Buffer.from(frame, "latin1").toString("hex")] : [];
        });
      expect(framed(max, [Uint8Array.from(bytes)], true)).toEqual(expected);
    }),
    { numRuns: 1_000 },
  );
});
