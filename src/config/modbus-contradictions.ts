import type { Problem } from "../core/errors.ts";
import { bytesFor, isBits, type Register, sizeOf, typeOf } from "../drivers/modbus.ts";
import type { ModbusSourceConfig } from "./schema.ts";

/** What the registers of a Modbus source contradict; `path` is the source's. */
export function registerContradictions({ registers }: ModbusSourceConfig, path: string): Problem[] {
  return Object.entries(registers)
    .filter(([, { state }]) => state === "on")
    .flatMap(([channel, register]) =>
      contradictions(register).map(({ at, ...problem }) => ({
        path: `${path}.registers.${channel}.${at}`,
        ...problem,
      })),
    );
}

type Found = Omit<Problem, "path"> & { readonly at: string };

function contradictions(register: ModbusSourceConfig["registers"][string]): Found[] {
  const { table, address, bit, bits, min, max } = register;
  const type = typeOf(register);
  const found: Found[] = [];
  if (isBits(table) && type !== "bool")
    found.push({ at: "type", message: `a ${table} is a single bit`, hint: 'leave it out, or set "bool"' });
  if (isBits(table) && bit !== undefined)
    found.push({ at: "bit", message: `a ${table} is a single bit`, hint: "leave it out" });
  if (!isBits(table) && type === "bool" && bit === undefined)
    found.push({ at: "bit", message: "is missing: a register has 16 bits", hint: "0 is the lowest" });
  if (bit !== undefined && !["bool", "uint16", "uint32"].includes(type))
    found.push({ at: "bit", message: `a ${type} has no field of bits`, hint: "set uint16 or uint32" });
  else if (bit !== undefined && bit + bits > 16 * sizeOf(register))
    found.push({ at: "bit", message: `bits ${bit} to ${bit + bits - 1} are more than a ${type} has` });
  if (type === "bool" && bits !== 1)
    found.push({ at: "bits", message: "a bool has one", hint: "set uint16 as the type" });
  if (address + sizeOf(register) > 65_536)
    found.push({ at: "address", message: `a ${type} there ends beyond address 65535` });
  if (min !== undefined && max !== undefined && min > max)
    found.push({ at: "min", message: "must not exceed max" });
  return [...found, ...stringContradictions(register), ...writableContradictions(register)];
}

function stringContradictions(register: Register): Found[] {
  const { table, length, words } = register;
  const isString = typeOf(register) === "string";
  if (isString && isBits(table)) return [];
  if (isString && length === undefined)
    return [{ at: "length", message: "is missing: how many registers the string takes" }];
  const neutral = { wordOrder: "big", scale: 1, offset: 0 } as const;
  const unfit = isString
    ? Object.entries(neutral).flatMap(([at, value]) =>
        register[at as keyof typeof neutral] === value ? [] : [at],
      )
    : Object.entries({ length, words }).flatMap(([at, value]) => (value === undefined ? [] : [at]));
  const message = isString ? "a string has none" : "only a string has it";
  return unfit.map((at) => ({
    at,
    message,
    hint: isString ? "leave it out" : 'set the type "string", or leave it out',
  }));
}

function writableContradictions({
  writable,
  ...register
}: Register & Pick<ModbusSourceConfig["registers"][string], "writable">): Found[] {
  if (!writable) return [];
  const { table, bit } = register;
  if (table === "input" || table === "discrete")
    return [
      { at: "writable", message: `nobody can write to ${table}`, hint: "take a holding register or coil" },
    ];
  if (bit !== undefined)
    return [{ at: "writable", message: "a bit of a register cannot be written by itself" }];
  if (typeOf(register) === "string") return [{ at: "writable", message: "a string cannot be written" }];
  return (["min", "max"] as const)
    .filter((end) => bytesFor(register, writable[end]) === undefined)
    .map((end) => ({ at: `writable.${end}`, message: `a ${typeOf(register)} cannot hold it` }));
}
