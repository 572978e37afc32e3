import { maxCount, type Register, recordBytes, sizeOf, type Table } from "./modbus.ts";

/** What one request reads. */
export interface Block {
  readonly table: Table;
  readonly address: number;
  readonly count: number;
}

interface Registers {
  readonly registers: Readonly<Record<string, Register & { readonly state: "on" | "off" }>>;
  readonly maxGap: number;
}

/**
 * The fewest requests that read the registers, none of which is cut: neighbours of a table in one, up to its limit,
 * and across at most `maxGap` others. Ordered by table and address.
 */
export function blocksOf({ registers, maxGap }: Registers): Block[] {
  const wanted = Object.values(registers)
    .filter(({ state }) => state === "on")
    .map((register) => ({
      table: register.table,
      from: register.address,
      to: register.address + sizeOf(register),
    }))
    .sort((a, b) => a.table.localeCompare(b.table) || a.from - b.from || a.to - b.to);
  const blocks: { table: Table; from: number; to: number }[] = [];
  for (const { table, from, to } of wanted) {
    const last = blocks.at(-1);
    const joins = last?.table === table && from <= last.to + maxGap && to - last.from <= maxCount[table];
    if (last && joins) last.to = Math.max(last.to, to);
    else blocks.push({ table, from, to });
  }
  return blocks.map(({ table, from, to }) => ({ table, address: from, count: to - from }));
}

/** Most bytes that the frame of a poll has. */
export function frameBytesOf(source: Registers): number {
  return blocksOf(source).reduce((sum, { table, count }) => sum + recordBytes(table, count), 0);
}

/** `holding 100 to 104`. */
export function nameOf({ table, address, count }: Block): string {
  if (count === 1) return `${table} ${address}`;
  return `${table} ${address} to ${address + count - 1}`;
}
