import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitCbor } from "../../src/decode/cbor.ts";
import { decoder, notes, values } from "./decoders.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
/** The value in `{"v": …}`. */
function contentOf(item: string): unknown {
  const split = splitCbor(hex(`a16176${item}`));
  return "discard" in split ? split.discard : (split[0] as [string, unknown][])[0]?.[1];
}
const framing = { kind: "cobs" };
const cbor = decoder({ format: "cbor" }, { framing });

/** RFC 8949 appendix A; whole numbers beyond 2^53 are rounded, as all of ours. */
const numbers: readonly (readonly [number: number, hex: string])[] = [
  [0, "00"],
  [1, "01"],
  [10, "0a"],
  [23, "17"],
  [24, "1818"],
  [25, "1819"],
  [100, "1864"],
  [1000, "1903e8"],
  [1000000, "1a000f4240"],
  [1000000000000, "1b000000e8d4a51000"],
  [2 ** 64, "1bffffffffffffffff"],
  [2 ** 64, "c249010000000000000000"],
  [-(2 ** 64), "3bffffffffffffffff"],
  [-(2 ** 64), "c349010000000000000000"],
  [-1, "20"],
  [-10, "29"],
  [-100, "3863"],
  [-1000, "3903e7"],
  [0, "f90000"],
  [-0, "f98000"],
  [1, "f93c00"],
  [1.1, "fb3ff199999999999a"],
  [1.5, "f93e00"],
  [65504, "f97bff"],
  [100000, "fa47c35000"],
  [3.4028234663852886e38, "fa7f7fffff"],
  [1e300, "fb7e37e43c8800759c"],
  [2 ** -24, "f90001"],
  [0.00006103515625, "f90400"],
  [-4, "f9c400"],
  [-4.1, "fbc010666666666666"],
  [Number.POSITIVE_INFINITY, "f97c00"],
  [Number.NaN, "f97e00"],
  [Number.NEGATIVE_INFINITY, "f9fc00"],
  [Number.POSITIVE_INFINITY, "fa7f800000"],
  [Number.NaN, "fa7fc00000"],
  [Number.NEGATIVE_INFINITY, "faff800000"],
  [Number.POSITIVE_INFINITY, "fb7ff0000000000000"],
  [Number.NaN, "fb7ff8000000000000"],
  [Number.NEGATIVE_INFINITY, "fbfff0000000000000"],
  [1363896240, "c11a514b67b0"],
  [1363896240.5, "c1fb41d452d9ec200000"],
];
const texts: readonly (readonly [text: string, hex: string])[] = [
  ["", "60"],
  ["a", "6161"],
  ["IETF", "6449455446"],
  ['"\\', "62225c"],
  ["ü", "62c3bc"],
  ["水", "63e6b0b4"],
  ["𐅑", "64f0908591"],
  ["streaming", "7f657374726561646d696e67ff"],
  ["2013-03-21T20:04:00Z", "c074323031332d30332d32315432303a30343a30305a"],
  ["http://www.example.com", "d82076687474703a2f2f7777772e6578616d706c652e636f6d"],
];
const others = [
  "f4",
  "f5",
  "f6",
  "f7",
  "f0",
  "f8ff",
  "d74401020304",
  "d818456449455446",
  "40",
  "4401020304",
  "5f42010243030405ff",
  "80",
  "83010203",
  "8301820203820405",
  "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
  "a0",
  "a201020304",
  "a26161016162820203",
  "826161a161626163",
  "a56161614161626142616361436164614461656145",
  "9fff",
  "9f018202039f0405ffff",
  "9f01820203820405ff",
  "83018202039f0405ff",
  "83019f0203ff820405",
  "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
  "bf61610161629f0203ffff",
  "826161bf61626163ff",
  "bf6346756ef563416d7421ff",
];

