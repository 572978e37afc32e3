import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { isPlainName } from "../../src/core/reading.ts";
import type { Decoded } from "../../src/decode/decoder.ts";
import { csv, decoder, json, notes, now, pairs, values } from "./decoders.ts";

describe("frames of any format", () => {
  test("no bytes at all are empty", () => {
    expect(json.hex("")).toEqual({ discard: "empty" });
  });

  test("a NUL byte, as a line gives at the wrong baud rate, discards the frame", () => {
    expect(json.hex("7b 22 74 22 3a 31 00 7d")).toEqual({ discard: "nul" });
  });

  test.each([
    ["a lone continuation byte", "7b 22 80 22 3a 31 7d"],
    ["an over-long encoding", "7b 22 c0 af 22 3a 31 7d"],
    ["a surrogate", "7b 22 ed a0 80 22 3a 31 7d"],
    ["a sequence cut at the end", "7b 22 74 22 3a 31 7d c3"],
  ])("invalid UTF-8: %s", (_, hex) => {
    expect(json.hex(hex)).toEqual({ discard: "invalidUtf8" });
  });

  test("bytes that are a part of a larger buffer are read from their own beginning", () => {
    const whole = Buffer.from('XXXX{"t":21.5}YYYY');
    expect(values(json.bytes(whole.subarray(4, -4)))).toEqual({ t: 21.5 });
  });

  test("a reading without a time of its own has the time of its receipt", () => {
    expect(json.text('{"t":1}')).toEqual({
      readings: [{ device: "d", timeMs: now, values: [{ channel: "t", value: 1 }] }],
      notes: [],
    });
  });

  test("arbitrary bytes never throw and give readings or a discard, never both", () => {
    const decoders = [
      json,
      csv,
      pairs,
      decoder({ format: "json", time: { field: "ts" } }, { device: { field: "id" } }),
      decoder({ format: "csv", columns: ["t"], separator: ";" }),
      decoder({ format: "keyValue", separator: "&", time: { field: "ts", unit: "iso" } }),
      decoder({ format: "json", items: "$.t", fields: { t: "$[0]", __proto__: "$.constructor" } }),
      decoder({ format: "value", channel: "t" }),
    ];
    const soup = fc
      .array(
        fc.oneof(
          fc.constantFrom("{", "}", "[", "]", ":", ",", '"', "=", " ", "1", "-", ".", "e", "\\u", "NaN"),
          fc.constantFrom('"t":', '"__proto__":', '"constructor":', "1e999", "null", '"ts":', '"id":'),
          fc.string({ unit: "binary", maxLength: 4 }),
        ),
      )
      .map((parts) => new Uint8Array(Buffer.from(parts.join(""))));
    const documents = fc.json().map((text) => new Uint8Array(Buffer.from(text)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), soup, documents), fc.nat(7), (bytes, which) => {
        const decoded = decoders[which]?.bytes(bytes) ?? { discard: "empty" };
        if ("discard" in decoded) {
          expect(decoded).not.toHaveProperty("readings");
          return;
        }
        expect(decoded.readings.length).toBeGreaterThan(0);
        for (const { device, timeMs, values } of decoded.readings) {
          expect(isPlainName(device)).toBe(true);
          expect(Number.isFinite(timeMs)).toBe(true);
          expect(values.length).toBeGreaterThan(0);
          const channels = values.map((v) => v.channel);
          expect(new Set(channels).size).toBe(channels.length);
          expect(channels.every(isPlainName)).toBe(true);
          expect(values.every((v) => Number.isFinite(v.value))).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("any object of finite numbers comes back as it is", () => {
    const channel = fc.string({ minLength: 1, maxLength: 20 }).filter(isPlainName);
    const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n));
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(channel, number), { minLength: 1, selector: ([k]) => k }),
        (fields) => {
          const decoded = json.text(JSON.stringify(Object.fromEntries(fields)));
          expect(values(decoded)).toEqual(Object.fromEntries(fields));
        },
      ),
    );
  });
});

describe("devices", () => {
  const named = decoder({ format: "json" }, { device: { field: "id" } });

  test("a number names a device by its digits", () => {
    expect(named.text('{"id":4711,"t":1}')).toMatchObject({ readings: [{ device: "4711" }] });
  });

  test.each(['{"t":1}', '{"id":null,"t":1}'])("%s names no device", (text) => {
    expect(named.text(text)).toEqual({ discard: "noDevice" });
  });

  test.each([
    ["empty", '""'],
    ["a line feed", '"a\\nb"'],
    ["an escape", '"a\\u001bb"'],
    ["DEL", '"a\\u007f"'],
    ["a C1 control", '"a\\u009f"'],
    ["129 characters", JSON.stringify("x".repeat(129))],
    ["true", "true"],
    ["an object", "{}"],
    ["a list", '["a"]'],
  ])("a name that is %s is bad", (_, id) => {
    expect(named.text(`{"id":${id},"t":1}`)).toEqual({ discard: "badDevice" });
  });

  test.each(["Ofen 3 / links", "温度計", "__proto__", "x".repeat(128), "a.b$c"])("%s is a name", (device) => {
    expect(named.text(JSON.stringify({ id: device, t: 1 }))).toMatchObject({ readings: [{ device }] });
  });

  test("the field that names the device is no channel", () => {
    expect(named.text('{"id":4711}')).toEqual({ discard: "noChannels" });
  });
});

