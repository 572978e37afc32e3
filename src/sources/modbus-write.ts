import type { ModbusSourceConfig } from "../config/schema.ts";
import { messageOf } from "../core/errors.ts";
import { bytesFor, isBits, sizeOf, typeOf, valueIn } from "../drivers/modbus.ts";
import type { ModbusLine } from "./modbus-lines.ts";
import type { Outcome } from "./modbus-link.ts";
import { dataOf, exceptionName, readRequest, writeRequest } from "./modbus-pdu.ts";
import { refused, type WriteOutcome } from "./register-write.ts";

/** A register, the bytes for it, and the value that these say. */
interface Wanted {
  readonly register: ModbusSourceConfig["registers"][string];
  readonly bytes: Uint8Array;
  readonly value: number;
}

/**
 * Sets a register, as far as the configuration allows it, and reads it back: on a line whose adapter hears itself, a
 * confirmation may be the request's own echo. No other request comes in between.
 */
export async function writeRegister(
  line: ModbusLine,
  { unit, timeoutMs, registers }: ModbusSourceConfig,
  channel: string,
  value: number,
  signal: AbortSignal,
): Promise<WriteOutcome> {
  const wanted = wantedOf(registers, channel, value);
  if ("kind" in wanted) return wanted;
  const { register, bytes } = wanted;
  const { table, address } = register;
  let isSent = false;
  try {
    await line.open(signal);
    return await line.together(unit, timeoutMs, signal, async (exchange) => {
      isSent = true;
      const confirmed = await exchange(writeRequest(unit, table, address, bytes));
      if (confirmed.kind === "exception") return exceptionOf(confirmed.code);
      if (confirmed.kind === "missing") return unknown("the device did not confirm it", confirmed);
      const block = { table, address, count: sizeOf(register) };
      const read = await exchange(readRequest(unit, block));
      if (read.kind !== "answer") return unknown("the device confirmed it, and was not read back", read);
      const readBack = valueIn({ ...block, bytes: dataOf(read.pdu) }, register);
      if (readBack === wanted.value) return { kind: "written", value: wanted.value };
      return { kind: "differs", value: wanted.value, readBack: Number(readBack) };
    });
  } catch (error) {
    return { kind: isSent ? "unknown" : "unsent", message: messageOf(error) };
  }
}

function wantedOf(
  registers: ModbusSourceConfig["registers"],
  channel: string,
  value: number,
): Wanted | WriteOutcome {
  const register = Object.hasOwn(registers, channel) ? registers[channel] : undefined;
  if (register?.state !== "on") return refused("unknownChannel", `there is no register ${channel}`);
  const { writable, table, address } = register;
  if (!writable) return refused("notWritable", `${channel} is not writable`);
  const { min, max } = writable;
  const range = `${channel} takes ${min} to ${max}`;
  if (!(value >= min && value <= max)) return refused("outOfRange", `${range}, not ${value}`);
  const bytes = bytesFor(register, value);
  const said = bytes && valueIn({ table, address, count: sizeOf(register), bytes }, register);
  if (!bytes || typeof said !== "number")
    return refused("outOfRange", `a ${typeOf(register)} cannot hold it`);
  // What a whole number of steps makes of a value near an end may be beyond it.
  const isWhole = isBits(table) || !typeOf(register).startsWith("float");
  if (isWhole && !(said >= min && said <= max))
    return refused("outOfRange", `${range}, and the nearest that it can hold is ${said}`);
  return { register, bytes, value: said };
}

function exceptionOf(code: number): WriteOutcome {
  return { kind: "exception", code, name: exceptionName(code) };
}

function unknown(what: string, outcome: Exclude<Outcome, { kind: "answer" }>): WriteOutcome {
  const why =
    outcome.kind === "exception"
      ? `exception ${outcome.code} (${exceptionName(outcome.code)})`
      : outcome.reason;
  return { kind: "unknown", message: `${what}: ${why}` };
}
