import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { pms5003, sds011 } from "../support/packets.ts";
import { decoder, values } from "./decoders.ts";

const framing = { kind: "packets", header: "00", length: { offset: 1 } };
const field = (type: string, more: JsonObject = {}) =>
  decoder({ format: "binary", fields: { x: { offset: 1, type, ...more } } }, { framing });
const x = (type: string, hex: string, more: JsonObject = {}) => values(field(type, more).hex(`ff${hex}`));

describe("binary fields", () => {
  test.each([
    ["PMS5003", pms5003],
    ["SDS011", sds011],
  ])("a packet of a %s", (_, device) => {
    expect(values(decoder(device.decode, { framing: device.framing }).bytes(device.packet))).toEqual(
      device.values,
    );
  });

  test("numbers of every type, the most significant byte first or last", () => {
    expect(x("uint8", "ff")).toEqual({ x: 255 });
    expect(x("int8", "ff")).toEqual({ x: -1 });
    expect(x("uint16", "fffe")).toEqual({ x: 65_534 });
    expect(x("uint16", "feff", { endianness: "little" })).toEqual({ x: 65_534 });
    expect(x("int16", "fffe")).toEqual({ x: -2 });
    expect(x("uint32", "80000001")).toEqual({ x: 2_147_483_649 });
    expect(x("int32", "01000080", { endianness: "little" })).toEqual({ x: -2_147_483_647 });
    expect(x("uint64", "0020000000000000")).toEqual({ x: 2 ** 53 });
    expect(x("int64", "feffffffffffffff", { endianness: "little" })).toEqual({ x: -2 });
    expect(x("float32", "41c80000")).toEqual({ x: 25 });
    expect(x("float64", "4039000000000000")).toEqual({ x: 25 });
  });

  test("a value is scaled and moved, and a tenth is divided by ten", () => {
    expect(x("uint16", "04d4", { scale: 0.1, add: -40 })).toEqual({ x: 1236 / 10 - 40 });
    expect(x("uint8", "03", { scale: 1.5, add: 1 })).toEqual({ x: 5.5 });
    expect(x("int8", "03", { scale: -0.01 })).toEqual({ x: -0.03 });
  });

  test("a frame too short for its last field is a discard, one byte more is a reading", () => {
    expect(field("uint32").hex("ff000000")).toEqual({ discard: "truncated" });
    expect(values(field("uint32").hex("ff00000001"))).toEqual({ x: 1 });
    expect(values(field("uint32").hex("ff0000000177"))).toEqual({ x: 1 });
  });

  test("a number that is none is no channel", () => {
    expect(x("float32", "7fc00000")).toBe("noChannels");
    expect(x("float64", "7ff0000000000000")).toBe("noChannels");
  });

  test("a field may name the device, or be the time", () => {
    const decode = {
      format: "binary",
      fields: {
        id: { offset: 0, type: "uint8" },
        at: { offset: 1, type: "uint32" },
        x: { offset: 5, type: "uint8" },
      },
      time: { field: "at", unit: "s" },
    };
    const decoded = decoder(decode, { framing, device: { field: "id" } }).hex("07 67748580 09");
    expect(decoded).toMatchObject({
      readings: [{ device: "7", timeMs: 0x67748580 * 1_000, values: [{ channel: "x", value: 9 }] }],
    });
  });

  test("any bytes give finite numbers or a reason", () => {
    const types = [
      "uint8",
      "int8",
      "uint16",
      "int16",
      "uint32",
      "int32",
      "uint64",
      "int64",
      "float32",
      "float64",
    ];
    const compiled = types.map((type) => field(type));
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 12 }),
        fc.constantFrom(...compiled),
        (bytes, { bytes: decode }) => {
          const decoded = decode(bytes);
          if ("discard" in decoded) expect(["empty", "truncated", "noChannels"]).toContain(decoded.discard);
          else expect(decoded.readings[0]?.values[0]?.value).toSatisfy(Number.isFinite);
        },
      ),
    );
  });
});