describe("times of the device's own", () => {
  const timed = (time: JsonObject) => decoder({ format: "json", time: { field: "ts", ...time } });
  const timeOf = (decoded: Decoded) => ("discard" in decoded ? decoded.discard : decoded.readings[0]?.timeMs);

  test.each([
    ["ms", "1735689600123", 1_735_689_600_123],
    ["ms", '"1735689600123"', 1_735_689_600_123],
    ["ms", "1735689600123.4", 1_735_689_600_123],
    ["s", "1735689600.1234", 1_735_689_600_123],
    ["s", "1735689600", 1_735_689_600_000],
    ["iso", '"2025-01-01T00:00:00Z"', 1_735_689_600_000],
    ["iso", '"2025-01-01T01:00:00.123456+01:00"', 1_735_689_600_123],
    ["iso", '"2024-12-31T18:30-0530"', 1_735_689_600_000],
  ])("%s %s", (unit, text, expected) => {
    expect(timeOf(timed({ unit }).text(`{"ts":${text},"t":1}`))).toBe(expected);
  });

  test.each([
    ["ms", "0"],
    ["ms", "1735689600"],
    ["s", "1735689600123"],
    ["s", "-1"],
    ["ms", "1e999"],
    ["ms", '"2025-01-01T00:00:00Z"'],
    ["iso", "1735689600123"],
    ["iso", '"2025-01-01T00:00:00"'],
    ["iso", '"2025-13-01T00:00:00Z"'],
    ["iso", '"1970-01-01T00:00:00Z"'],
    ["iso", '"yesterday"'],
    ["ms", "null"],
    ["ms", "true"],
  ])("%s %s is no time", (unit, text) => {
    expect(timeOf(timed({ unit }).text(`{"ts":${text},"t":1}`))).toBe("noTime");
  });

  test("a frame without its time is discarded, not stamped", () => {
    expect(timed({}).text('{"t":1}')).toEqual({ discard: "noTime" });
  });

  test("a time ahead of the receipt is good up to the border", () => {
    const border = timed({ maxAheadMs: 1_000 });
    expect(timeOf(border.text(`{"ts":${now + 1_000},"t":1}`))).toBe(now + 1_000);
    expect(timeOf(border.text(`{"ts":${now + 1_001},"t":1}`))).toBe("future");
  });
});

describe("spellings of channels", () => {
  const channels = {
    temperature: { aliases: ["T", "temp"] },
    T: { aliases: [] },
    rh: { aliases: ["humidity"] },
  };
  const aliased = decoder({ format: "json" }, { channels });

  test("an alias means its channel", () => {
    expect(values(aliased.text('{"temp":1,"humidity":2}'))).toEqual({ temperature: 1, rh: 2 });
  });

  test("a channel's own spelling means itself, whatever another channel lists as alias", () => {
    expect(values(aliased.text('{"T":1}'))).toEqual({ T: 1 });
  });

  test.each(['{"temperature":1,"temp":2}', '{"temp":2,"temperature":1}'])(
    "the canonical spelling wins over an alias: %s",
    (text) => {
      const decoded = aliased.text(text);
      expect(values(decoded)).toEqual({ temperature: 1 });
      expect(notes(decoded)).toEqual(["duplicateChannel"]);
    },
  );
});

describe("frames made to be slow", () => {
  // Generous: in proportion to their length they take milliseconds, in proportion to its square many seconds.
  const limitMs = 2_000;

  test("a long run of digits that is no number", () => {
    const startedMs = performance.now();
    expect(json.text(JSON.stringify({ t: `${"1".repeat(32_768)}x` }))).toEqual({ discard: "noChannels" });
    expect(performance.now() - startedMs).toBeLessThan(limitMs);
  });

  test("a line of thirty thousand channels", () => {
    const fields = Object.fromEntries(Array.from({ length: 30_000 }, (_, i) => [`c${i}`, i]));
    const startedMs = performance.now();
    expect(Object.keys(values(json.text(JSON.stringify(fields))))).toHaveLength(30_000);
    expect(performance.now() - startedMs).toBeLessThan(limitMs);
  });
});
