import fc from "fast-check";
import { expect, test } from "vitest";
import { decoder } from "../decode/decoders.ts";
import { dsmr2, dsmr5, real } from "../decode/telegrams.ts";
import { cut, discardedBytes, expectBounded, framed } from "./framed.ts";

const telegrams = { kind: "telegrams" };
const hexOf = (text: string) => Buffer.from(text.trimEnd(), "latin1").toString("hex");
const bytes = (text: string) => Buffer.from(text, "latin1");

test("telegrams one after the other are a frame each, with and without a checksum", () => {
  expect(framed(telegrams, [bytes(dsmr5 + real + dsmr2 + dsmr5)])).toEqual(
    [dsmr5, real, dsmr2, dsmr5].map(hexOf),
  );
});

test("the tail of a telegram, and noise, are discards, and the telegram behind them is a frame", () => {
  const tail = dsmr5.slice(-300);
  expect(framed(telegrams, [bytes(tail + dsmr5)])).toEqual(["unframed 300", hexOf(dsmr5)]);
});

test("a telegram that is cut off by the next one is a discard of its size", () => {
  expect(framed(telegrams, [bytes(dsmr5.slice(0, 400) + real)])).toEqual(["truncated 400", hexOf(real)]);
});

test("a stream that breaks in a telegram, also behind its exclamation mark, discards it", () => {
  expect(framed(telegrams, [bytes(dsmr5.slice(0, -4))], true)).toEqual([`truncated ${dsmr5.length - 4}`]);
  expect(framed(telegrams, [bytes(`${dsmr2}noise`)], true)).toEqual([hexOf(dsmr2), "unframed 5"]);
});

test("empty lines between telegrams are nothing that was lost", () => {
  expect(framed(telegrams, [bytes(`\r\n\r\n${dsmr2}\r\n\r\n${dsmr2}\r\n`)], true)).toEqual(
    [dsmr2, dsmr2].map(hexOf),
  );
});

test("a telegram longer than the limit is one discard, and the next one is read", () => {
  const small = { kind: "telegrams", maxBytes: 400 };
  expect(framed(small, [bytes(dsmr5 + dsmr2)])).toEqual([`overlong ${dsmr5.length}`, hexOf(dsmr2)]);
});

test("noise without end shows in the books before a telegram comes, and is held nowhere", () => {
  const noise = Buffer.alloc(40, "x");
  expect(framed({ kind: "telegrams", maxBytes: 16 }, [noise])).toEqual(["unframed 16", "unframed 16"]);
  expectBounded(telegrams, (at) => at % 251);
  expectBounded(telegrams, () => 0x2f);
});

const piece = fc.oneof(
  fc.constantFrom("/", "!", "\n", "\r\n", "/!\n", "/a!1\r\n", "x"),
  fc.string({ maxLength: 3 }),
);
const stream = fc.array(piece, { maxLength: 40 }).map((parts) => bytes(parts.join("")));

test("a garbage prefix never becomes a reading, and the telegram behind it is the only one", () => {
  const decode = decoder({ format: "dsmr" }, { framing: telegrams });
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    stream,
    fc.nat(dsmr5.length).map((from) => bytes(dsmr5.slice(from))),
    fc.nat(real.length - 3).map((end) => bytes(real.slice(0, end))),
  );
  fc.assert(
    fc.property(garbage, fc.array(fc.nat(), { maxLength: 5 }), (prefix, cuts) => {
      fc.pre(!Buffer.from(prefix).equals(bytes(dsmr5)));
      const frames = framed(telegrams, cut(Buffer.concat([prefix, bytes(dsmr5)]), cuts), true);
      expect(frames.at(-1)).toBe(hexOf(dsmr5));
      for (const frame of frames.slice(0, -1).filter((one) => !one.includes(" ")))
        expect(decode.hex(frame)).toHaveProperty("discard");
    }),
    { numRuns: 1_000 },
  );
});

test("any split of any bytes gives the same frames and discards", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(200)), fc.boolean(), (whole, cuts, reset) => {
      const small = { kind: "telegrams", maxBytes: 16 };
      expect(framed(small, cut(whole, cuts), reset)).toEqual(framed(small, [whole], reset));
    }),
    { numRuns: 1_000 },
  );
});

test("every byte of any stream is in a frame, in a discard, or in a line end outside of telegrams", () => {
  fc.assert(
    fc.property(stream, (whole) => {
      const seen = framed({ kind: "telegrams", maxBytes: 16 }, [whole], true);
      const told =
        discardedBytes(seen) +
        seen.reduce((sum, one) => sum + (one.startsWith("2f") ? one.length / 2 : 0), 0);
      const ends = [...whole].filter((byte) => byte === 0x0a || byte === 0x0d).length;
      expect(told).toBeLessThanOrEqual(whole.length);
      expect(told).toBeGreaterThanOrEqual(whole.length - ends);
    }),
    { numRuns: 1_000 },
  );
});
