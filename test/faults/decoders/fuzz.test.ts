/** The part of the campaign that feeds decoders and framers: it finds what it is for, and all of them are in it. */
import { describe, expect, test } from "vitest";
import type { Framing } from "../../../src/config/framing-schema.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { i2cDrivers, oneWireDrivers } from "../../../src/drivers/catalogue.ts";
import { framerOf } from "../../../src/sources/framing.ts";
import { framingOf } from "../../sources/framed.ts";
import { fuzz } from "./fuzz.ts";
import { type FuzzedDecoder, fuzzedDecoders, type Variant } from "./fuzzed-decoders.ts";
import { fuzzedFramers } from "./fuzzed-framers.ts";
import { judgedDecoder } from "./judged-decoder.ts";
import { type Account, type FramerVariant, judgedFramer } from "./judged-framer.ts";

type Decode = Variant["decode"];

/** A byte, and behind it the same with some bits turned. */
const honest: Decode = ([byte = 0, check], timeMs) =>
  check === (byte ^ 0x66) ? reading("v", byte, timeMs) : { discard: "badChecksum" };

function reading(channel: string, value: number, timeMs: number): ReturnType<Decode> {
  return { readings: [{ device: "d", timeMs, values: [{ channel, value }] }], notes: [] };
}

const decoderWith = (decode: Decode): FuzzedDecoder => ({
  name: "planted",
  hasChecksum: true,
  words: [],
  seal: (bytes) => Buffer.from([bytes[0] ?? 0, (bytes[0] ?? 0) ^ 0x66]),
  variants: [{ decode, good: [Buffer.from("a5c3", "hex")], channels: new Set(["v"]) }],
});
const problemsOf = (decode: Decode, inputs = 5_000) =>
  fuzz(judgedDecoder(decoderWith(decode)), inputs, 1).problems;

const kept: Uint8Array[] = [];

describe("a decoder", () => {
  test("that is as it should be has no problems, and some inputs that it takes", () => {
    const { problems, decoded, discarded } = fuzz(judgedDecoder(decoderWith(honest)), 5_000, 1);
    expect(problems).toEqual([]);
    expect(decoded).toBeGreaterThan(500);
    expect(discarded).toBeGreaterThan(500);
  });

  test.each<readonly [string, Decode, RegExp]>([
    [
      "throws at one byte of 256",
      (bytes, ms) => honest(bytes[0] === 0x80 ? (undefined as never) : bytes, ms),
      /threw TypeError.* at 80/,
    ],
    ["gives what is not finite", ([byte = 0], ms) => reading("v", 1 / byte, ms), /gave v = Infinity at 00/],
    [
      "gives a channel that it does not declare",
      (bytes, ms) => (bytes.length > 60 ? reading("w", 1, ms) : honest(bytes, ms)),
      /gave w, which it does not declare/,
    ],
    [
      "does not look at its checksum",
      ([byte = 0], ms) => reading("v", byte, ms),
      /gave other values for one wrong bit of a5c3/,
    ],
    [
      "gives no reading and no discard",
      () => ({ readings: [], notes: [] }),
      /neither readings nor a discard/,
    ],
  ])("that %s is found", (_, decode, problem) => {
    expect(problemsOf(decode)[0]).toMatch(problem);
  });

  test("that remembers what it got is found", () => {
    const remembers: Decode = (bytes, ms) => {
      kept.push(Buffer.alloc(2_048, bytes[0]));
      return honest(bytes, ms);
    };
    expect(problemsOf(remembers)).toEqual([expect.stringMatching(/the heap grew by \d{7} bytes/)]);
    kept.length = 0;
  });

  test("gets the same with the same seed, and other things with another", () => {
    const seen = (seed: number) => {
      const got: string[] = [];
      const decode: Decode = (bytes, ms) => {
        got.push(Buffer.from(bytes).toString("hex"));
        return honest(bytes, ms);
      };
      fuzz(judgedDecoder(decoderWith(decode)), 200, seed);
      return got;
    };
    expect(seen(1)).toEqual(seen(1));
    expect(seen(1)).not.toEqual(seen(2));
  });
});

describe("a framer", () => {
  type Make = NonNullable<FramerVariant["make"]>;
  const right: Make = (framing, sink) => framerOf(framing, sink, systemClock);
  const problemsOf = (make: Make) => {
    const account: Account = (_, stream) => {
      const ends = stream.filter((byte) => byte === 0x0a).length;
      return { least: ends, most: ends + stream.filter((byte) => byte === 0x0d).length };
    };
    const framing = { kind: "lines", maxBytes: 16, first: "keep" };
    const tried = judgedFramer({ framing, good: [Buffer.from("12\n34\n")], account, make });
    return fuzz({ name: "planted", words: [], variants: [tried] }, 5_000, 1).problems;
  };

  test("that is as it should be has no problems", () => {
    expect(problemsOf(right)).toEqual([]);
  });

  test.each<readonly [string, Make, RegExp]>([
    [
      "throws",
      (framing, sink) => right(framing, { ...sink, frame: () => Buffer.alloc(-1) }),
      /threw RangeError/,
    ],
    [
      "holds more than its limit",
      ({ kind }, sink) => right({ kind, maxBytes: 32, first: "keep" } as Framing, sink),
      /held \d\d bytes back|gave a frame of \d\d bytes|showed \d\d bytes/,
    ],
    [
      "tells less than came",
      (framing, sink) => right(framing, { ...sink, discard: () => undefined }),
      /left \d+ bytes untold/,
    ],
    [
      "takes a piece for a frame",
      (framing, sink) => {
        const framer = right(framing, sink);
        const push = (chunk: Uint8Array) => {
          framer.push(chunk);
          framer.reset();
        };
        return { push, reset: () => framer.reset() };
      },
      /gave something else when it came in pieces/,
    ],
  ])("that %s is found", (_, make, problem) => {
    expect(problemsOf(make).join("\n")).toMatch(problem);
  });

  test("that takes a frame with a wrong bit is found", () => {
    const checksum = { kind: "sum8" };
    const unchecked = { kind: "slip", maxBytes: 16, first: "keep" };
    const framing = { ...unchecked, checksum };
    const lax: Make = (_, sink) => right(framingOf(unchecked), sink);
    const account: Account = () => ({ least: -100, most: 5_000 });
    const tried = judgedFramer({ framing, good: [Buffer.from("c00102c0", "hex")], account, make: lax });
    expect(fuzz({ name: "planted", words: [], variants: [tried] }, 500, 1).problems[0]).toMatch(
      /gave another frame for one wrong bit of c00102c0/,
    );
  });
});

test("every framer takes some of what it gets, and has no problems", () => {
  for (const framer of fuzzedFramers()) {
    const { problems, decoded, discarded } = fuzz(framer, 1_000, 1);
    expect(problems).toEqual([]);
    expect(decoded).toBeGreaterThan(50);
    expect(discarded).toBeGreaterThan(50);
  }
});

test("every driver of the catalogue is in it, and each decoder takes some of what it gets", () => {
  const all = fuzzedDecoders();
  const drivers = [...i2cDrivers, ...oneWireDrivers].map(({ name }) => name);
  expect(all.map(({ name }) => name)).toEqual(expect.arrayContaining(drivers));
  for (const decoder of all) {
    const { problems, decoded, discarded } = fuzz(judgedDecoder(decoder), 500, 1);
    expect(problems).toEqual([]);
    expect(decoded).toBeGreaterThan(0);
    expect(discarded).toBeGreaterThan(0);
  }
});
