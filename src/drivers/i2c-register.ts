import type { Problem } from "../core/errors.ts";
import type { I2cDriver } from "./driver.ts";
import { byChannel } from "./named-channels.ts";

const types = ["uint8", "int8", "uint16", "int16", "uint24", "int24", "uint32", "int32", "float32"] as const;
type Type = (typeof types)[number];

/** As a datasheet writes it, `0x1f`, or as JSON does. */
type Spelled = number | string;

interface Register {
  readonly register: Spelled;
  readonly type: Type;
  readonly endianness: "big" | "little";
  readonly mask?: Spelled | undefined;
  readonly shift: number;
  readonly scale: number;
  readonly offset: number;
  readonly unit?: string | undefined;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}
interface SetupWrite {
  readonly register: Spelled;
  readonly bytes: readonly Spelled[];
  readonly waitMs: number;
}
interface Options {
  readonly registers: Readonly<Record<string, Register>>;
  readonly autoIncrement: "on" | "off";
  readonly setup: readonly SetupWrite[];
}

/** Of four bytes at most: a frame is no longer than a source allows. */
const mostRegisters = 64;

/** Any chip whose registers a configuration can describe. What it answers has no checksum, and is believed. */
export const i2cRegister: I2cDriver<Options> = {
  name: "i2c-register",
  title: "Any chip, by a map of its registers",
  datasheet: "the chip's own",
  addresses: "any",
  options: (z) => {
    const spelled = (digits: number, max: number) =>
      z.union([
        z.int().min(0).max(max),
        z.string().regex(new RegExp(`^0x[0-9a-fA-F]{1,${digits}}$`), `must be at most 0x${max.toString(16)}`),
      ]);
    const register = spelled(2, 0xff).describe("Its number, as such or as `0x1f`");
    return {
      registers: byChannel(
        z,
        mostRegisters,
        z
          .strictObject({
            register,
            type: z
              .enum(types)
              .default("uint8")
              .describe("What stands in it, and in those that it goes on in"),
            endianness: z.enum(["big", "little"]).default("big").describe("Which byte comes first"),
            mask: spelled(8, 0xffff_ffff)
              .optional()
              .describe("Only these bits count, as a number or as `0xfff0`"),
            shift: z
              .int()
              .min(0)
              .max(31)
              .default(0)
              .describe("Then to the right by so many; a signed value is as wide as what is left"),
            scale: z.number().default(1).describe("value = bits × scale + offset"),
            offset: z.number().default(0).describe("In `unit`"),
            unit: z.string().max(32).optional().describe("Unit of the value"),
            min: z
              .number()
              .optional()
              .describe("Below it a value is `bad`, unless `validate` has an entry for the device"),
            max: z.number().optional().describe("Above it, likewise"),
          })
          .refine(
            ({ min, max }) => min === undefined || max === undefined || min <= max,
            "min must not exceed max",
          )
          .refine(
            ({ type, mask, shift }) => type !== "float32" || (mask === undefined && shift === 0),
            "a float32 has no mask and no shift",
          )
          .refine(
            ({ type, mask, shift }) => type === "float32" || bitsOf(type, mask, shift) !== 0,
            "mask and shift leave no bits of the type",
          ),
      ).describe("Which registers are read, by the names of the channels"),
      autoIncrement: z
        .enum(["on", "off"])
        .default("on")
        .describe(
          "`on`: reading on goes to the next register, and neighbours are read at once; `off`: each is read by itself, as chips need whose registers are wider than a byte",
        ),
      setup: z
        .array(
          z.strictObject({
            register,
            bytes: z.array(spelled(2, 0xff)).min(1).max(32),
            waitMs: z.int().min(0).max(1_000).default(0).describe("Pause behind it"),
          }),
        )
        .max(64)
        .default([])
        .describe("What is written when the chip is found, and after every failure, in this order"),
    };
  },
  contradictions,
  channels: (options) =>
    Object.fromEntries(inOrder(options).map(({ name, unit, min, max }) => [name, { unit, min, max }])),
  *setup({ setup }) {
    for (const { register, bytes, waitMs } of setup) {
      yield { write: [numberOf(register), ...bytes.map(numberOf)] };
      if (waitMs > 0) yield { waitMs };
    }
    return new Uint8Array();
  },
  *measure(options) {
    const parts: Uint8Array[] = [];
    for (const { from, bytes } of layoutOf(options).reads) parts.push(yield { write: [from], read: bytes });
    return Buffer.concat(parts);
  },
  decode(frame, options) {
    const { places, length } = layoutOf(options);
    if (frame.length !== length) return { discard: "truncated" };
    return places.map(({ register, at }) => [register.name, valueAt(register, frame, at)] as const);
  },
  vectors: [
    {
      // The registers of a BMP280 (0x76), as its datasheet's section 3.12 has them: what is left of the arithmetic.
      title: "neighbours are one read: the BMP280's example, a word that is shifted, and a bit of it",
      options: {
        registers: {
          adcT: register("0xfa", "uint24", { shift: 4 }),
          adcP: register(0xf7, "uint24", { mask: "0xfffff0", shift: 4 }),
          id: register("0xd0", "uint8", {}),
          isMeasuring: register(0xf3, "uint8", { mask: 0x08, shift: 3 }),
        },
      },
      frame: "58 08 655ac0 7eed00",
      expected: { id: 0x58, isMeasuring: 1, adcP: 415_148, adcT: 519_888 },
    },
    {
      title: "every type, either way round, by DataView: -2, 0.5 and so on",
      options: {
        registers: {
          a: register(0x00, "int8", {}),
          b: register(0x10, "int16", { endianness: "little", scale: 0.5 }),
          c: register(0x20, "int24", { offset: 10 }),
          d: register(0x30, "uint32", { endianness: "little" }),
          e: register(0x40, "int32", {}),
          f: register(0x50, "float32", {}),
          g: register(0x60, "int16", { mask: "0xfff0", shift: 4, scale: 0.0625 }),
        },
      },
      frame: "fe fcff fffffc ffffffff fffffff8 3f000000 e700",
      expected: { a: -2, b: -2, c: 6, d: 4_294_967_295, e: -8, f: 0.5, g: -25 },
    },
    {
      title: "each by itself: words under neighbouring numbers",
      options: {
        registers: { shunt: register(0x01, "int16", {}), bus: register(0x02, "uint16", { shift: 3 }) },
        autoIncrement: "off",
      },
      frame: "07d0 5d9a",
      expected: { shunt: 2_000, bus: 2_995 },
    },
    {
      title: "cut short",
      options: { registers: { bus: register(0x02, "uint16", {}) } },
      frame: "07",
      expected: { discard: "truncated" },
    },
  ],
};

