/** Registers to values and back, the frame of a poll, and which requests a source needs. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bytesFor,
  frameOf,
  type Register,
  recordsOf,
  type Table,
  valueIn,
} from "../../src/drivers/modbus.ts";
import { blocksOf, frameBytesOf } from "../../src/drivers/modbus-plan.ts";

const register = (more: Partial<Register> = {}): Register => ({
  table: "holding",
  address: 0,
  wordOrder: "big",
  byteOrder: "big",
  bits: 1,
  scale: 1,
  offset: 0,
  ...more,
});
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
/** The value of bytes that were read from the register's own address. */
const value = (text: string, more: Partial<Register>) => {
  const bytes = hex(text);
  const count = more.table === "coil" || more.table === "discrete" ? 1 : bytes.length / 2;
  const asked = register(more);
  return valueIn({ table: asked.table, address: asked.address, count, bytes }, asked);
};

describe("values", () => {
  test("the specification's examples: registers 108 to 110 (section 6.3), coils 20 to 38 (section 6.1)", () => {
    const holding = { table: "holding", address: 107, count: 3, bytes: hex("022b 0000 0064") } as const;
    const at = (address: number) => valueIn(holding, register({ address }));
    expect([at(106), at(107), at(108), at(109), at(110)]).toEqual([undefined, 555, 0, 100, undefined]);
    const coils = { table: "coil", address: 19, count: 19, bytes: hex("cd 6b 05") } as const;
    const states = Array.from({ length: 19 }, (_, i) =>
      valueIn(coils, register({ table: "coil", address: 19 + i })),
    );
    expect(states.join("")).toBe("1011001111010110101");
    expect(valueIn(coils, register({ table: "coil", address: 38 }))).toBeUndefined();
    expect(valueIn(coils, register({ table: "discrete", address: 19 }))).toBeUndefined();
  });

  test.each([
    ["ff38", { type: "int16" }, -200],
    ["ff38", { type: "uint16" }, 65_336],
    ["ff38", {}, 65_336],
    ["0001 0002", { type: "uint32" }, 65_538],
    ["0002 0001", { type: "uint32", wordOrder: "little" }, 65_538],
    ["0100 0200", { type: "uint32", byteOrder: "little" }, 65_538],
    ["0200 0100", { type: "uint32", wordOrder: "little", byteOrder: "little" }, 65_538],
    ["ffff fffe", { type: "int32" }, -2],
    ["42f6 e979", { type: "float32" }, 123.45600128173828],
    ["e979 42f6", { type: "float32", wordOrder: "little" }, 123.45600128173828],
    ["7fc0 0000", { type: "float32" }, Number.NaN],
    ["405e dd2f 1a9f be77", { type: "float64" }, 123.456],
    ["be77 1a9f dd2f 405e", { type: "float64", wordOrder: "little" }, 123.456],
    ["001f ffff ffff ffff", { type: "uint64" }, Number.MAX_SAFE_INTEGER],
    ["ffff ffff ffff ffff", { type: "int64" }, -1],
    ["00eb", { type: "int16", scale: 0.1 }, 23.5],
    ["0003", { scale: 0.1 }, 0.3],
    ["0003", { scale: 0.5, offset: -40 }, -38.5],
    ["00a5", { bit: 0, type: "bool" }, 1],
    ["00a5", { bit: 1, type: "bool" }, 0],
    ["12a5", { bit: 4, bits: 4 }, 10],
    ["8000 0000", { type: "uint32", bit: 31 }, 1],
    ["ffff ffff", { type: "uint32", bit: 0, bits: 32 }, 4_294_967_295],
    ["5255 4e00", { type: "string", length: 2, words: { RUN: 3 } }, 3],
    ["01", { table: "coil" }, 1],
    ["00", { table: "discrete" }, 0],
  ] satisfies [string, Partial<Register>, number][])("%s as %j is %d", (text, more, expected) => {
    expect(value(text, more)).toBe(expected);
  });

  test.each(["0020 0000 0000 0000", "ffff ffff ffff ffff"])(
    "an integer beyond 2^53 (%s) is told as such, and as no number",
    (text) => {
      expect(value(text, { type: "uint64" })).toBe(BigInt(`0x${text.replaceAll(" ", "")}`));
    },
  );

  test.each([
    ["5255 4e20", {}, "RUN"],
    ["5552 004e", { byteOrder: "little" }, "RUN"],
    ["5255 4e00 4f4c 4400", { length: 4 }, "RUN"],
    ["0000 0000", {}, ""],
    ["3231 2e35", {}, "21.5"],
    ["b0ff 00ff", {}, "\u00b0\u00ff"],
    ["746f 5374", { words: { RUN: 1 } }, "toSt"],
    ["5f5f 7072 6f74 6f5f 5f00", { length: 5, words: { RUN: 1 } }, "__proto__"],
  ] satisfies [string, Partial<Register>, string][])("the text in %s as %j is %j", (text, more, expected) => {
    expect(value(text, { type: "string", length: 2, ...more })).toBe(expected);
  });

  test("a value whose last register was not read is none", () => {
    const record = { table: "holding", address: 10, count: 2, bytes: hex("0001 0002") } as const;
    expect(valueIn(record, register({ address: 11, type: "float32" }))).toBeUndefined();
    expect(valueIn(record, register({ address: 9, type: "uint32" }))).toBeUndefined();
  });
});

