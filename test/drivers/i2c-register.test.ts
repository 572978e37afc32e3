import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { i2cRegister } from "../../src/drivers/i2c-register.ts";
import { RegisterChip } from "../support/i2c/simulated-bus.ts";
import { ConversationTime, hold, optionsOf } from "./conversation.ts";

interface Entry {
  readonly register: number;
  readonly type: string;
  readonly endianness: "big" | "little";
}

/** What a register holds by the language's own means. */
function expected(image: Buffer, { register, type, endianness }: Entry): number {
  const bytes = type === "float32" ? 4 : Number(type.replace(/\D+/, "")) / 8;
  const taken = Buffer.from(image.subarray(register, register + bytes));
  if (endianness === "little") taken.reverse();
  if (type === "float32") return taken.readFloatBE(0);
  return type.startsWith("u") ? taken.readUIntBE(0, bytes) : taken.readIntBE(0, bytes);
}

const entry = fc.record({
  register: fc.integer({ min: 0, max: 250 }),
  type: fc.constantFrom("uint8", "int8", "uint16", "int16", "uint24", "int24", "uint32", "int32", "float32"),
  endianness: fc.constantFrom("big" as const, "little" as const),
});

test("any map of any registers is what these hold, read at once or each by itself, in frames that fit", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), entry, { minKeys: 1, maxKeys: 64 }),
      fc.uint8Array({ minLength: 256, maxLength: 256 }),
      fc.constantFrom("on", "off"),
      (registers, bytes, autoIncrement) => {
        const chip = new RegisterChip().set(0, Buffer.from(bytes).toString("hex"));
        const options = optionsOf(i2cRegister, { registers, autoIncrement }) as never;
        const frame = hold(i2cRegister.measure(options, new Uint8Array()), chip, new ConversationTime());
        expect(frame?.length).toBeLessThanOrEqual(256);
        const decoded = i2cRegister.decode(frame ?? new Uint8Array(), options);
        expect(Object.fromEntries(decoded as [string, number][])).toEqual(
          Object.fromEntries(
            Object.entries(registers).map(([name, entry]) => [name, expected(chip.registers, entry)]),
          ),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("mask and shift take the bits that they say, and a signed value is as wide as these", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0, max: 15 }),
      fc.integer({ min: 1, max: 16 }),
      fc.boolean(),
      (word, shift, wide, isSigned) => {
        const width = Math.min(wide, 16 - shift);
        const mask = ((2 ** width - 1) << shift) & 0xffff;
        const type = isSigned ? "int16" : "uint16";
        const options = optionsOf(i2cRegister, { registers: { v: { register: 1, type, mask, shift } } });
        const bits = BigInt(word) >> BigInt(shift);
        const value = isSigned ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits);
        const frame = Buffer.from([word >> 8, word & 0xff]);
        expect(i2cRegister.decode(frame, options as never)).toEqual([["v", Number(value)]]);
      },
    ),
  );
});

test("neighbours are one exchange, and so is what stands twice; a gap is none", () => {
  const registers = {
    a: { register: 0x10, type: "uint16" },
    b: { register: 0x12, type: "uint8" },
    isHigh: { register: "0x12", type: "uint8", mask: "0x80", shift: 7 },
    c: { register: 0x14, type: "uint8" },
  };
  const reads = (autoIncrement: string) => {
    const options = optionsOf(i2cRegister, { registers, autoIncrement }) as never;
    const exchanges: unknown[] = [];
    const conversation = i2cRegister.measure(options, new Uint8Array());
    for (let step = conversation.next(); !step.done; step = conversation.next(Buffer.alloc(4)))
      exchanges.push(step.value);
    return exchanges;
  };
  expect(reads("on")).toEqual([
    { write: [0x10], read: 3 },
    { write: [0x14], read: 1 },
  ]);
  expect(reads("off")).toEqual([
    { write: [0x10], read: 2 },
    { write: [0x12], read: 1 },
    { write: [0x14], read: 1 },
  ]);
});

test("what is to be written comes in its order, with its pauses", () => {
  const setup = [
    { register: "0xe0", bytes: ["0xb6"], waitMs: 3 },
    { register: 0xf2, bytes: [1, "0x24"] },
  ];
  const options = optionsOf(i2cRegister, { registers: { t: { register: 0xfa } }, setup }) as never;
  const chip = new RegisterChip();
  const time = new ConversationTime();
  hold(i2cRegister.setup(options), chip, time);
  expect([chip.registers[0xe0], chip.registers[0xf2], chip.registers[0xf3]]).toEqual([0xb6, 1, 0x24]);
  expect(time.nowMs).toBeGreaterThanOrEqual(3);
});

describe("a map that contradicts itself", () => {
  const problems = (registers: object, more: object = {}) =>
    i2cRegister
      .contradictions?.(optionsOf(i2cRegister, { registers, ...more }) as never)
      .map(({ path }) => path);
  const words = { shunt: { register: 1, type: "int16" }, bus: { register: 2, type: "uint16" } };

  test("has words under neighbouring numbers that are read at once", () => {
    expect(problems(words)).toEqual(["registers.bus.register"]);
    expect(problems(words, { autoIncrement: "off" })).toEqual([]);
  });

  test("but not two that share a byte, each with its bits", () => {
    const shared = {
      h4: { register: "0xe4", type: "int16", mask: "0xff0f" },
      h5: { register: "0xe5", type: "int16", endianness: "little", shift: 4 },
    };
    expect(problems(shared)).toEqual([]);
  });

  test("reaches beyond the last register", () => {
    expect(problems({ t: { register: 0xff, type: "uint16" } })).toEqual(["registers.t.register"]);
  });

  test.each([
    [{ register: 0, min: 2, max: 1 }],
    [{ register: 0, type: "float32", shift: 1 }],
    [{ register: 0, type: "uint8", mask: "0xff00" }],
    [{ register: 0, type: "uint8", shift: 8 }],
    [{ register: "0x100" }],
    [{ register: 256 }],
    [{ register: "12" }],
    [{ register: 0, type: "uint12" }],
  ])("as %o is refused", (entry) => {
    expect(() => optionsOf(i2cRegister, { registers: { t: entry } })).toThrow();
  });

  test.each(["a b", "a.b", "", "__proto__", "constructor", "x".repeat(65)])(
    "with the channel %j is refused",
    (name) => {
      expect(() =>
        optionsOf(i2cRegister, { registers: Object.fromEntries([[name, { register: 0 }]]) }),
      ).toThrow();
    },
  );
});
