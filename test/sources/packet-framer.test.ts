import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checksumKinds } from "../../src/core/checksum.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { checkOf } from "../../src/sources/check.ts";
import { framerOf } from "../../src/sources/framing.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { pms5003, sds011 } from "../support/packets.ts";
import { cut, discardedBytes, expectBounded, framed, framingOf } from "./framed.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const whole = pms5003.packet;
const told = whole.toString("hex");

function flipped(packet: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(packet);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

describe.each([
  ["PMS5003", pms5003],
  ["SDS011", sds011],
])("packets of a %s", (_, { framing, packet }) => {
  const sent = packet.toString("hex");

  test("one after the other are a frame each, whatever the chunks are", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cuts) => {
        expect(framed(framing, cut(Buffer.concat([packet, packet, packet]), cuts))).toEqual([
          sent,
          sent,
          sent,
        ]);
      }),
    );
  });

  test("a flipped bit is never a frame, and the packet behind it is one", () => {
    for (let bit = 0; bit < packet.length * 8; bit++) {
      const seen = framed(framing, [flipped(packet, bit), packet, packet], true);
      expect(seen.filter((one) => !one.includes(" "))).not.toContainEqual(expect.not.stringMatching(sent));
      // A length that grew may take the next packet with it until its checksum is seen; the search finds it again.
      expect(seen.filter((one) => one === sent)).toHaveLength(2);
      expect(discardedBytes(seen)).toBe(packet.length);
    }
  });

  test("a garbage prefix is never a frame, and every byte is in a frame or a discard", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (garbage) => {
        const seen = framed(framing, [garbage, packet], true);
        expect(seen.filter((one) => !one.includes(" "))).toEqual([sent]);
        expect(discardedBytes(seen)).toBe(garbage.length);
      }),
      { numRuns: 2_000 },
    );
  });
});

test("noise ahead of a packet is one discard of its size", () => {
  expect(framed(pms5003.framing, [hex("00 42 00 4d 17"), whole])).toEqual(["unframed 5", told]);
});

test("a packet inside of what claimed to be one is found: the search goes on behind the first byte of the header", () => {
  // The header of a packet whose rest was lost, and another packet where its bytes should be.
  expect(framed(pms5003.framing, [whole.subarray(0, 7), whole, whole])).toEqual([
    "badChecksum 7",
    told,
    told,
  ]);
  // Here the header's first byte comes once too often.
  const framing = { kind: "packets", header: "0101", length: 5, checksum: { kind: "sum8", from: 2 } };
  expect(framed(framing, [hex("01 01 01 07 05 0c")])).toEqual(["badChecksum 1", "010107050c"]);
});

test("a length that no packet can have is a discard with its reason, and costs no waiting", () => {
  expect(framed(pms5003.framing, [hex("42 4d ff ff"), whole])).toEqual(["overlong 4", told]);
  expect(framed(pms5003.framing, [hex("42 4d 00 00"), whole])).toEqual(["malformed 4", told]);
});

test("a length field of two bytes is read in the order of bytes that is declared", () => {
  const framing = (endianness: string) => ({
    kind: "packets",
    header: "01",
    length: { offset: 1, type: "uint16", endianness, add: 3 },
    checksum: { kind: "crc16-modbus", endianness: "little", from: 1 },
  });
  const packetOf = (length: string) => {
    const body = hex(`01 ${length} 6162`);
    return Buffer.concat([body, crcOf(body.subarray(1))]);
  };
  const [big, little] = [packetOf("0004"), packetOf("0400")];
  expect(framed(framing("big"), [big])).toEqual([big.toString("hex")]);
  expect(framed(framing("little"), [little])).toEqual([little.toString("hex")]);
  // 4 is 1,024 in the other order, which with the three bytes more is beyond the limit.
  expect(framed(framing("little"), [big], true)).toEqual(["overlong 7"]);
});

/** Modbus over serial line 1.02 section 6.2.2, bit by bit; low byte first. */
function crcOf(bytes: Uint8Array): Buffer {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  }
  return Buffer.from([crc & 0xff, crc >> 8]);
}

test("the end of a stream discards a packet that is not whole, and finds a whole one inside of it", () => {
  expect(framed(pms5003.framing, [whole.subarray(0, 20)], true)).toEqual(["truncated 20"]);
  const long = { ...pms5003.framing, maxBytes: 2_000 };
  // A length of 516 bytes that never come hides a packet.
  expect(framed(long, [hex("42 4d 02 00"), whole], true)).toEqual(["truncated 4", told]);
});