describe("what is written", () => {
  const orders = fc.constantFrom("big" as const, "little" as const);
  const written = fc.record({ wordOrder: orders, byteOrder: orders }).chain((order) =>
    fc
      .oneof(
        fc.record({ type: fc.constant("int16" as const), raw: fc.integer({ min: -32_768, max: 32_767 }) }),
        fc.record({
          type: fc.constant("uint32" as const),
          raw: fc.integer({ min: 0, max: 4_294_967_295 }),
        }),
        fc.record({ type: fc.constant("int32" as const), raw: fc.integer() }),
        fc.record({ type: fc.constant("int64" as const), raw: fc.maxSafeInteger() }),
        fc.record({
          type: fc.constant("float32" as const),
          raw: fc.float({ noNaN: true, noDefaultInfinity: true }),
        }),
        fc.record({
          type: fc.constant("float64" as const),
          raw: fc.double({ noNaN: true, noDefaultInfinity: true }),
        }),
      )
      .map((rest) => ({ ...order, ...rest })),
  );

  test("is read back as it was meant, whatever the type and the order of bytes", () => {
    fc.assert(
      fc.property(written, ({ raw, ...more }) => {
        const asked = register(more);
        const bytes = bytesFor(asked, raw) ?? new Uint8Array();
        const read = valueIn({ table: "holding", address: 0, count: bytes.length / 2, bytes }, asked);
        // Of a zero the sign does not count.
        expect(Number(read) - raw).toBe(0);
      }),
    );
  });

  test.each([
    [23.47, { scale: 0.1 }, "00eb"],
    [-4.4, { type: "int16", scale: 0.1, offset: 10 }, "ff70"],
    [1, { table: "coil" }, "01"],
    [0, { table: "coil" }, "00"],
  ] satisfies [number, Partial<Register>, string][])("%d as %j is the nearest, %s", (wanted, more, text) => {
    expect(Buffer.from(bytesFor(register(more), wanted) ?? []).toString("hex")).toBe(text);
  });

  test.each([
    [65_536, {}],
    [-1, {}],
    [6_553.6, { scale: 0.1 }],
    [2, { table: "coil" }],
    [1e39, { type: "float32" }],
    [2 ** 53, { type: "uint64" }],
    [Number.NaN, { type: "float32" }],
    [Number.POSITIVE_INFINITY, { type: "float64" }],
    [1, { type: "uint16", bit: 3 }],
  ] satisfies [number, Partial<Register>][])("%d as %j is refused", (wanted, more) => {
    expect(bytesFor(register(more), wanted)).toBeUndefined();
  });
});