/** A register of the vectors, with the defaults that the schema has. */
function register(at: Spelled, type: Type, more: Partial<Register>): Register {
  return { register: at, type, endianness: "big", shift: 0, scale: 1, offset: 0, ...more };
}

interface NamedRegister extends Register {
  readonly name: string;
  /** Number of the first byte's register. */
  readonly from: number;
  readonly bytes: number;
}

/** By number, then by name: a map of the configuration has no order that a change by twin would keep. */
function inOrder({ registers }: Options): NamedRegister[] {
  return Object.entries(registers)
    .map(([name, register]) => ({
      ...register,
      name,
      from: numberOf(register.register),
      bytes: bytesOf(register.type),
    }))
    .sort((a, b) => a.from - b.from || (a.name < b.name ? -1 : 1));
}

interface Layout {
  readonly reads: readonly { readonly from: number; readonly bytes: number }[];
  /** Where each register begins in the bytes of all reads. */
  readonly places: readonly { readonly register: NamedRegister; readonly at: number }[];
  readonly length: number;
}

function layoutOf(options: Options): Layout {
  const reads: { from: number; bytes: number }[] = [];
  const places: { register: NamedRegister; at: number }[] = [];
  let length = 0;
  for (const register of inOrder(options)) {
    const { from, bytes } = register;
    let read = reads.at(-1);
    const end = read && (options.autoIncrement === "on" ? read.from + read.bytes : read.from);
    if (!read || end === undefined || from > end) {
      read = { from, bytes: 0 };
      reads.push(read);
    }
    const before = length - read.bytes;
    places.push({ register, at: before + from - read.from });
    read.bytes = Math.max(read.bytes, from - read.from + bytes);
    length = before + read.bytes;
  }
  return { reads, places, length };
}

/** Wherever the frame is long enough, a number; a float32 may be none, and is counted (`notFinite`). */
function valueAt(
  { type, endianness, mask, shift, bytes, scale, offset }: NamedRegister,
  frame: Uint8Array,
  at: number,
) {
  let raw = 0;
  for (let i = 0; i < bytes; i++) {
    const byte = frame[endianness === "big" ? at + i : at + bytes - 1 - i] ?? 0;
    raw = raw * 256 + byte;
  }
  if (type === "float32") {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, raw);
    return view.getFloat32(0) * scale + offset;
  }
  const bits = bitsOf(type, mask, shift);
  const value = ((raw >>> shift) & bits) >>> 0;
  const width = 32 - Math.clz32(bits);
  const isNegative = type.startsWith("int") && value >= 2 ** (width - 1);
  return (isNegative ? value - 2 ** width : value) * scale + offset;
}

/** Those that are left after the mask and the shift, as an unsigned number. */
function bitsOf(type: Type, mask: Spelled | undefined, shift: number): number {
  const all = 2 ** (8 * bytesOf(type)) - 1;
  const masked = mask === undefined ? all : (numberOf(mask) & all) >>> 0;
  return masked >>> shift;
}

function bytesOf(type: Type): number {
  return Number(type.replace(/^\D+/, "")) / 8;
}

function numberOf(spelled: Spelled): number {
  return typeof spelled === "number" ? spelled : Number.parseInt(spelled, 16);
}

/** Words under neighbouring numbers would be read as if they overlapped, and be wrong without a sign of it. */
function contradictions(options: Options): Problem[] {
  const problems: Problem[] = [];
  const registers = inOrder(options);
  for (const [i, one] of registers.entries()) {
    if (one.from + one.bytes > 0x100 && options.autoIncrement === "on") {
      problems.push({
        path: `registers.${one.name}.register`,
        message: `its ${one.bytes} bytes reach beyond register 0xff`,
        hint: `set "autoIncrement": "off" if registers of this chip are wider than a byte`,
      });
    }
    const other = registers.slice(i + 1).find(({ from }) => from > one.from && from < one.from + one.bytes);
    if (options.autoIncrement === "off" || !other || one.mask !== undefined || other.mask !== undefined)
      continue;
    problems.push({
      path: `registers.${other.name}.register`,
      message: `overlaps ${one.name}, whose ${one.bytes} bytes begin at 0x${one.from.toString(16)}`,
      hint: `set "autoIncrement": "off" if registers of this chip are wider than a byte, or mask what each takes`,
    });
  }
  return problems;
}
