import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cobs, slip, withCrc } from "../support/wrapped.ts";
import { cut, discardedBytes, expectBounded, framed } from "./framed.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

const checksum = { kind: "crc32-iso-hdlc" };

test("SLIP: END and ESC within a frame are escaped, and ENDs between frames are nothing", () => {
  const framing = { kind: "slip", first: "keep" };
  expect(framed(framing, [hex("c0 01 dbdc 02 dbdd 03 c0 c0 c0 04 c0")])).toEqual(["01c002db03", "04"]);
  expect(framed(framing, [hex("01 db 01 c0 db c0 02 c0")])).toEqual(["malformed 3", "malformed 1", "02"]);
});

test("COBS: the examples of its authors' table, and blocks of 254 bytes", () => {
  const framing = { kind: "cobs", first: "keep", maxBytes: 600 };
  const plain = (text: string) => framed(framing, [hex(`${text} 00`)]);
  expect(plain("01 01")).toEqual(["00"]);
  expect(plain("01 01 01")).toEqual(["0000"]);
  expect(plain("01 02 11 01")).toEqual(["001100"]);
  expect(plain("03 11 22 02 33")).toEqual(["11220033"]);
  expect(plain("05 11 22 33 44")).toEqual(["11223344"]);
  expect(plain("02 11 01 01 01")).toEqual(["11000000"]);
  const long = Buffer.from(Array.from({ length: 254 }, (_, i) => i + 1));
  expect(plain(`ff ${long.toString("hex")}`)).toEqual([long.toString("hex")]);
  expect(plain(`ff ${long.toString("hex")} 02 ff`)).toEqual([`${long.toString("hex")}ff`]);
  expect(plain(`ff ${long.toString("hex")} 01 01`)).toEqual([`${long.toString("hex")}0000`.slice(0, -2)]);
  expect(plain("05 11 22")).toEqual(["malformed 3"]);
});

describe.each([
  ["slip", slip],
  ["cobs", cobs],
])("%s", (kind, wrap) => {
  const framing = { kind, maxBytes: 2_000 };

  test("whatever was wrapped comes out, whatever the chunks are", () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 600 }).chain((some) =>
      // Long runs without the special bytes are rare among random ones.
      fc.constantFrom(
        some,
        some.map((byte) => byte | 1),
        some.map((byte) => (byte % 3 === 0 ? 0xc0 : 0xdb)),
      ),
    );
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 4 }), fc.array(fc.nat()), (frames, cuts) => {
        const stream = Buffer.concat(frames.map(wrap));
        expect(framed({ ...framing, first: "keep" }, cut(stream, cuts), true)).toEqual(
          frames.map((frame) => Buffer.from(frame).toString("hex")),
        );
      }),
    );
  });

  test("with a checksum, which is cut off, neither a flipped bit nor a garbage prefix becomes a frame", () => {
    const checked = { ...framing, first: "keep", checksum };
    const payload = Buffer.from('{"t":21.5}\x00\xc0\xdb', "latin1");
    const sent = payload.toString("hex");
    const wrapped = wrap(withCrc(payload));
    expect(framed(checked, [wrapped])).toEqual([sent]);
    fc.assert(
      fc.property(fc.nat(wrapped.length * 8 - 1), fc.uint8Array({ maxLength: 40 }), (bit, garbage) => {
        const flipped = Buffer.from(wrapped);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const delimiter = wrapped.subarray(-1);
        for (const noise of [flipped, Buffer.concat([garbage, delimiter])]) {
          const seen = framed(checked, [noise, delimiter, wrapped], true).filter((one) => !one.includes(" "));
          // A flipped delimiter at the beginning or the end may leave the frame itself whole.
          expect(new Set(seen)).toEqual(new Set([sent]));
        }
      }),
      { numRuns: 2_000 },
    );
    expect(framed(checked, [wrap(Buffer.from([1]))])).toEqual([expect.stringMatching(/^badChecksum \d$/)]);
  });

  test("the tail of a frame that began before is a discard", () => {
    const wrapped = wrap(Buffer.from("abcdef"));
    expect(framed(framing, [wrapped.subarray(3), wrapped])).toEqual([
      `truncated ${wrapped.length - 4}`,
      "616263646566",
    ]);
  });

  test("any split of any bytes gives the same frames and discards, and no more than came", () => {
    const stream = fc.array(fc.constantFrom(0x00, 0x01, 0x02, 0x03, 0xc0, 0xdb, 0xdc, 0xdd, 0xff), {
      maxLength: 80,
    });
    fc.assert(
      fc.property(stream, fc.array(fc.nat()), fc.boolean(), (bytes, cuts, reset) => {
        const whole = Uint8Array.from(bytes);
        const small = { kind, maxBytes: 16, first: "keep" };
        const seen = framed(small, [whole], reset);
        expect(framed(small, cut(whole, cuts), reset)).toEqual(seen);
        expect(discardedBytes(seen)).toBeLessThanOrEqual(whole.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test("noise without end is held nowhere", () => {
    expectBounded({ ...framing, first: "keep" }, (at) => (at * 7_919) % 256);
  });
});