describe("the frame of a poll", () => {
  const table = fc.constantFrom<Table>("coil", "discrete", "holding", "input");
  const record = fc
    .record({ table, address: fc.nat(60_000), count: fc.integer({ min: 1, max: 125 }) })
    .chain(({ table, address, count }) => {
      const length = table === "coil" || table === "discrete" ? Math.ceil(count / 8) : 2 * count;
      return fc
        .uint8Array({ minLength: length, maxLength: length })
        .map((bytes) => ({ table, address, count, bytes }));
    });

  test("tells its records again", () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 5 }), (records) => {
        expect(recordsOf(frameOf(records))).toEqual(records);
      }),
    );
  });

  test("that is cut anywhere inside a record is a discard", () => {
    fc.assert(
      fc.property(record, fc.nat(1_000), (one, cut) => {
        const frame = frameOf([one]);
        const shorter = frame.subarray(0, 1 + (cut % (frame.length - 1)));
        expect(recordsOf(shorter)).toMatchObject({ discard: "truncated" });
      }),
    );
  });

  test("of any bytes is records or a discard", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const found = recordsOf(bytes);
        if ("discard" in found) expect(["truncated", "malformed"]).toContain(found.discard);
        else expect(frameOf(found)).toEqual(bytes);
      }),
    );
  });
});

describe("the requests of a source", () => {
  const on = { state: "on" } as const;
  const plan = (registers: readonly Register[], maxGap = 0) =>
    blocksOf({
      registers: Object.fromEntries(registers.map((one, i) => [`c${i}`, { ...one, ...on }])),
      maxGap,
    }).map(({ table, address, count }) => `${table} ${address}+${count}`);
  const at = (address: number, more: Partial<Register> = {}) => register({ address, ...more });

  test("neighbours are read together, others apart, unless the gap is small enough", () => {
    const registers = [at(10), at(0, { type: "float32" }), at(2), at(4), at(5, { table: "input" })];
    expect(plan(registers)).toEqual(["holding 0+3", "holding 4+1", "holding 10+1", "input 5+1"]);
    expect(plan(registers, 1)).toEqual(["holding 0+5", "holding 10+1", "input 5+1"]);
    expect(plan(registers, 5)).toEqual(["holding 0+11", "input 5+1"]);
  });

  test("a request has at most 125 registers or 2,000 bits, and cuts no value", () => {
    const floats = Array.from({ length: 63 }, (_, i) => at(2 * i, { type: "float32" }));
    expect(plan(floats)).toEqual(["holding 0+124", "holding 124+2"]);
    const coils = Array.from({ length: 2_001 }, (_, i) => at(i, { table: "coil" }));
    expect(plan(coils)).toEqual(["coil 0+2000", "coil 2000+1"]);
  });

  test("fields of one register are read once, and what is off is not read", () => {
    expect(plan([at(3, { bit: 0 }), at(3, { bit: 1 }), at(3)])).toEqual(["holding 3+1"]);
    const registers = { a: { ...at(3), ...on }, b: { ...at(7), state: "off" as const } };
    expect(blocksOf({ registers, maxGap: 0 })).toEqual([{ table: "holding", address: 3, count: 1 }]);
    expect(frameBytesOf({ registers, maxGap: 0 })).toBe(7);
  });

  test("every register is in one of them, none of which is too long, whatever the registers are", () => {
    const any = fc.record({
      address: fc.nat(400),
      table: fc.constantFrom<Table>("holding", "input", "coil"),
      isLong: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 60 }), fc.nat(124), (registers, maxGap) => {
        const wanted = registers.map(({ isLong, ...more }) =>
          register({ ...more, ...(isLong && more.table !== "coil" ? { type: "float64" as const } : {}) }),
        );
        const blocks = blocksOf({
          registers: Object.fromEntries(wanted.map((one, i) => [`c${i}`, { ...one, ...on }])),
          maxGap,
        });
        for (const { table, count } of blocks)
          expect(count).toBeLessThanOrEqual(table === "coil" ? 2_000 : 125);
        for (const one of wanted) {
          const size = one.type === "float64" ? 4 : 1;
          const holders = blocks.filter(
            ({ table, address, count }) =>
              table === one.table && address <= one.address && one.address + size <= address + count,
          );
          expect(holders.length).toBeGreaterThan(0);
        }
      }),
    );
  });
});