describe("CBOR", () => {
  test.each(numbers)("the number %s of RFC 8949 appendix A, %s", (number, item) => {
    expect(contentOf(item)).toBe(number);
  });
  test.each(texts)("the text %s of RFC 8949 appendix A", (text, item) => {
    expect(contentOf(item)).toBe(text);
  });
  test.each(others)("%s of RFC 8949 appendix A is neither number nor text, and well-formed", (item) => {
    expect(contentOf(item)).toBeUndefined();
  });

  /** RFC 8949 appendix F: not well-formed. */
  test.each(
    `18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000
     41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203 81 818181 8200 a1 a20102 a100
     a2000000 c0 5f4100 7f6100 9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff
     1c 1d 1e 3c 3d 3e 5c 7c 9c bc dc fc fd fe f800 f801 f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff
     5fe0ff 7f4100ff 5f5f4100ffff 7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff
     9f829f819f9fffffffff bf00ff bf000000ff 1f 3f df`.split(/\s+/),
  )("%s is malformed", (item) => {
    expect(contentOf(item)).toBe("malformed");
  });

  test("a map is a reading, an array of maps is several, and the tag of CBOR itself says nothing", () => {
    expect(values(cbor.hex("a2 6161 01 6162 f93e00"))).toEqual({ a: 1, b: 1.5 });
    expect(values(cbor.hex("d9d9f7 bf 6161 01 ff"))).toEqual({ a: 1 });
    const two = decoder({ format: "cbor" }, { framing, device: { field: "id" } }).hex(
      "82 a2 626964 6161 6174 01 a2 626964 02 6174 02",
    );
    expect(two).toMatchObject({ readings: [{ device: "a" }, { device: "2" }] });
    expect(cbor.hex("9f a1616101 a1616102 ff")).toMatchObject({ readings: [{}, {}] });
  });

  test("whole numbers may be keys; what is no number is counted, as in JSON", () => {
    expect(values(cbor.hex("a2 01 05 20 06"))).toEqual({ "1": 5, "-1": 6 });
    expect(notes(cbor.hex("a4 6161 01 6162 f5 6163 80 6164 f6"))).toEqual([
      "notANumber",
      "notANumber",
      "notANumber",
    ]);
    expect(values(cbor.hex("a1 695f5f70726f746f5f5f 01"))).toEqual({ ["__proto__"]: 1 });
  });

  test("a time may be a tagged text or number", () => {
    const iso = decoder({ format: "cbor", time: { field: "t", unit: "iso" } }, { framing });
    expect(iso.hex("a2 6174 c074323031332d30332d32315432303a30343a30305a 6176 01")).toMatchObject({
      readings: [{ timeMs: Date.UTC(2013, 2, 21, 20, 4) }],
    });
    const seconds = decoder({ format: "cbor", time: { field: "t", unit: "s" } }, { framing });
    expect(seconds.hex("a2 6174 c1fb41d452d9ec200000 6176 01")).toMatchObject({
      readings: [{ timeMs: 1_363_896_240_500 }],
    });
  });

  test.each([
    "01",
    "6161",
    "80",
    "8101",
    "82a101 02 01",
    "a1 80 01",
    "a1 4161 01",
    "a1 6161 01 00",
    "f6",
    "a1 62c328 01",
  ])("%s is no reading", (item) => {
    expect(cbor.hex(item)).toMatchObject({ discard: expect.stringMatching(/^(malformed|noChannels)$/) });
  });

  test("claimed lengths cost no memory, and nesting no stack", () => {
    const before = process.memoryUsage();
    for (const item of [
      "9bffffffffffffffff",
      "bb7fffffffffffffff",
      "5b0000ffffffffffff",
      "7b0000ffffffffffff",
    ])
      expect(contentOf(item)).toBe("malformed");
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(1_000_000);
    for (const opening of ["81", "9f", "a161", "bf61", "d9d9f7", "c0", "c2", "5f"])
      expect(contentOf(opening.repeat(300_000))).toBe("malformed");
    expect(contentOf(`${"81".repeat(30)}00`)).toBeUndefined();
    expect(contentOf(`${"81".repeat(40)}00`)).toBe("malformed");
  });

  test("a bignum of a megabyte is no number, and a row of small parts is read once", () => {
    expect(contentOf(`c25a00100000${"ff".repeat(1_048_576)}`)).toBeUndefined();
    expect(contentOf(`7f${"6161".repeat(100_000)}ff`)).toBe("a".repeat(100_000));
  });

  test("any bytes give values or a reason", () => {
    const soup = fc
      .array(
        fc.oneof(
          fc.constantFrom(...numbers.map(([, item]) => item), ...others, "a1", "82", "9f", "ff", "6161"),
        ),
      )
      .map((parts) => hex(`bf${parts.join("")}ff`));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), soup), (bytes) => {
        const decoded = cbor.bytes(bytes);
        if ("discard" in decoded) expect(["empty", "malformed", "noChannels"]).toContain(decoded.discard);
        else expect(decoded.readings.length).toBeGreaterThan(0);
      }),
      { numRuns: 3_000 },
    );
  });
});