describe("a silence within a packet", () => {
  const framing = framingOf({ ...pms5003.framing, maxBytes: 2_000, idleMs: 100 });
  const start = (onSleep: (ms: number, signal?: AbortSignal) => unknown = () => undefined) => {
    const seen: string[] = [];
    const clock = new ManualClock();
    const observed: Clock = {
      wall: () => clock.wall(),
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => {
        onSleep(ms, signal);
        return clock.sleep(ms, signal);
      },
    };
    const sink = {
      frame: (bytes: Uint8Array) => seen.push(Buffer.from(bytes).toString("hex")),
      discard: (reason: string, bytes: number) => seen.push(`${reason} ${bytes}`),
    };
    return { seen, clock, framer: framerOf(framing, sink, observed) };
  };

  test("discards it after idleMs, and the next packet is read", async () => {
    const { seen, clock, framer } = start();
    framer.push(whole.subarray(0, 20));
    await clock.advance(99);
    expect(seen).toEqual([]);
    await clock.advance(1);
    expect(seen).toEqual(["truncated 20"]);
    framer.push(whole);
    expect(seen).toEqual(["truncated 20", told]);
  });

  test("is none as long as bytes come, however slowly", async () => {
    const { seen, clock, framer } = start();
    for (const byte of whole) {
      framer.push(Uint8Array.of(byte));
      await clock.advance(90);
    }
    expect(seen).toEqual([told]);
  });

  test("hands on a packet that noise had hidden, without waiting for more", async () => {
    const { seen, clock, framer } = start();
    framer.push(hex("42 4d 02 00"));
    framer.push(whole);
    expect(seen).toEqual([]);
    await clock.advance(100);
    expect(seen).toEqual(["truncated 4", told]);
  });

  test("is none while the process stood still: what came meanwhile is yet to be read", async () => {
    const { seen, clock, framer } = start();
    framer.push(whole.subarray(0, 20));
    clock.standStill(1_000);
    await clock.advance(0);
    framer.push(whole.subarray(20));
    await clock.advance(1_000);
    expect(seen).toEqual([told]);
  });

  test("leaves nothing asleep behind once the stream broke", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const { seen, clock, framer } = start((_, signal) => signals.push(signal));
    framer.push(whole.subarray(0, 20));
    framer.reset();
    expect(seen).toEqual(["truncated 20"]);
    await clock.advance(1_000);
    expect(seen).toEqual(["truncated 20"]);
    expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
  });
});

test("noise without end shows in the books, and is held nowhere", () => {
  expect(framed(sds011.framing, [Buffer.alloc(2_500, 1)])).toEqual(["unframed 1024", "unframed 1024"]);
  expectBounded(pms5003.framing, (at) => (at * 7_919) % 256);
  expectBounded({ ...pms5003.framing, maxBytes: 512 }, (at) => [0x42, 0x4d, 0x01, 0xf0][at % 4] ?? 0);
});

/** Of few different bytes, so that headers, lengths and trailers are frequent. */
const stream = fc.uint8Array({ maxLength: 80 }).map((bytes) => bytes.map((byte) => byte % 5));
const someFraming = fc.record({
  header: fc.constantFrom("01", "0101", "010201"),
  length: fc.oneof(
    fc.integer({ min: 4, max: 9 }),
    fc.record({ offset: fc.integer({ min: 1, max: 3 }), add: fc.integer({ min: -1, max: 6 }) }),
  ),
  checksum: fc.option(fc.record({ kind: fc.constantFrom("sum8", "xor8", "sum16"), from: fc.nat(2) }), {
    nil: undefined,
  }),
  trailer: fc.constantFrom("", "02"),
  maxBytes: fc.integer({ min: 9, max: 14 }),
});

test("any split of any bytes, of any framing, gives the same frames and discards, and loses no byte", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat()), someFraming, (bytes, cuts, { checksum, ...rest }) => {
      const framing = { kind: "packets", ...rest, ...(checksum ? { checksum } : {}) } as JsonObject;
      const seen = framed(framing, [bytes], true);
      expect(framed(framing, cut(bytes, cuts), true)).toEqual(seen);
      const frames = seen.filter((one) => !one.includes(" "));
      const inFrames = frames.reduce((sum, one) => sum + one.length / 2, 0);
      expect(inFrames + discardedBytes(seen)).toBe(bytes.length);
      for (const frame of frames)
        expect(frame.startsWith(rest.header) && frame.endsWith(rest.trailer)).toBe(true);
    }),
    { numRuns: 3_000 },
  );
});

test("a checksum of any kind holds at the end of what it covers, and not when a byte is missing", () => {
  for (const kind of checksumKinds) {
    const check = checkOf({ kind, endianness: "big", from: 1 });
    const frame = Buffer.alloc(5 + check.bytes, 0);
    // All zeros sum up to zero; of the others only some checksum holds: find it by trying the last byte.
    expect(check.holds(frame.subarray(0, check.bytes))).toBe(false);
    const last = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => {
      frame[frame.length - 1] = byte;
      return check.holds(frame);
    });
    expect(last.length).toBeLessThanOrEqual(1);
  }
});
