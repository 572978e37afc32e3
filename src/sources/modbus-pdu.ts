/** Requests and what answers them. Sections are those of the MODBUS Application Protocol Specification V1.1b3. */
import { bytesOf, isBits, readFunction, type Table } from "../drivers/modbus.ts";
import type { Block } from "../drivers/modbus-plan.ts";

/** One request to one unit, without what a link puts around it. */
export interface ModbusRequest {
  readonly unit: number;
  /** Function code and data. */
  readonly pdu: Uint8Array;
  /** What a good answer begins with, function code first, and how long it is. */
  readonly answer: { readonly head: Uint8Array; readonly length: number };
}

/** Sections 6.1 to 6.4. */
export function readRequest(unit: number, { table, address, count }: Block): ModbusRequest {
  const code = readFunction[table];
  const bytes = bytesOf(table, count);
  return {
    unit,
    pdu: Uint8Array.of(code, address >> 8, address & 0xff, count >> 8, count & 0xff),
    answer: { head: Uint8Array.of(code, bytes), length: 2 + bytes },
  };
}

/** What of a good answer is data. */
export const dataOf = (pdu: Uint8Array): Uint8Array => pdu.slice(2);

/**
 * Sections 6.5 (a coil), 6.6 (a register) and 6.12 (several registers). `bytes`: a byte of 0 or 1 for a coil, else
 * those of the registers.
 */
export function writeRequest(unit: number, table: Table, address: number, bytes: Uint8Array): ModbusRequest {
  const place = [address >> 8, address & 0xff];
  if (isBits(table)) return echoed(unit, Uint8Array.of(0x05, ...place, bytes[0] === 0 ? 0x00 : 0xff, 0x00));
  if (bytes.length === 2) return echoed(unit, Uint8Array.of(0x06, ...place, ...bytes));
  const pdu = Uint8Array.of(0x10, ...place, 0x00, bytes.length / 2, bytes.length, ...bytes);
  return { unit, pdu, answer: { head: pdu.subarray(0, 5), length: 5 } };
}

function echoed(unit: number, pdu: Uint8Array): ModbusRequest {
  return { unit, pdu, answer: { head: pdu, length: pdu.length } };
}

/** An exception is the function code with its highest bit set, and a code (section 7). */
export const exceptionOf = ({ pdu }: ModbusRequest): number => (pdu[0] ?? 0) | 0x80;
export const exceptionLength = 2;

/** Whether what is at a place begins as a good answer does. */
export function beginsWith(bytes: Uint8Array, at: number, head: Uint8Array): boolean {
  for (const [i, byte] of head.entries()) if (bytes[at + i] !== byte) return false;
  return true;
}

/** Section 7. */
const exceptionNames: Readonly<Record<number, string>> = {
  1: "illegal function",
  2: "illegal data address",
  3: "illegal data value",
  4: "server device failure",
  5: "acknowledge",
  6: "server device busy",
  8: "memory parity error",
  10: "gateway path unavailable",
  11: "gateway target device failed to respond",
};
export const exceptionName = (code: number): string => exceptionNames[code] ?? "unknown";
